/* pairs.h - operands of the 2x8 by 8x2 matrix instructions: two rows' or outputs' units i and
 * i + 1, side by side, [a.i, a.i+1, b.i, b.i+1]. */
#ifndef PQ_CPU_ARM_PAIRS_H
#define PQ_CPU_ARM_PAIRS_H

#include "cpu/arm/units.h"

enum { PQ_PAIRS = PQ_MR / 2 };

/* Of n <= 4 rows at x, whose next units are at x + stride: rows 0 and 1, then 2 and 3.  Without
 * `both`, the second units are zero. */
INLINE void pq_row_pairs(int32x4_t out[2], const int32_t *x, int stride, const int n,
                         const bool both) {
    int32x4_t a = pq_units4(x, n), b = both ? pq_units4(x + stride, n) : vdupq_n_s32(0);
    out[0] = vzip1q_s32(a, b);
    out[1] = vzip2q_s32(a, b);
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
