/* tile_f32.c - products in FP32, the reference precision, compiled once for each ISA.  Every ISA
 * sums in the order of the inputs without contraction, so all return the same bits. */
#include "cpu/kernels.h"
#include "cpu/lanes.h"

/* Groups of rows whose sums the registers hold, and smaller ones of what is left. */
#if defined(__AVX512F__)
enum { F32_ROWS = 6, F32_FEWER = 4 };
#elif defined(__AVX2__)
enum { F32_ROWS = 3, F32_FEWER = 2 };
#else
enum { F32_ROWS = 2, F32_FEWER = 1 };
#endif

INLINE void f32_rows(const int rows, float *acc, bool add, const float *x, const float *w,
                     int units, int stride) {
    struct wide sum[F32_ROWS];
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r] = add ? load_wide(acc + r * PQ_NR) : (struct wide){0};
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR) {
        struct wide weights = load_wide(w);
        UNROLL
        for (int r = 0; r < rows; r++)
            EACH_VECTOR sum[r].v[j] += x[r] * weights.v[j];
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        store_wide(acc + r * PQ_NR, sum[r]);
}

void PQ_PASTE(pq_tile_f32, PQ_ISA_SUFFIX)(float *acc, int rows, bool add, const void *x,
                                          const void *w, int units, struct pq_ahead ahead) {
    (void)ahead;
    int r = 0;
    for (; r + F32_ROWS <= rows; r += F32_ROWS)
        f32_rows(F32_ROWS, acc + r * PQ_NR, add, (const float *)x + r, w, units, rows);
    for (; r + F32_FEWER <= rows; r += F32_FEWER)
        f32_rows(F32_FEWER, acc + r * PQ_NR, add, (const float *)x + r, w, units, rows);
    for (; r < rows; r++)
        f32_rows(1, acc + r * PQ_NR, add, (const float *)x + r, w, units, rows);
}
