/* Processors with AVX-512 but without VNNI: vpmaddubsw of |code| and the activation with the code's
 * sign, for which codes' signs are a mask.  Two products are at most 2 * 128 * 127: exact. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

#include <immintrin.h>

#if !defined(__AVX512BW__)
#error "build this file with -mavx512bw"
#endif

/* 16 outputs: the sizes of their codes times the activations with the codes' signs. */
INLINE __m512i products(__m512i sum, __m512i size, __mmask64 negative, __m512i x) {
    __m512i with_sign = _mm512_mask_sub_epi8(x, negative, _mm512_setzero_si512(), x);
    __m512i pairs = _mm512_maddubs_epi16(size, with_sign);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

INLINE void tile(const int rows, int32_t *acc, const int32_t *x, const uint8_t *w, int units,
                 struct pq_ahead ahead) {
    const __m512i flip = _mm512_set1_epi8(-128);
    __m512i sum[PQ_MR][2];
    UNROLL
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_si512();
    struct pq_fetch fetch = pq_fetch_begin(ahead, units);
    for (int i = 0; i < units; i++, x += rows, w += PQ_NR * 4) {
        pq_fetch(&fetch);
        __m512i size[2];
        __mmask64 negative[2];
        UNROLL
        for (int c = 0; c < 2; c++) {
            __m512i code = _mm512_xor_si512(_mm512_loadu_si512(w + 64 * c), flip);
            size[c] = _mm512_abs_epi8(code);
            negative[c] = _mm512_movepi8_mask(code);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m512i xr = _mm512_set1_epi32(x[r]);
            sum[r][0] = products(sum[r][0], size[0], negative[0], xr);
            sum[r][1] = products(sum[r][1], size[1], negative[1], xr);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        _mm512_storeu_si512(acc + r * PQ_NR, sum[r][0]);
        _mm512_storeu_si512(acc + r * PQ_NR + 16, sum[r][1]);
    }
}

void pq_tile_i8_avx512(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                       int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    (void)ends;
    (void)start; /* the sums are over codes from the beginning */
    ROWS_SWITCH(rows, tile, acc, x, w, units, ahead)
}

double pq_peak_i8_avx512(int rounds) {
    __m512i sum[16];
    UNROLL
    for (int i = 0; i < 16; i++)
        sum[i] = _mm512_setzero_si512();
    __m512i a = _mm512_set1_epi8(1), one = _mm512_set1_epi16(1);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 16; i++) {
            __asm__ volatile("" : "+v"(a)); /* or one product would do for all */
            sum[i] = _mm512_add_epi32(sum[i], _mm512_madd_epi16(_mm512_maddubs_epi16(a, a), one));
        }
    }
    UNROLL
    for (int i = 0; i < 16; i++)
        __asm__ volatile("" ::"v"(sum[i]));
    return 2.0 * rounds * 16 * 64;
}
