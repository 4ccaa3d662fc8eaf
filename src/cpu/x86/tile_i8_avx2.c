/* vpmaddubsw multiplies unsigned by signed bytes but saturates sums of two at 16 bits.  |code|
 * times the activation with the code's sign is at most 128 * 127, two of them 32512: exact for
 * every code, which neither code + 128 nor |x| would be. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

#include <immintrin.h>

#if !defined(__AVX2__)
#error "build this file with -mavx2"
#endif

/* 8 sums, a code and its size, an activation, a product.  One or two rows meet all outputs in one
 * pass, so that their panel, which is then what they wait for, is read in the order of memory. */
enum { ROWS = 4, FEW_ROWS = 4 };

INLINE void tile(const int rows, const int vectors, int32_t *acc, const int32_t *x,
                 const uint8_t *w, int units, int stride, struct pq_fetch *fetch) {
    const __m256i flip = _mm256_set1_epi8(-128), one = _mm256_set1_epi16(1);
    __m256i sum[ROWS][4];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            sum[r][c] = _mm256_setzero_si256();
    }
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        pq_fetch(fetch);
        UNROLL
        for (int c = 0; c < vectors; c++) {
            __m256i bytes = _mm256_loadu_si256((const __m256i *)(w + 32 * c));
            __m256i code = _mm256_xor_si256(bytes, flip), size = _mm256_abs_epi8(code);
            UNROLL
            for (int r = 0; r < rows; r++) {
                __m256i xr = _mm256_sign_epi8(_mm256_set1_epi32(x[r]), code);
                __m256i pairs = _mm256_maddubs_epi16(size, xr);
                sum[r][c] = _mm256_add_epi32(sum[r][c], _mm256_madd_epi16(pairs, one));
            }
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            _mm256_storeu_si256((__m256i *)(acc + r * PQ_NR + 8 * c), sum[r][c]);
    }
}

static void few_rows(int32_t *acc, int rows, const int32_t *x, const uint8_t *w, int units,
                     struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, units);
    for (int r = 0; r < rows; r += 2, fetch.step = 0)
        switch (rows - r) {
            ROWS_CASE(1, tile, 4, acc + r * PQ_NR, x + r, w, units, rows, &fetch)
        default:
            tile(2, 4, acc + r * PQ_NR, x + r, w, units, rows, &fetch);
        }
}

static void more_rows(int32_t *acc, int rows, const int32_t *x, const uint8_t *w, int units,
                      struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, (rows + ROWS - 1) / ROWS * 2 * units);
    for (int c = 0; c < PQ_NR; c += 16)
        for (int r = 0; r < rows; r += ROWS) {
            int32_t *at = acc + r * PQ_NR + c;
            switch (rows - r) {
                ROWS_CASE(1, tile, 2, at, x + r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(2, tile, 2, at, x + r, w + 4 * c, units, rows, &fetch)
                ROWS_CASE(3, tile, 2, at, x + r, w + 4 * c, units, rows, &fetch)
            default:
                tile(ROWS, 2, at, x + r, w + 4 * c, units, rows, &fetch);
            }
        }
}

void pq_tile_i8_avx2(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                     int units, struct pq_ahead ahead) {
    (void)start; /* the sums are over codes from the beginning */
    if (rows <= FEW_ROWS)
        few_rows(acc, rows, x, w, units, ahead);
    else
        more_rows(acc, rows, x, w, units, ahead);
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
