/* fp.h - what the FP tiles of NEON share: groups of up to four rows. */
#ifndef PQ_CPU_ARM_FP_H
#define PQ_CPU_ARM_FP_H

#include "cpu/arm/units.h"

enum { PQ_FP_ROWS = 4, PQ_FP_VECS = 8 };

/* Lane r % 4 of x, four times; the compiler makes it an operand of the multiplication.  A switch,
 * because lanes must be constants. */
INLINE float32x4_t pq_lane(float32x4_t x, const int r) {
    switch (r % 4) {
    case 0:
        return vdupq_laneq_f32(x, 0);
    case 1:
        return vdupq_laneq_f32(x, 1);
    case 2:
        return vdupq_laneq_f32(x, 2);
    default:
        return vdupq_laneq_f32(x, 3);
    }
}

/* Sums begin with those of acc, or at zero, */
INLINE void pq_begin_sums(float32x4_t sum[PQ_FP_ROWS][PQ_FP_VECS], const float *acc, bool add,
                          const int rows, const int vecs) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            sum[r][c] = add ? vld1q_f32(acc + r * PQ_NR + 4 * c) : vdupq_n_f32(0);
    }
}

/* and end in acc. */
INLINE void pq_store_sums(float *acc, float32x4_t sum[PQ_FP_ROWS][PQ_FP_VECS], const int rows,
                          const int vecs) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            vst1q_f32(acc + r * PQ_NR + 4 * c, sum[r][c]);
    }
}

/* All of a tile in groups of rows; 8 to 16 sums a group. */
#define TILE_FP(tile, acc, rows, x, w, add, units)                                                 \
    for (int r = 0; r < rows; r += PQ_FP_ROWS) {                                                   \
        float *at = acc + r * PQ_NR;                                                               \
        const int32_t *xr = (const int32_t *)x + r;                                                \
        switch (rows - r < PQ_FP_ROWS ? rows - r : PQ_FP_ROWS) {                                   \
            SHAPE(1, 8, tile, at, xr, w, add, units, rows)                                         \
            SHAPE(2, 8, tile, at, xr, w, add, units, rows)                                         \
            SHAPE(3, 4, tile, at, xr, w, add, units, rows)                                         \
            SHAPE(4, 4, tile, at, xr, w, add, units, rows)                                         \
        }                                                                                          \
    }

#endif
