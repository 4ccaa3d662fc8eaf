/* Codes + 8 are the unsigned operand of vpmaddubsw: two products are at most 2 * 15 * 127, and the
 * eight units of a block fit 16 bits together.  So a block needs two instructions for 32 products,
 * half of what bytes need, and one multiplication by the group's multiplier, which widens. */
#include "cpu/kernels.h"
#include "cpu/rows.h"

#include <immintrin.h>

#if !defined(__AVX2__)
#error "build this file with -mavx2"
#endif

/* code * mult + 128 for the 32 bytes of 8 outputs, of codes + 8: a byte's product stays below 256,
 * so that one multiplication of 16 bits does both of its bytes; offset is 128 - 8 * mult in every
 * byte. */
INLINE __m256i scaled(__m256i code, __m256i mult16, __m256i offset) {
    return _mm256_add_epi8(_mm256_mullo_epi16(code, mult16), offset);
}

/* The multipliers of 8 outputs, in both halves of their 32-bit lanes. */
INLINE __m256i multipliers(const uint8_t *at, int outputs) {
    __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(at + outputs % 16)));
    __m256i m =
        outputs < 16 ? _mm256_and_si256(both, _mm256_set1_epi32(15)) : _mm256_srli_epi32(both, 4);
    return _mm256_or_si256(m, _mm256_slli_epi32(m, 16));
}

void pq_unpack_i4_avx2(uint8_t *out, const struct pq_panel4 *w, int blocks) {
    const __m256i low = _mm256_set1_epi8(15);
    for (int b = 0; b < blocks; b++)
        for (int c = 0; c < PQ_NR; c += 8) {
            __m256i m = multipliers(w->mults + (size_t)(b >> w->shift) * 16, c);
            __m256i eights = _mm256_slli_epi16(_mm256_or_si256(m, _mm256_slli_epi16(m, 8)), 3);
            __m256i offset = _mm256_sub_epi8(_mm256_set1_epi8(-128), eights);
            for (int i = 0; i < PQ_BLOCK / 8; i++) {
                size_t unit = (size_t)b * (PQ_BLOCK / 8) + (size_t)i;
                const uint8_t *from = w->codes + unit * PQ_NR * 4 + 4 * c;
                uint8_t *to = out + unit * 2 * PQ_NR * 4 + 4 * c;
                __m256i code = _mm256_loadu_si256((const __m256i *)from);
                __m256i l = _mm256_and_si256(code, low);
                __m256i h = _mm256_and_si256(_mm256_srli_epi16(code, 4), low);
                _mm256_storeu_si256((__m256i *)to, scaled(l, m, offset));
                _mm256_storeu_si256((__m256i *)(to + PQ_NR * 4), scaled(h, m, offset));
            }
        }
}

/* A block's products are taken off 8 * sum(x), in one of an output's two halves, which leaves minus
 * the sum over codes.  That half ends at most 16 * 8 * 127 from zero for its own inputs and as much
 * for the other's: 16 bits hold it, and what overflows on the way comes back. */
INLINE __m256i begin_block(int32_t sum) {
    return _mm256_slli_epi32(_mm256_set1_epi32(sum), 3 + 16);
}

/* In one step each, or GCC adds the products of many rows before it takes any off, for which there
 * are no registers. */
INLINE __m256i add_products(__m256i sum, __m256i codes, __m256i x) {
    sum = _mm256_sub_epi16(sum, _mm256_maddubs_epi16(codes, x));
    __asm__("" : "+x"(sum));
    return sum;
}

INLINE __m256i end_block(__m256i total, __m256i sum, __m256i m) {
    return _mm256_sub_epi32(total, _mm256_madd_epi16(sum, m));
}

#include "cpu/x86/tile_i4_256.h"

void pq_tile_i4_avx2(int32_t *acc, int rows, const void *x, const int32_t *sums,
                     const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    tile_i4(acc, rows, x, sums, w, blocks, ahead);
}
