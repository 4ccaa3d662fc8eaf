/* pairs.h - operands of the 2x8 by 8x2 matrix instructions: two rows' or outputs' units i and
 * i + 1, side by side, [a.i, a.i+1, b.i, b.i+1]. */
#ifndef PQ_CPU_ARM_PAIRS_H
#define PQ_CPU_ARM_PAIRS_H

#include "cpu/arm/units.h"

enum { PQ_PAIRS = PQ_MR / 2 };

/* Of a pair's units of a tile's rows, x [rows][2], the first two of the n rows that are left; zeros
 * stand for a row that is not there, and not a byte behind the others is read. */
INLINE int32x4_t pq_row_pair(const int32_t *x, const int n) {
    return n > 1 ? vld1q_s32(x) : vcombine_s32(vld1_s32(x), vdup_n_s32(0));
}

/* Of the four outputs whose units are at w and w + PQ_NR * 4: 0 and 1, then 2 and 3. */
INLINE void pq_output_pairs(int32x4_t out[2], const uint8_t *w, const bool both) {
    int32x4_t a = vreinterpretq_s32_u8(vld1q_u8(w));
    int32x4_t b = both ? vreinterpretq_s32_u8(vld1q_u8(w + PQ_NR * 4)) : vdupq_n_s32(0);
    out[0] = vzip1q_s32(a, b);
    out[1] = vzip2q_s32(a, b);
}

/* All of a tile: shapes of 4 to 24 sums, with room for the pairs that are multiplied. */
#define TILE_PAIRS(rows, tile, acc, x, w, ...)                                                     \
    switch (rows) {                                                                                \
        SHAPE(1, 4, tile, acc, x, w, __VA_ARGS__)                                                  \
        SHAPE(2, 4, tile, acc, x, w, __VA_ARGS__)                                                  \
        SHAPE(3, 4, tile, acc, x, w, __VA_ARGS__)                                                  \
        SHAPE(4, 4, tile, acc, x, w, __VA_ARGS__)                                                  \
        SHAPE(5, 2, tile, acc, x, w, __VA_ARGS__)                                                  \
        SHAPE(6, 2, tile, acc, x, w, __VA_ARGS__)                                                  \
        SHAPE(7, 2, tile, acc, x, w, __VA_ARGS__)                                                  \
        SHAPE(8, 2, tile, acc, x, w, __VA_ARGS__)                                                  \
        SHAPE(9, 2, tile, acc, x, w, __VA_ARGS__)                                                  \
        SHAPE(10, 2, tile, acc, x, w, __VA_ARGS__)                                                 \
        SHAPE(11, 2, tile, acc, x, w, __VA_ARGS__)                                                 \
        SHAPE(12, 2, tile, acc, x, w, __VA_ARGS__)                                                 \
    }

#endif
