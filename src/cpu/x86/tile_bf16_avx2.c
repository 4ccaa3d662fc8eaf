/* A unit's two bf16 values are widened to FP32 by a shift and a mask. */
#include "cpu/kernels.h"
#include "cpu/rows.h"

#include <immintrin.h>

#if !defined(__AVX2__) || !defined(__FMA__)
#error "build this file with -mavx2 -mfma"
#endif

enum { ROWS = 4, OUTPUTS = 16 };

INLINE __m256 low(__m256i pair) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
}

INLINE __m256 high(__m256i pair) {
    return _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32((int)0xffff0000)));
}

INLINE void tile(const int rows, float *acc, const int32_t *x, const uint8_t *w, int units,
                 int stride) {
    __m256 sum[ROWS][2];
    UNROLL
    for (int r = 0; r < rows; r++) {
        sum[r][0] = _mm256_loadu_ps(acc + r * PQ_NR);
        sum[r][1] = _mm256_loadu_ps(acc + r * PQ_NR + 8);
    }
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        __m256i w0 = _mm256_loadu_si256((const __m256i *)w);
        __m256i w1 = _mm256_loadu_si256((const __m256i *)(w + 32));
        __m256 l0 = low(w0), l1 = low(w1), h0 = high(w0), h1 = high(w1);
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i xr = _mm256_set1_epi32(x[r]);
            __m256 xl = low(xr), xh = high(xr);
            sum[r][0] = _mm256_fmadd_ps(xh, h0, _mm256_fmadd_ps(xl, l0, sum[r][0]));
            sum[r][1] = _mm256_fmadd_ps(xh, h1, _mm256_fmadd_ps(xl, l1, sum[r][1]));
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_ps(acc + r * PQ_NR, sum[r][0]);
        _mm256_storeu_ps(acc + r * PQ_NR + 8, sum[r][1]);
    }
}

void pq_tile_bf16_avx2(float *acc, int rows, const void *x, const void *w, int units,
                       struct pq_ahead ahead) {
    (void)ahead;
    for (int c = 0; c < PQ_NR; c += OUTPUTS) {
        const uint8_t *wc = (const uint8_t *)w + 4 * c;
        for (int r = 0; r < rows; r += ROWS) {
            float *at = acc + r * PQ_NR + c;
            const int32_t *xr = (const int32_t *)x + r;
            switch (rows - r) {
                ROWS_CASE(1, tile, at, xr, wc, units, rows)
                ROWS_CASE(2, tile, at, xr, wc, units, rows)
                ROWS_CASE(3, tile, at, xr, wc, units, rows)
            default:
                tile(ROWS, at, xr, wc, units, rows);
            }
        }
    }
}

double pq_peak_bf16_avx2(int rounds) {
    __m256 sum[12];
    UNROLL
    for (int i = 0; i < 12; i++)
        sum[i] = _mm256_setzero_ps();
    __m256 a = _mm256_set1_ps(0.5f);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 12; i++) {
            sum[i] = _mm256_fmadd_ps(sum[i], a, a);
            __asm__ volatile("" : "+x"(sum[i])); /* or one of these equal sums would do for all */
        }
    }
    return 2.0 * rounds * 12 * 8;
}
