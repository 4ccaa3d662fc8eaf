/* vpmaddubsw multiplies unsigned by signed bytes but saturates sums of two at 16 bits.  |code|
 * times the activation with the code's sign is at most 128 * 127, two of them 32512: exact for
 * every code, which neither code + 128 nor |x| would be. */
#include "cpu/kernels.h"
#include "cpu/rows.h"

#include <immintrin.h>

#if !defined(__AVX2__)
#error "build this file with -mavx2"
#endif

enum { ROWS = 4, OUTPUTS = 16 }; /* 8 sums, 2 codes and their sizes, an activation, a product */

INLINE void tile(const int rows, int32_t *acc, const int32_t *x, const uint8_t *w, int units,
                 int stride) {
    const __m256i flip = _mm256_set1_epi8(-128), one = _mm256_set1_epi16(1);
    __m256i sum[ROWS][2];
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        __m256i code[2], size[2];
        UNROLL
        for (int c = 0; c < 2; c++) {
            code[c] = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(w + 32 * c)), flip);
            size[c] = _mm256_abs_epi8(code[c]);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i xr = _mm256_set1_epi32(x[r]);
            UNROLL
            for (int c = 0; c < 2; c++) {
                __m256i pairs = _mm256_maddubs_epi16(size[c], _mm256_sign_epi8(xr, code[c]));
                sum[r][c] = _mm256_add_epi32(sum[r][c], _mm256_madd_epi16(pairs, one));
            }
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_si256((__m256i *)(acc + r * PQ_NR), sum[r][0]);
        _mm256_storeu_si256((__m256i *)(acc + r * PQ_NR + 8), sum[r][1]);
    }
}

void pq_tile_i8_avx2(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                     int units, struct pq_ahead ahead) {
    (void)start; /* the sums are over codes from the beginning */
    (void)ahead;
    for (int c = 0; c < PQ_NR; c += OUTPUTS) {
        const uint8_t *wc = (const uint8_t *)w + 4 * c;
        for (int r = 0; r < rows; r += ROWS) {
            int32_t *at = acc + r * PQ_NR + c;
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

double pq_peak_i8_avx2(int rounds) {
    __m256i sum[8];
    UNROLL
    for (int i = 0; i < 8; i++)
        sum[i] = _mm256_setzero_si256();
    __m256i a = _mm256_set1_epi8(1), one = _mm256_set1_epi16(1);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 8; i++) {
            __asm__ volatile("" : "+x"(a)); /* or one product would do for all */
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), one));
        }
    }
    UNROLL
    for (int i = 0; i < 8; i++)
        __asm__ volatile("" ::"x"(sum[i]));
    return 2.0 * rounds * 8 * 32;
}
