/* nibbles.h - 4-bit values, two a byte: value 0 in the low nibble of byte 0, 1 in its high one. */
#ifndef PQ_BASE_NIBBLES_H
#define PQ_BASE_NIBBLES_H

#include <stdint.h>

/* codes [k] -8..7 as code + 8; a row of odd length ends with a code 0. */
static inline void pq_pack_codes(const int8_t *codes, int k, uint8_t *out) {
    for (int j = 0; j < k; j += 2) {
        int low = codes[j] + 8, high = j + 1 < k ? codes[j + 1] + 8 : 8;
        out[j / 2] = (uint8_t)(low | high << 4);
    }
}

/* multipliers [groups] 1..15; an odd number of them ends with a 0.  out may be multipliers. */
static inline void pq_pack_groups(const uint8_t *multipliers, int groups, uint8_t *out) {
    for (int g = 0; g < groups; g += 2) {
        int low = multipliers[g], high = g + 1 < groups ? multipliers[g + 1] : 0;
        out[g / 2] = (uint8_t)(low | high << 4);
    }
}

#endif
