/* AVX2 has no exact byte dot product: vpmaddubsw saturates at 16 bits, which codes of a real
 * checkpoint reach.  So bytes are widened to 16 bits and vpmaddwd adds pairs in 32: exact for
 * every input. */
#include "cpu/kernels.h"
#include "cpu/x86/rows.h"

#include <immintrin.h>

#if !defined(__AVX2__)
#error "build this file with -mavx2"
#endif

enum { ROWS = 3, OUTPUTS = 16 }; /* 12 sums, 3 activations and a weight: all 16 registers */

/* [a0+a1, a2+a3, ...] of four outputs' halves, in the order of the outputs. */
INLINE __m256i join(__m256i a, __m256i b) {
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xd8);
}

INLINE void tile(const int rows, int32_t *acc, const int32_t *start, const int32_t *x,
                 const uint8_t *w, int units, int stride) {
    __m256i sum[ROWS][4]; /* each: 4 outputs, 2 partial sums an output */
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < 4; c++)
            sum[r][c] = _mm256_setzero_si256();
    }
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        __m256i xr[ROWS];
        UNROLL
        for (int r = 0; r < rows; r++)
            xr[r] = _mm256_cvtepi8_epi16(_mm_set1_epi32(x[r]));
        UNROLL
        for (int c = 0; c < 4; c++) {
            __m256i wc = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(w + 16 * c)));
            UNROLL
            for (int r = 0; r < rows; r++)
                sum[r][c] = _mm256_add_epi32(sum[r][c], _mm256_madd_epi16(xr[r], wc));
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < 4; c += 2) {
            __m256i *at = (__m256i *)(acc + r * PQ_NR + 4 * c);
            __m256i both = join(sum[r][c], sum[r][c + 1]);
            _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_set1_epi32(start[r]), both));
        }
    }
}

void pq_tile_i8_avx2(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                     int units) {
    for (int c = 0; c < PQ_NR; c += OUTPUTS) {
        const uint8_t *wc = (const uint8_t *)w + 4 * c;
        for (int r = 0; r < rows; r += ROWS) {
            int32_t *at = acc + r * PQ_NR + c;
            const int32_t *xr = (const int32_t *)x + r;
            switch (rows - r) {
                ROWS_CASE(1, tile, at, start + r, xr, wc, units, rows)
                ROWS_CASE(2, tile, at, start + r, xr, wc, units, rows)
            default:
                tile(ROWS, at, start + r, xr, wc, units, rows);
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
        __asm__ volatile("" : "+x"(a)); /* or the product would be moved out of the loop */
        UNROLL
        for (int i = 0; i < 8; i++)
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, a), one));
    }
    UNROLL
    for (int i = 0; i < 8; i++)
        __asm__ volatile("" ::"x"(sum[i]));
    return 2.0 * rounds * 8 * 32;
}
