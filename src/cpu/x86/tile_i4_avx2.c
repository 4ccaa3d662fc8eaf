/* Codes + 8 are the unsigned operand of vpmaddubsw: two products are at most 2 * 15 * 127, and the
 * eight units of a block fit 16 bits together.  So a block needs two instructions for 32 products,
 * half of what bytes need, and one multiplication by the group's multiplier, which widens. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

#include <immintrin.h>
#include <string.h>

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
    __m256i m = _mm256_srl_epi32(both, _mm_cvtsi32_si128(outputs / 16 * 4));
    m = _mm256_and_si256(m, _mm256_set1_epi32(15));
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

/* 8 sums, codes of 16 outputs as they are and one part of them, an activation, a product, a mask.
 * One row meets all outputs at once, so that its panel, which is then what it waits for, is read in
 * the order of memory.  A piece of so many blocks of a panel and of all rows stays in the
 * first-level cache. */
enum { ROWS = 4, PIECE = 32 };

/* A part of a panel past which some rows of a tile go. */
struct part {
    const struct pq_panel4 *w;
    int first, block, blocks; /* outputs from `first` on; blocks from `block` on */
};

/* A unit of each row times codes of 16 outputs, taken off their sums.  In one step for each, or GCC
 * begins with the products of many rows, for which there are no registers. */
INLINE void take_unit(const int rows, __m256i sum[ROWS][4], const int c, __m256i w0, __m256i w1,
                      const int32_t *x) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        __m256i xr = _mm256_set1_epi32(x[r]);
        __m256i p0 = _mm256_maddubs_epi16(w0, xr), p1 = _mm256_maddubs_epi16(w1, xr);
        __asm__("vpsubw %1, %0, %0" : "+x"(sum[r][c]) : "x"(p0));
        __asm__("vpsubw %1, %0, %0" : "+x"(sum[r][c + 1]) : "x"(p1));
    }
}

/* acc -= what rows sum over the part.  A block's products are taken off 8 * sum(x) << 16, in one of
 * an output's two halves, which leaves minus the sum over codes.  That half ends at most 16 * 8 *
 * 127 from zero for its own inputs and as much for the other's: 16 bits hold it, and what overflows
 * on the way comes back. */
INLINE void tile(const int rows, const int vectors, int32_t *acc, const int32_t *x,
                 const int32_t *starts, const struct part *p, int stride, struct pq_fetch *fetch) {
    const uint8_t *codes = p->w->codes + (size_t)p->block * (PQ_BLOCK / 2) * PQ_NR + 4 * p->first;
    const __m256i low = _mm256_set1_epi8(15);
    for (int b = p->block; b < p->block + p->blocks; b++, starts += stride) {
        __m256i sum[ROWS][4];
        UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i begin = _mm256_set1_epi32(starts[r]);
            UNROLL
            for (int c = 0; c < vectors; c++)
                sum[r][c] = begin;
        }
        KEEP_LOOP
        for (int i = 0; i < PQ_BLOCK / 8; i++, x += 2 * stride, codes += PQ_NR * 4) {
            pq_fetch(fetch);
            UNROLL
            for (int c = 0; c < vectors; c += 2) {
                __m256i w0 = _mm256_loadu_si256((const __m256i *)(codes + 32 * c));
                __m256i w1 = _mm256_loadu_si256((const __m256i *)(codes + 32 * c + 32));
                take_unit(rows, sum, c, _mm256_and_si256(w0, low), _mm256_and_si256(w1, low), x);
                w0 = _mm256_and_si256(_mm256_srli_epi16(w0, 4), low);
                w1 = _mm256_and_si256(_mm256_srli_epi16(w1, 4), low);
                take_unit(rows, sum, c, w0, w1, x + stride);
            }
        }
        const uint8_t *mults = p->w->mults + (size_t)(b >> p->w->shift) * 16;
        UNROLL
        for (int c = 0; c < vectors; c++) {
            __m256i m = multipliers(mults, p->first + 8 * c);
            UNROLL
            for (int r = 0; r < rows; r++) {
                __m256i *at = (__m256i *)(acc + r * PQ_NR + 8 * c);
                __m256i more = _mm256_madd_epi16(sum[r][c], m);
                _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), more));
            }
        }
    }
}

/* Of a tile's rows past some outputs. */
static int passes_of(int rows) {
    return (rows + ROWS - 1) / ROWS;
}

/* All rows past a piece. */
static void pass(int32_t *acc, int rows, const int32_t *x, const int32_t *starts, struct part p,
                 struct pq_fetch *ahead) {
    struct pq_fetch fetch = *ahead; /* a copy, which stays in registers */
    int columns = rows == 1 ? PQ_NR : 16, passes = passes_of(rows);
    int each = (rows + passes - 1) / passes; /* never one of several */
    x += (size_t)p.block * (PQ_BLOCK / 4) * (size_t)rows;
    starts += p.block * rows;
    for (p.first = 0; p.first < PQ_NR; p.first += columns)
        for (int r = 0; r < rows; r += each) {
            int32_t *at = acc + r * PQ_NR + p.first;
            switch (rows - r < each ? rows - r : each) {
                ROWS_CASE(1, tile, 4, at, x + r, starts + r, &p, rows, &fetch)
                ROWS_CASE(2, tile, 2, at, x + r, starts + r, &p, rows, &fetch)
                ROWS_CASE(3, tile, 2, at, x + r, starts + r, &p, rows, &fetch)
                ROWS_CASE(4, tile, 2, at, x + r, starts + r, &p, rows, &fetch)
            }
        }
    *ahead = fetch;
}

void pq_tile_i4_avx2(int32_t *acc, int rows, const void *x, const int32_t *starts,
                     const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    int passes = rows == 1 ? 1 : 2 * passes_of(rows);
    struct pq_fetch fetch = pq_fetch_begin(ahead, passes * blocks * (PQ_BLOCK / 8));
    memset(acc, 0, (size_t)(rows * PQ_NR) * sizeof *acc);
    for (int b = 0; b < blocks; b += PIECE) {
        int n = blocks - b < PIECE ? blocks - b : PIECE;
        pass(acc, rows, x, starts, (struct part){.w = w, .block = b, .blocks = n}, &fetch);
    }
    for (int i = 0; i < rows * PQ_NR; i++)
        acc[i] = -acc[i];
}
