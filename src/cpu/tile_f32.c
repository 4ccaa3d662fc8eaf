/* tile_f32.c - products in FP32, the reference precision, compiled once for each ISA.  Every ISA
 * sums in the order of the inputs without contraction, so all return the same bits. */
#include "cpu/kernels.h"
#include "cpu/lanes.h"

/* Rows whose sums the registers hold; clang spills where GCC does not. */
#if defined(__AVX512F__)
enum { F32_ROWS = 6 };
#elif defined(__AVX2__) && !defined(__clang__)
enum { F32_ROWS = 3 };
#else
enum { F32_ROWS = 2 };
#endif

INLINE void f32_rows(const int rows, float *acc, const float *x, const float *w, int units,
                     int stride) {
    struct wide sum[F32_ROWS];
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r] = load_wide(acc + r * PQ_NR);
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
    if (!add)
        memset(acc, 0, (size_t)rows * PQ_NR * sizeof *acc);
    for (; r + F32_ROWS <= rows; r += F32_ROWS)
        f32_rows(F32_ROWS, acc + r * PQ_NR, (const float *)x + r, w, units, rows);
    if (F32_ROWS > 4 && r + 4 <= rows) {
        f32_rows(4, acc + r * PQ_NR, (const float *)x + r, w, units, rows);
        r += 4;
    }
    if (F32_ROWS > 2 && r + 2 <= rows) {
        f32_rows(2, acc + r * PQ_NR, (const float *)x + r, w, units, rows);
        r += 2;
    }
    if (r < rows)
        f32_rows(1, acc + r * PQ_NR, (const float *)x + r, w, units, rows);
}
