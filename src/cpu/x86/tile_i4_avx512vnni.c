/* Codes + 8 are the unsigned operand.  A block's sum starts at -8 * sum(x), which makes it the sum
 * over signed codes, and is multiplied by the group's multiplier once: 2 instructions per 16
 * outputs for every 8 dot products. */
#include "cpu/kernels.h"
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"
#include "cpu/x86/vnni.h"

/* The multipliers of a block's group: m[0] of outputs 0..15, m[1] of 16..31, as int32.  By shifts,
 * because a mask would take a register. */
INLINE void multipliers(__m512i m[2], const struct pq_panel4 *w, int block) {
    const uint8_t *at = w->mults + (size_t)(block >> w->shift) * 16;
    __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)at));
    m[0] = _mm512_srli_epi32(_mm512_slli_epi32(both, 28), 28);
    m[1] = _mm512_srli_epi32(both, 4);
}

/* Rows 0 .. rows-1 of a tile whose units are `stride` rows apart. */
INLINE void tile(const int rows, int32_t *acc, const int32_t *x, const int32_t *starts,
                 const struct pq_panel4 *w, int blocks, int stride, struct pq_fetch *fetch) {
    const __m512i low = _mm512_set1_epi8(15);
    const uint8_t *codes = w->codes;
    __m512i total[4][2];
    UNROLL
    for (int r = 0; r < rows; r++)
        total[r][0] = total[r][1] = _mm512_setzero_si512();
    for (int b = 0; b < blocks; b++, starts += stride) {
        __m512i sum[4][2], m[2];
        UNROLL
        for (int r = 0; r < rows; r++)
            sum[r][0] = sum[r][1] = _mm512_set1_epi32(starts[r]);
        UNROLL
        for (int i = 0; i < PQ_BLOCK / 8; i++, x += 2 * stride, codes += PQ_NR * 4) {
            pq_fetch(fetch);
            __m512i c0 = _mm512_loadu_si512(codes), c1 = _mm512_loadu_si512(codes + 64);
            __m512i l0 = _mm512_and_si512(c0, low), l1 = _mm512_and_si512(c1, low);
            __m512i h0 = _mm512_and_si512(_mm512_srli_epi16(c0, 4), low);
            __m512i h1 = _mm512_and_si512(_mm512_srli_epi16(c1, 4), low);
            UNROLL
            for (int r = 0; r < rows; r++) {
                __m512i xl = _mm512_set1_epi32(x[r]), xh = _mm512_set1_epi32(x[stride + r]);
                sum[r][0] = pq_dpbusd(pq_dpbusd(sum[r][0], l0, xl), h0, xh);
                sum[r][1] = pq_dpbusd(pq_dpbusd(sum[r][1], l1, xl), h1, xh);
            }
        }
        multipliers(m, w, b);
        UNROLL
        for (int r = 0; r < rows; r++) {
            total[r][0] = _mm512_add_epi32(total[r][0], _mm512_mullo_epi32(sum[r][0], m[0]));
            total[r][1] = _mm512_add_epi32(total[r][1], _mm512_mullo_epi32(sum[r][1], m[1]));
        }
    }
    pq_end_sums(rows, acc, total);
}

void pq_tile_i4_avx512vnni(int32_t *acc, int rows, const void *x, const int32_t *starts,
                           const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    int r = 0;
    struct pq_fetch fetch = pq_fetch_begin(ahead, (rows + 3) / 4 * blocks * (PQ_BLOCK / 8));
    for (; r + 4 <= rows; r += 4)
        tile(4, acc + r * PQ_NR, (const int32_t *)x + r, starts + r, w, blocks, rows, &fetch);
    acc += r * PQ_NR;
    x = (const int32_t *)x + r;
    starts += r;
    switch (rows - r) {
        ROWS_CASE(1, tile, acc, x, starts, w, blocks, rows, &fetch)
        ROWS_CASE(2, tile, acc, x, starts, w, blocks, rows, &fetch)
        ROWS_CASE(3, tile, acc, x, starts, w, blocks, rows, &fetch)
    }
}

/* Every byte with a constant, from memory: compilers would keep it in a register that sums need. */
INLINE __m512i low_halves(__m512i bytes) {
    static const uint32_t low = 0x0f0f0f0f;
    __asm__("vpandd %1%{1to16%}, %0, %0" : "+v"(bytes) : "m"(low));
    return bytes;
}

INLINE __m512i plus_128(__m512i bytes) {
    static const uint32_t high = 0x80808080;
    __asm__("vpxord %1%{1to16%}, %0, %0" : "+v"(bytes) : "m"(high));
    return bytes;
}

/* What makes bytes of a block's codes: code * mult + 128 for the 64 bytes of 16 outputs, of codes +
 * 8: a byte's product stays below 256, so that one multiplication of 16 bits does both of its
 * bytes; offset is 128 - 8 * mult in every byte. */
struct scaling {
    __m512i mult[2], offset[2];
};

INLINE struct scaling scaling_of(const struct pq_panel4 *w, int block) {
    struct scaling s;
    multipliers(s.mult, w, block);
    UNROLL
    for (int h = 0; h < 2; h++) {
        __m512i both = _mm512_or_si512(s.mult[h], _mm512_slli_epi32(s.mult[h], 16));
        __m512i eights = _mm512_slli_epi16(_mm512_or_si512(both, _mm512_slli_epi16(both, 8)), 3);
        s.mult[h] = both;
        s.offset[h] = plus_128(_mm512_sub_epi8(_mm512_setzero_si512(), eights));
    }
    return s;
}

/* code * mult + 128 of the low or high halves of the bytes of 16 outputs. */
INLINE __m512i bytes_of(const uint8_t *codes, int high, __m512i mult, __m512i offset) {
    __m512i c = _mm512_srli_epi16(_mm512_loadu_si512(codes), 4 * (unsigned)high);
    return _mm512_add_epi8(_mm512_mullo_epi16(low_halves(c), mult), offset);
}

/* Four inputs of PQ_NR outputs as bytes. */
INLINE void unpack(uint8_t *out, const uint8_t *codes, int high, const struct scaling *s) {
    _mm512_storeu_si512(out, bytes_of(codes, high, s->mult[0], s->offset[0]));
    _mm512_storeu_si512(out + 64, bytes_of(codes + 64, high, s->mult[1], s->offset[1]));
}

/* A block is unpacked beside the products of the one before it: those of its own would wait the
 * dozen cycles that a byte is in the making.  What is not kept takes turns in two blocks. */
INLINE void unpacking_tile(const int rows, int32_t *acc, const int32_t *start, const int32_t *x,
                           uint8_t *out, bool keep, const struct pq_panel4 *w, int blocks,
                           struct pq_ahead ahead, const struct pq_ends *ends) {
    const int unit = PQ_NR * 4, units = PQ_BLOCK / 4; /* a unit's bytes, a block's units */
    const uint8_t *codes = w->codes, *bytes = out;
    struct pq_fetch fetch = pq_fetch_begin(ahead, (blocks + 1) * units / 2);
    struct scaling s = scaling_of(w, 0);
    KEEP_LOOP
    for (int i = 0; i < units; i += 2, codes += unit) {
        unpack(out + i * unit, codes, 0, &s);
        unpack(out + (i + 1) * unit, codes, 1, &s);
    }
    __m512i sum[PQ_MR][2];
    pq_begin_sums(rows, sum, start);
    struct pq_end_fetch end_fetch = pq_end_fetch_begin(ends, rows, blocks);
    for (int b = 1; b < blocks; b++) {
        pq_fetch_end(&end_fetch, b - 1);
        uint8_t *next = out + (keep ? b : b % 2) * units * unit;
        s = scaling_of(w, b);
        KEEP_LOOP
        for (int i = 0; i < units; i += 2, codes += unit) {
            pq_fetch(&fetch);
            UNROLL
            for (int high = 0; high < 2; high++, x += rows) {
                unpack(next + (i + high) * unit, codes, high, &s);
                pq_add_products(rows, sum, bytes + (i + high) * unit, x);
            }
        }
        bytes = next;
    }
    KEEP_LOOP
    for (int i = 0; i < units; i++, bytes += unit, x += rows) {
        pq_fetch(&fetch);
        pq_add_products(rows, sum, bytes, x);
    }
    pq_end_sums(rows, acc, sum);
}

void pq_tile_unpack_avx512vnni(int32_t *acc, int rows, const int32_t *start, const void *x,
                               uint8_t *out, bool keep, const struct pq_panel4 *w, int blocks,
                               struct pq_ahead ahead, const struct pq_ends *ends) {
    ROWS_SWITCH(rows, unpacking_tile, acc, start, x, out, keep, w, blocks, ahead, ends)
}
