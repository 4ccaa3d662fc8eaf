#include "model/group_scales.h"

#include "base/half.h"

#include <float.h>

float pq_group_scale_round(float scale) {
    /* Half of the last bit that stays is added, then the bits behind it are cut off. */
    uint32_t last = 1u << (24 - PQ_GROUP_SCALE_BITS);
    return pq_bits_f32((pq_f32_bits(scale) + last / 2) & ~(last - 1));
}

/* The multipliers of all groups if the first one's is `first`. */
static bool split_at(const float *scales, int groups, int first, uint8_t *multipliers) {
    for (int g = 0; g < groups; g++) {
        /* Both products are exact in FP64: 24 bits and 4. */
        double numerator = (double)scales[g] * first, quotient = numerator / (double)scales[0];
        if (!(quotient >= 0.5 && quotient < 15.5))
            return false;
        int m = (int)(quotient + 0.5);
        if ((double)scales[0] * m != numerator)
            return false;
        multipliers[g] = (uint8_t)m;
    }
    return true;
}

bool pq_group_scales_split(const float *scales, int groups, float *scale, uint8_t *multipliers) {
    if (!(scales[0] >= FLT_MIN && scales[0] <= FLT_MAX))
        return false;
    for (int first = 1; first <= 15; first++) {
        float base = scales[0] / (float)first;
        if (base * (float)first == scales[0] && base >= FLT_MIN &&
            split_at(scales, groups, first, multipliers)) {
            *scale = base;
            return true;
        }
    }
    return false;
}
