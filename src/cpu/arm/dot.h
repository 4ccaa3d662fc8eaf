/* dot.h - the byte dot product of one row and four outputs. */
#ifndef PQ_CPU_ARM_DOT_H
#define PQ_CPU_ARM_DOT_H

#include "cpu/arm/units.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "build this file with -march=armv8.2-a+dotprod"
#endif

/* sum[c] += w[c] . unit of row r, x its four rows; a switch, because lanes must be constants. */
INLINE int32x4_t pq_dot(int32x4_t sum, int8x16_t w, int32x4_t x, const int r) {
    int8x16_t bytes = vreinterpretq_s8_s32(x);
    switch (r % 4) {
    case 0:
        return vdotq_laneq_s32(sum, w, bytes, 0);
    case 1:
        return vdotq_laneq_s32(sum, w, bytes, 1);
    case 2:
        return vdotq_laneq_s32(sum, w, bytes, 2);
    default:
        return vdotq_laneq_s32(sum, w, bytes, 3);
    }
}

#endif
