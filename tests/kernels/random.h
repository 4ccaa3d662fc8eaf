/* random.h - seeded numbers, the same in every run. */
#ifndef PQ_TESTS_RANDOM_H
#define PQ_TESTS_RANDOM_H

#include <stdint.h>

static uint64_t random_state;

static inline uint32_t random32(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) ^ (uint32_t)(random_state >> 11);
}

static inline float uniform(float low, float high) {
    return low + (high - low) * (float)(random32() >> 8) * 0x1p-24f;
}

#endif
