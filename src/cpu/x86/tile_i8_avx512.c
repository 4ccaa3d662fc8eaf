/* Processors with AVX-512 and without byte dot products. */
#include "cpu/kernels.h"
#include "cpu/rows.h"

#include <immintrin.h>

#if !defined(__AVX512BW__)
#error "build this file with -mavx512bw"
#endif

/* 24 sums, ones, an activation in two, a product. */
enum { OUTPUTS = 16, ROWS = PQ_MR };

typedef __m512i vector;

INLINE vector load(const int32_t *from) {
    return _mm512_loadu_si512(from);
}

INLINE void store(int32_t *to, vector v) {
    _mm512_storeu_si512(to, v);
}

INLINE vector spread(int32_t x) {
    return _mm512_set1_epi32(x);
}

INLINE vector sizes(vector x) {
    return _mm512_abs_epi8(x);
}

INLINE vector masks(vector x) {
    __mmask64 negative = _mm512_movepi8_mask(x);
    return _mm512_mask_blend_epi8(negative, _mm512_set1_epi8(-128), _mm512_set1_epi8(127));
}

/* See tile_i8_avx2.c. */
INLINE vector products(vector sum, vector size, vector mask, const uint8_t *bytes) {
    __m512i code;
    __asm__("vpxord %2, %1, %0" : "=v"(code) : "v"(mask), "m"(*(const __m512i *)bytes));
    __m512i pairs = _mm512_maddubs_epi16(size, code);
    __m512i four = _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
    __asm__("vpaddd %1, %0, %0" : "+v"(sum) : "v"(four));
    return sum;
}

#include "cpu/x86/tile_i8.h"

static void pass(int32_t *acc, int rows, const struct split *x, const uint8_t *w, int units,
                 struct pq_fetch *fetch) {
    ROWS_SWITCH(rows, tile, acc, x, 0, w, units, rows, fetch)
}

void pq_tile_i8_avx512(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                       int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    (void)ends;
    all_pieces(acc, rows, start, x, w, units, ahead);
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
