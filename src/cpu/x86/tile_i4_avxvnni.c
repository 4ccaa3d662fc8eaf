/* Codes + 8 are the unsigned operand.  The sum of a block over signed codes is at most
 * 32 * 8 * 127, which fits 16 bits: so vpmaddwd multiplies it by the group's multiplier. */
#include "cpu/kernels.h"
#include "cpu/x86/avxvnni.h"
#include "cpu/rows.h"

enum { ROWS = 4 }; /* 4 sums of a block, 4 of all, two parts of a code */

/* The multipliers of 8 outputs' groups, as int32. */
INLINE __m256i multipliers(const uint8_t *at, int first) {
    __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(at + first % 16)));
    return first < 16 ? _mm256_and_si256(both, _mm256_set1_epi32(15)) : _mm256_srli_epi32(both, 4);
}

/* Rows 0 .. rows-1 of a tile whose units are `stride` rows apart, 8 outputs from `first` on. */
INLINE void tile(const int rows, int32_t *acc, const int32_t *x, const int32_t *sums,
                 const struct pq_panel4 *w, int blocks, int stride, int first) {
    const __m256i low = _mm256_set1_epi8(15);
    const uint8_t *codes = w->codes + 4 * first;
    __m256i total[ROWS];
    UNROLL
    for (int r = 0; r < rows; r++)
        total[r] = _mm256_setzero_si256();
    for (int b = 0; b < blocks; b++, sums += stride) {
        __m256i sum[ROWS];
        UNROLL
        for (int r = 0; r < rows; r++)
            sum[r] = _mm256_set1_epi32(-8 * sums[r]);
        UNROLL
        for (int i = 0; i < PQ_BLOCK / 8; i++, x += 2 * stride, codes += PQ_NR * 4) {
            __m256i c = _mm256_loadu_si256((const __m256i *)codes);
            __m256i l = _mm256_and_si256(c, low);
            __m256i h = _mm256_and_si256(_mm256_srli_epi16(c, 4), low);
            UNROLL
            for (int r = 0; r < rows; r++) {
                sum[r] = pq_dpbusd256(sum[r], l, _mm256_set1_epi32(x[r]));
                sum[r] = pq_dpbusd256(sum[r], h, _mm256_set1_epi32(x[stride + r]));
            }
        }
        __m256i m = multipliers(w->mults + (size_t)(b >> w->shift) * 16, first);
        UNROLL
        for (int r = 0; r < rows; r++)
            total[r] = _mm256_add_epi32(total[r], _mm256_madd_epi16(sum[r], m));
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        _mm256_storeu_si256((__m256i *)(acc + r * PQ_NR), total[r]);
}

void pq_tile_i4_avxvnni(int32_t *acc, int rows, const void *x, const int32_t *sums,
                        const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    (void)ahead;
    for (int c = 0; c < PQ_NR; c += 8)
        for (int r = 0; r < rows; r += ROWS) {
            int32_t *at = acc + r * PQ_NR + c;
            const int32_t *xr = (const int32_t *)x + r;
            switch (rows - r) {
                ROWS_CASE(1, tile, at, xr, sums + r, w, blocks, rows, c)
                ROWS_CASE(2, tile, at, xr, sums + r, w, blocks, rows, c)
                ROWS_CASE(3, tile, at, xr, sums + r, w, blocks, rows, c)
            default:
                tile(ROWS, at, xr, sums + r, w, blocks, rows, c);
            }
        }
}
