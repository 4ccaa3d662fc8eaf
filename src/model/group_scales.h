/* group_scales.h - group scales as compressed-tensors stores them, and as panq computes with them.
 *
 * pack-quantized has a floating-point scale for every group of a row; panq has one for the row and
 * an integer multiplier, 1 to 15, for every group.  With a row scale of PQ_GROUP_SCALE_BITS
 * significant bits each product of the two is a float without rounding, and comes apart again. */
#ifndef PQ_MODEL_GROUP_SCALES_H
#define PQ_MODEL_GROUP_SCALES_H

#include <stdbool.h>
#include <stdint.h>

enum { PQ_GROUP_SCALE_BITS = 20 }; /* 24 of a float less 4 of a multiplier */

/* scale, positive and normal, rounded to PQ_GROUP_SCALE_BITS significant bits. */
float pq_group_scale_round(float scale);

/* scales [groups] = *scale * multipliers[g], exactly, with the largest such scale; false: there is
 * none, and the outputs are undefined.  Any floats may be given. */
bool pq_group_scales_split(const float *scales, int groups, float *scale, uint8_t *multipliers);

#endif
