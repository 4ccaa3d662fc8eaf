/* A unit's two bf16 values are widened to FP32 by a shift and a mask. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

#include <immintrin.h>

#if !defined(__AVX2__) || !defined(__FMA__)
#error "build this file with -mavx2 -mfma"
#endif

/* 8 sums, 2 weights, both in two parts, and an activation in two.  Few rows meet all outputs at
 * once, so that their panel, which is then what they wait for, is read in the order of memory. */
enum { ROWS = 4, FEW_ROWS = 2 };

INLINE __m256 low(__m256i pair) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
}

INLINE __m256 high(__m256i pair) {
    return _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32((int)0xffff0000)));
}

INLINE void tile(const int rows, const int vectors, float *acc, const int32_t *x, const uint8_t *w,
                 int units, int stride, struct pq_fetch *fetch) {
    __m256 sum[ROWS][4];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            sum[r][c] = _mm256_loadu_ps(acc + r * PQ_NR + 8 * c);
    }
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        pq_fetch(fetch);
        __m256 l[4], h[4];
        UNROLL
        for (int c = 0; c < vectors; c++) {
            __m256i wc = _mm256_loadu_si256((const __m256i *)(w + 32 * c));
            l[c] = low(wc), h[c] = high(wc);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i xr = _mm256_set1_epi32(x[r]);
            __m256 xl = low(xr), xh = high(xr);
            UNROLL
            for (int c = 0; c < vectors; c++)
                sum[r][c] = _mm256_fmadd_ps(xh, h[c], _mm256_fmadd_ps(xl, l[c], sum[r][c]));
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            _mm256_storeu_ps(acc + r * PQ_NR + 8 * c, sum[r][c]);
    }
}

static void few_rows(float *acc, int rows, const int32_t *x, const uint8_t *w, int units,
                     struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, units);
    for (int r = 0; r < rows; r++, fetch.step = 0)
        tile(1, 4, acc + r * PQ_NR, x + r, w, units, rows, &fetch);
}

static void more_rows(float *acc, int rows, const int32_t *x, const uint8_t *w, int units,
                      struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, (rows + ROWS - 1) / ROWS * 2 * units);
    for (int c = 0; c < PQ_NR; c += 16)
        for (int r = 0; r < rows; r += ROWS) {
            float *at = acc + r * PQ_NR + c;
            switch (rows - r) {
                ROWS_CASE(1, tile, 2, at, x + r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(2, tile, 2, at, x + r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(3, tile, 2, at, x + r, w + 4 * c, units, rows, &fetch)
            default:
                tile(ROWS, 2, at, x + r, w + 4 * c, units, rows, &fetch);
            }
        }
}

void pq_tile_bf16_avx2(float *acc, int rows, const void *x, const void *w, int units,
                       struct pq_ahead ahead) {
    if (rows <= FEW_ROWS)
        few_rows(acc, rows, x, w, units, ahead);
    else
        more_rows(acc, rows, x, w, units, ahead);
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
