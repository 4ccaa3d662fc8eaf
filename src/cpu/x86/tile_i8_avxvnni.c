/* Processors with vpdpbusd but without 512-bit registers. */
#include "cpu/kernels.h"
#include "cpu/x86/avxvnni.h"
#include "cpu/rows.h"

enum { ROWS = 6, OUTPUTS = 16 }; /* 12 sums, 2 weights and an activation */

INLINE void tile(const int rows, int32_t *acc, const int32_t *start, const int32_t *x,
                 const uint8_t *w, int units, int stride) {
    __m256i sum[ROWS][2];
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = _mm256_set1_epi32(start[r]);
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        __m256i w0 = _mm256_loadu_si256((const __m256i *)w);
        __m256i w1 = _mm256_loadu_si256((const __m256i *)(w + 32));
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i xr = _mm256_set1_epi32(x[r]);
            sum[r][0] = pq_dpbusd256(sum[r][0], w0, xr);
            sum[r][1] = pq_dpbusd256(sum[r][1], w1, xr);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_si256((__m256i *)(acc + r * PQ_NR), sum[r][0]);
        _mm256_storeu_si256((__m256i *)(acc + r * PQ_NR + 8), sum[r][1]);
    }
}

void pq_tile_i8_avxvnni(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                        int units, struct pq_ahead ahead) {
    (void)ahead;
    int most =
        rows > ROWS ? (rows + 1) / 2 : rows; /* 8 are 4 and 4: few rows wait for their sums */
    for (int c = 0; c < PQ_NR; c += OUTPUTS) {
        const uint8_t *wc = (const uint8_t *)w + 4 * c;
        for (int r = 0; r < rows; r += most) {
            int32_t *at = acc + r * PQ_NR + c;
            const int32_t *xr = (const int32_t *)x + r;
            switch (rows - r < most ? rows - r : most) {
                ROWS_CASE(1, tile, at, start + r, xr, wc, units, rows)
                ROWS_CASE(2, tile, at, start + r, xr, wc, units, rows)
                ROWS_CASE(3, tile, at, start + r, xr, wc, units, rows)
                ROWS_CASE(4, tile, at, start + r, xr, wc, units, rows)
                ROWS_CASE(5, tile, at, start + r, xr, wc, units, rows)
                ROWS_CASE(6, tile, at, start + r, xr, wc, units, rows)
            }
        }
    }
}

double pq_peak_i8_avxvnni(int rounds) {
    __m256i sum[12];
    UNROLL
    for (int i = 0; i < 12; i++)
        sum[i] = _mm256_setzero_si256();
    __m256i a = _mm256_set1_epi8(1);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 12; i++)
            sum[i] = pq_dpbusd256(sum[i], a, a);
    }
    UNROLL
    for (int i = 0; i < 12; i++)
        __asm__ volatile("" ::"x"(sum[i]));
    return 2.0 * rounds * 12 * 32;
}
