/* units.h - the units of a tile's rows in registers, four rows a register, and the shapes of tiles
 * that fill AArch64's 32 registers. */
#ifndef PQ_CPU_ARM_UNITS_H
#define PQ_CPU_ARM_UNITS_H

#include "cpu/rows.h"

#include <arm_neon.h>

enum { PQ_QUADS = PQ_MR / 4 };

/* The first n <= 4 of the units at x, and not a byte behind them; zeros follow. */
INLINE int32x4_t pq_units4(const int32_t *x, const int n) {
    switch (n) {
    case 1:
        return vsetq_lane_s32(x[0], vdupq_n_s32(0), 0);
    case 2:
        return vcombine_s32(vld1_s32(x), vdup_n_s32(0));
    case 3:
        return vcombine_s32(vld1_s32(x), vset_lane_s32(x[2], vdup_n_s32(0), 0));
    default:
        return vld1q_s32(x);
    }
}

/* Unit r of a tile is then lane r % 4 of out[r / 4]. */
INLINE void pq_units(int32x4_t out[PQ_QUADS], const int32_t *x, const int rows) {
    UNROLL
    for (int q = 0; q < (rows + 3) / 4; q++)
        out[q] = pq_units4(x + 4 * q, rows - 4 * q);
}

/* The unit of row r beside four outputs; a switch, because lanes must be constants. */
INLINE int8x16_t pq_spread(int32x4_t units, const int r) {
    switch (r % 4) {
    case 0:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(units, 0));
    case 1:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(units, 1));
    case 2:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(units, 2));
    default:
        return vreinterpretq_s8_s32(vdupq_laneq_s32(units, 3));
    }
}

/* The case of `rows` in a switch: tile(rows, vecs, acc, x, w, ...) for each 4 * vecs outputs, of
 * which w has so many bytes one after the other. */
#define SHAPE_OF(bytes, rows, vecs, tile, acc, x, w, ...)                                          \
    case rows:                                                                                     \
        for (int c = 0; c < PQ_NR; c += 4 * (vecs))                                                \
            tile(rows, vecs, (acc) + c, x, (const uint8_t *)(w) + (bytes)*c, __VA_ARGS__);         \
        break;
#define SHAPE(...) SHAPE_OF(4, __VA_ARGS__)

#endif
