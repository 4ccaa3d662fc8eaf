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

/* The multipliers of block b's group for outputs first .. first + 7. */
INLINE void pq_multipliers8(int32x4_t out[2], const struct pq_panel4 *w, int b, int first) {
    uint8x16_t both = vld1q_u8(w->mults + (size_t)(b >> w->shift) * 16);
    uint8x16_t m = first < 16 ? vandq_u8(both, vdupq_n_u8(15)) : vshrq_n_u8(both, 4);
    if (first % 16 == 8)
        m = vextq_u8(m, m, 8);
    uint16x8_t m16 = vmovl_u8(vget_low_u8(m));
    out[0] = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(m16)));
    out[1] = vreinterpretq_s32_u32(vmovl_high_u16(m16));
}

/* Of 4 * vecs outputs, vecs even. */
INLINE void pq_multipliers(int32x4_t *out, const struct pq_panel4 *w, int b, int first,
                           const int vecs) {
    UNROLL
    for (int c = 0; c < vecs; c += 2)
        pq_multipliers8(out + c, w, b, first + 4 * c);
}

/* The case of so many rows, r and on, which x begins with, in a switch: tile(rows, vecs, ...) for
 * each 4 * vecs outputs.  One row meets as many at once as registers allow: its panel, which is
 * then what it waits for, is read in the order of memory. */
#define SHAPE4(count, vecs, tile, acc, rows, x, starts, w, ...)                                    \
    case count:                                                                                    \
        for (int c = 0; c < PQ_NR; c += 4 * (vecs))                                                \
            tile(count, vecs, (acc) + r * PQ_NR + c, x, (starts) + r, w, rows, c, __VA_ARGS__);    \
        break;

#endif
