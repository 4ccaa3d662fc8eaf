/* Processors without BF16 products: a unit's two values are widened to FP32. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

#include <immintrin.h>

#if !defined(__AVX512F__)
#error "build this file with -mavx512f"
#endif

enum { ROWS = 6 }; /* rows whose sums fit the registers beside four widened weights */

INLINE __m512 low(__m512i pair) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(pair, 16));
}

INLINE __m512 high(__m512i pair) {
    return _mm512_castsi512_ps(_mm512_and_si512(pair, _mm512_set1_epi32((int)0xffff0000)));
}

INLINE void tile(const int rows, float *acc, bool add, const int32_t *x, const uint8_t *w,
                 int units, int stride, struct pq_fetch *fetch) {
    __m512 sum[ROWS][2];
    UNROLL
    for (int r = 0; r < rows; r++) {
        sum[r][0] = add ? _mm512_loadu_ps(acc + r * PQ_NR) : _mm512_setzero_ps();
        sum[r][1] = add ? _mm512_loadu_ps(acc + r * PQ_NR + 16) : _mm512_setzero_ps();
    }
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        pq_fetch(fetch);
        __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
        __m512 l0 = low(w0), l1 = low(w1), h0 = high(w0), h1 = high(w1);
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m512i xr = _mm512_set1_epi32(x[r]);
            __m512 xl = low(xr), xh = high(xr);
            sum[r][0] = _mm512_fmadd_ps(xh, h0, _mm512_fmadd_ps(xl, l0, sum[r][0]));
            sum[r][1] = _mm512_fmadd_ps(xh, h1, _mm512_fmadd_ps(xl, l1, sum[r][1]));
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        _mm512_storeu_ps(acc + r * PQ_NR, sum[r][0]);
        _mm512_storeu_ps(acc + r * PQ_NR + 16, sum[r][1]);
    }
}

void pq_tile_bf16_avx512(float *acc, int rows, bool add, const void *x, const void *w, int units,
                         struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, (rows + ROWS - 1) / ROWS * units);
    int r = 0;
    for (; r + ROWS <= rows; r += ROWS)
        tile(ROWS, acc + r * PQ_NR, add, (const int32_t *)x + r, w, units, rows, &fetch);
    acc += r * PQ_NR;
    x = (const int32_t *)x + r;
    switch (rows - r) {
        ROWS_CASE(1, tile, acc, add, x, w, units, rows, &fetch)
        ROWS_CASE(2, tile, acc, add, x, w, units, rows, &fetch)
        ROWS_CASE(3, tile, acc, add, x, w, units, rows, &fetch)
        ROWS_CASE(4, tile, acc, add, x, w, units, rows, &fetch)
        ROWS_CASE(5, tile, acc, add, x, w, units, rows, &fetch)
    }
}

double pq_peak_bf16_avx512(int rounds) {
    __m512 sum[16];
    UNROLL
    for (int i = 0; i < 16; i++)
        sum[i] = _mm512_setzero_ps();
    __m512 a = _mm512_set1_ps(0.5f);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 16; i++) {
            sum[i] = _mm512_fmadd_ps(sum[i], a, a);
            __asm__ volatile("" : "+v"(sum[i])); /* or one of these equal sums would do for all */
        }
    }
    return 2.0 * rounds * 16 * 16;
}
