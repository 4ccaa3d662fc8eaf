/* pairs.h - operands of the 2x8 by 8x2 matrix instructions: two rows' or outputs' units i and
 * i + 1, side by side, [a.i, a.i+1, b.i, b.i+1], as tiles and panels in pairs have them. */
#ifndef PQ_CPU_ARM_PAIRS_H
#define PQ_CPU_ARM_PAIRS_H

#include "cpu/arm/units.h"

enum { PQ_PAIRS = PQ_MR / 2 };

/* Of a pair's units of a tile's rows, x [rows][2], the first two of the n rows that are left; zeros
 * stand for a row that is not there, and not a byte behind the others is read. */
INLINE int32x4_t pq_row_pair(const int32_t *x, const int n) {
    return n > 1 ? vld1q_s32(x) : vcombine_s32(vld1_s32(x), vdup_n_s32(0));
}

/* All of a tile: shapes of 4 to 24 sums, with room for the pairs that are multiplied. */
#define TILE_PAIRS(rows, tile, acc, x, w, ...)                                                     \
    switch (rows) {                                                                                \
        SHAPE_OF(8, 1, 4, tile, acc, x, w, __VA_ARGS__)                                            \
        SHAPE_OF(8, 2, 4, tile, acc, x, w, __VA_ARGS__)                                            \
        SHAPE_OF(8, 3, 4, tile, acc, x, w, __VA_ARGS__)                                            \
        SHAPE_OF(8, 4, 4, tile, acc, x, w, __VA_ARGS__)                                            \
        SHAPE_OF(8, 5, 2, tile, acc, x, w, __VA_ARGS__)                                            \
        SHAPE_OF(8, 6, 2, tile, acc, x, w, __VA_ARGS__)                                            \
        SHAPE_OF(8, 7, 2, tile, acc, x, w, __VA_ARGS__)                                            \
        SHAPE_OF(8, 8, 2, tile, acc, x, w, __VA_ARGS__)                                            \
        SHAPE_OF(8, 9, 2, tile, acc, x, w, __VA_ARGS__)                                            \
        SHAPE_OF(8, 10, 2, tile, acc, x, w, __VA_ARGS__)                                           \
        SHAPE_OF(8, 11, 2, tile, acc, x, w, __VA_ARGS__)                                           \
        SHAPE_OF(8, 12, 2, tile, acc, x, w, __VA_ARGS__)                                           \
    }

#endif
