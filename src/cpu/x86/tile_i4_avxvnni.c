/* Codes + 8 are the unsigned operand.  The sum of a block over signed codes is at most
 * 32 * 8 * 127, which fits 16 bits: so vpmaddwd multiplies it by the group's multiplier. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/avxvnni.h"

/* The multipliers of 8 outputs' groups, as int32. */
INLINE __m256i multipliers(const uint8_t *at, int first) {
    __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(at + first % 16)));
    return first < 16 ? _mm256_and_si256(both, _mm256_set1_epi32(15)) : _mm256_srli_epi32(both, 4);
}

INLINE __m256i begin_block(int32_t sum) {
    return _mm256_set1_epi32(-8 * sum);
}

INLINE __m256i add_products(__m256i sum, __m256i codes, __m256i x) {
    return pq_dpbusd256(sum, codes, x);
}

INLINE __m256i end_block(__m256i total, __m256i sum, __m256i m) {
    return _mm256_add_epi32(total, _mm256_madd_epi16(sum, m));
}

#include "cpu/x86/tile_i4_256.h"

void pq_tile_i4_avxvnni(int32_t *acc, int rows, const void *x, const int32_t *sums,
                        const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    tile_i4(acc, rows, x, sums, w, blocks, ahead);
}
