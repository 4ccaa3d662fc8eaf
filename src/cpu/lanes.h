/* lanes.h - vectors of 16 lanes by the compilers' vector extension, for sources that are compiled
 * once for each ISA.
 *
 * The compiler maps the vectors to whatever registers the ISA has, and since lanes, order and
 * rounding are fixed (the build forbids contraction), every ISA returns the same bits. */
#ifndef PQ_CPU_LANES_H
#define PQ_CPU_LANES_H

#include <stdint.h>
#include <string.h>

/* PQ_PASTE(name, PQ_ISA_SUFFIX) is what the ISA's build of a source calls its own. */
#ifndef PQ_ISA_SUFFIX
#define PQ_ISA_SUFFIX _c
#endif
#define PQ_PASTE_(a, b) a##b
#define PQ_PASTE(a, b) PQ_PASTE_(a, b)

enum { LANES = 16 };
typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef uint16_t u16x32 __attribute__((vector_size(64)));
typedef int8_t i8x16 __attribute__((vector_size(16)));
#define INLINE static inline __attribute__((always_inline))

INLINE f32x16 load(const float *p) {
    f32x16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, f32x16 v) {
    memcpy(p, &v, sizeof v);
}

INLINE f32x16 splat(float x) {
    return x - (f32x16){0};
}

/* The first n < 16 elements; zeros follow. */
INLINE f32x16 load_part(const float *p, int n) {
    f32x16 v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

INLINE f32x16 select(i32x16 mask, f32x16 yes, f32x16 no) {
    return (f32x16)(((i32x16)yes & mask) | ((i32x16)no & ~mask));
}

/* a > b ? a : b.  Lane by lane, of which compilers make one instruction where a select would take
 * three, one waiting for the other. */
INLINE f32x16 max16(f32x16 a, f32x16 b) {
    f32x16 most;
    for (int i = 0; i < LANES; i++)
        most[i] = a[i] > b[i] ? a[i] : b[i];
    return most;
}

INLINE f32x16 abs16(f32x16 a) {
    return (f32x16)((i32x16)a & 0x7fffffff);
}

/* Pairwise, so that the order is one on every ISA. */
INLINE float sum_lanes(f32x16 v) {
    float s[LANES];
    store(s, v);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            s[i] += s[i + width];
    return s[0];
}

INLINE float max_lanes(f32x16 v) {
    v = max16(v,
              __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    v = max16(v,
              __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    v = max16(v,
              __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    v = max16(v,
              __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    return v[0];
}

/* Adding 1.5 * 2^23 leaves no room for a fraction: nearest integer, ties to even, |x| < 2^22.  The
 * integer is then in the low bits of the sum, too. */
static const float ROUNDER = 12582912.0f;

#endif
