/* Four-bit panels on AVX2: a block is unpacked to bytes in the first-level cache and given to the
 * byte kernel, which costs a few instructions for every 16 that multiply. */
#include "cpu/kernels.h"
#include "cpu/x86/rows.h"

#include <immintrin.h>
#include <string.h>

#if !defined(__AVX2__)
#error "build this file with -mavx2"
#endif

/* code * mult + 128 for the 32 bytes of 8 outputs: products in 16-bit halves of each pair. */
INLINE __m256i scaled(__m256i code, __m256i mult16) {
    const __m256i even = _mm256_set1_epi16(255);
    __m256i offset = _mm256_sub_epi16(_mm256_set1_epi16(128), _mm256_slli_epi16(mult16, 3));
    __m256i e = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_and_si256(code, even), mult16), offset);
    __m256i o = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_srli_epi16(code, 8), mult16), offset);
    return _mm256_or_si256(_mm256_and_si256(e, even), _mm256_slli_epi16(o, 8));
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
            for (int i = 0; i < PQ_BLOCK / 8; i++) {
                size_t unit = (size_t)b * (PQ_BLOCK / 8) + (size_t)i;
                const uint8_t *from = w->codes + unit * PQ_NR * 4 + 4 * c;
                uint8_t *to = out + unit * 2 * PQ_NR * 4 + 4 * c;
                __m256i code = _mm256_loadu_si256((const __m256i *)from);
                __m256i l = _mm256_and_si256(code, low);
                __m256i h = _mm256_and_si256(_mm256_srli_epi16(code, 4), low);
                _mm256_storeu_si256((__m256i *)to, scaled(l, m));
                _mm256_storeu_si256((__m256i *)(to + PQ_NR * 4), scaled(h, m));
            }
        }
}

void pq_tile_i4_avx2(int32_t *acc, int rows, const void *x, const int32_t *sums,
                     const struct pq_panel4 *w, int blocks) {
    uint8_t bytes[PQ_BLOCK * PQ_NR];
    int32_t start[PQ_MR], sum[PQ_MR * PQ_NR];
    memset(acc, 0, (size_t)(rows * PQ_NR) * sizeof *acc);
    for (int b = 0; b < blocks; b++) {
        struct pq_panel4 block = {
            .codes = w->codes + (size_t)b * PQ_BLOCK / 2 * PQ_NR,
            .mults = w->mults + (size_t)(b >> w->shift) * 16,
            .shift = w->shift,
        };
        pq_unpack_i4_avx2(bytes, &block, 1);
        for (int r = 0; r < rows; r++)
            start[r] = -128 * sums[b * rows + r];
        pq_tile_i8_avx2(sum, rows, start, (const int32_t *)x + b * (PQ_BLOCK / 4) * rows, bytes,
                        PQ_BLOCK / 4);
        for (int i = 0; i < rows * PQ_NR; i++)
            acc[i] += sum[i];
    }
}
