/* tile_i4_avx2.c with 16 outputs a register and registers for the sums of 12 rows. */
#include "cpu/kernels.h"
#include "cpu/rows.h"

#include <immintrin.h>

#if !defined(__AVX512BW__)
#error "build this file with -mavx512bw"
#endif

/* 12 sums of a block, 12 of all, a code in two parts.  Few rows meet all outputs at once. */
enum { OUTPUTS = 16, ROWS = PQ_MR, FEW_ROWS = 4 };

typedef __m512i vector;

INLINE vector load(const uint8_t *from) {
    return _mm512_loadu_si512(from);
}

INLINE void store(int32_t *to, vector v) {
    _mm512_storeu_si512(to, v);
}

INLINE vector zero(void) {
    return _mm512_setzero_si512();
}

INLINE vector spread(int32_t x) {
    return _mm512_set1_epi32(x);
}

INLINE vector low_codes(vector both) {
    return _mm512_and_si512(both, _mm512_set1_epi8(15));
}

INLINE vector high_codes(vector both) {
    return low_codes(_mm512_srli_epi16(both, 4));
}

/* The multipliers of 16 outputs, the first or the second, in both halves of their 32-bit lanes. */
INLINE __m512i multipliers(const uint8_t *at, int first) {
    __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)at));
    __m512i m = _mm512_srl_epi32(both, _mm_cvtsi32_si128(first / 4));
    m = _mm512_and_si512(m, _mm512_set1_epi32(15));
    return _mm512_or_si512(m, _mm512_slli_epi32(m, 16));
}

/* Taken off what a block begins with; see tile_i4_avx2.c. */
INLINE __m512i add_products(__m512i sum, __m512i codes, __m512i x) {
    sum = _mm512_sub_epi16(sum, _mm512_maddubs_epi16(codes, x));
    __asm__("" : "+v"(sum));
    return sum;
}

INLINE __m512i end_block(__m512i total, __m512i sum, __m512i m) {
    return _mm512_sub_epi32(total, _mm512_madd_epi16(sum, m));
}

#include "cpu/x86/tile_i4.h"

static void few_rows(int32_t *acc, int rows, const int32_t *x, const int32_t *starts,
                     const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, blocks * (PQ_BLOCK / 8));
    switch (rows) {
        ROWS_CASE(1, tile, 2, acc, x, starts, w, blocks, rows, 0, &fetch)
        ROWS_CASE(2, tile, 2, acc, x, starts, w, blocks, rows, 0, &fetch)
        ROWS_CASE(3, tile, 2, acc, x, starts, w, blocks, rows, 0, &fetch)
        ROWS_CASE(4, tile, 2, acc, x, starts, w, blocks, rows, 0, &fetch)
    }
}

static void more_rows(int32_t *acc, int rows, const int32_t *x, const int32_t *starts,
                      const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, 2 * blocks * (PQ_BLOCK / 8));
    for (int c = 0; c < PQ_NR; c += 16)
        switch (rows) {
            ROWS_CASE(5, tile, 1, acc + c, x, starts, w, blocks, rows, c, &fetch)
            ROWS_CASE(6, tile, 1, acc + c, x, starts, w, blocks, rows, c, &fetch)
            ROWS_CASE(7, tile, 1, acc + c, x, starts, w, blocks, rows, c, &fetch)
            ROWS_CASE(8, tile, 1, acc + c, x, starts, w, blocks, rows, c, &fetch)
            ROWS_CASE(9, tile, 1, acc + c, x, starts, w, blocks, rows, c, &fetch)
            ROWS_CASE(10, tile, 1, acc + c, x, starts, w, blocks, rows, c, &fetch)
            ROWS_CASE(11, tile, 1, acc + c, x, starts, w, blocks, rows, c, &fetch)
            ROWS_CASE(12, tile, 1, acc + c, x, starts, w, blocks, rows, c, &fetch)
        }
}

void pq_tile_i4_avx512(int32_t *acc, int rows, const void *x, const int32_t *starts,
                       const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    if (rows <= FEW_ROWS)
        few_rows(acc, rows, x, starts, w, blocks, ahead);
    else
        more_rows(acc, rows, x, starts, w, blocks, ahead);
}
