/* half.h - the 16-bit floating-point formats as integers, to FP32 and back. */
#ifndef PQ_BASE_HALF_H
#define PQ_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t pq_f32_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float pq_bits_f32(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float pq_bf16_to_f32(uint16_t h) {
    return pq_bits_f32((uint32_t)h << 16);
}

/* Round to nearest, ties to even.  NaN stays NaN: its quiet bit is set, so that no rounding
 * carries it into infinity. */
static inline uint16_t pq_f32_to_bf16(float x) {
    uint32_t u = pq_f32_bits(x);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1)) >> 16;
    uint32_t nan = (u >> 16) | 0x40u;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

/* IEEE binary16.  Subnormals by exact scaling: 2^-24 units. */
static inline float pq_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    if (exponent == 0) {
        float tiny = (float)mantissa * 0x1p-24f;
        return sign ? -tiny : tiny;
    }
    if (exponent == 31)
        return pq_bits_f32(sign | 0x7f800000u | mantissa << 13);
    return pq_bits_f32(sign | (exponent + 112) << 23 | mantissa << 13);
}

#endif
