/* codes.h - 4-bit panels in registers. */
#ifndef PQ_CPU_ARM_CODES_H
#define PQ_CPU_ARM_CODES_H

#include "cpu/arm/units.h"

/* Codes + 8 of four outputs: out[0] of the unit in the low nibbles, out[1] of the next one. */
INLINE void pq_codes4(int8x16_t out[2], const uint8_t *codes) {
    uint8x16_t both = vld1q_u8(codes);
    out[0] = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
    out[1] = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
}

/* The multipliers of block b's group for outputs first .. first + 4 * vecs - 1. */
INLINE void pq_multipliers(int32x4_t *out, const struct pq_panel4 *w, int b, int first,
                           const int vecs) {
    uint8x16_t both = vld1q_u8(w->mults + (size_t)(b >> w->shift) * 16);
    uint8x16_t m = first < 16 ? vandq_u8(both, vdupq_n_u8(15)) : vshrq_n_u8(both, 4);
    if (first % 16 == 8)
        m = vextq_u8(m, m, 8);
    uint16x8_t m16 = vmovl_u8(vget_low_u8(m));
    out[0] = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(m16)));
    if (vecs > 1)
        out[1] = vreinterpretq_s32_u32(vmovl_high_u16(m16));
}

/* All of tile kernels for up to ROWS rows and 4 * VECS outputs at a time. */
#define TILE4(tile, acc, rows, x, sums, w, blocks)                                                 \
    for (int c = 0; c < PQ_NR; c += 4 * VECS)                                                      \
        for (int r = 0; r < rows; r += ROWS) {                                                     \
            int32_t *at = acc + r * PQ_NR + c;                                                     \
            const int32_t *xr = (const int32_t *)x + r;                                            \
            switch (rows - r < ROWS ? rows - r : ROWS) {                                           \
                ROWS_CASE(1, tile, at, xr, sums + r, w, blocks, rows, c)                           \
                ROWS_CASE(2, tile, at, xr, sums + r, w, blocks, rows, c)                           \
                ROWS_CASE(3, tile, at, xr, sums + r, w, blocks, rows, c)                           \
                ROWS_CASE(4, tile, at, xr, sums + r, w, blocks, rows, c)                           \
            }                                                                                      \
        }

#endif
