/* lanes.h - vectors by the compilers' vector extension, for sources that are compiled once for each
 * ISA.
 *
 * A vector is a register of the ISA: GCC 12 takes wider ones lane by lane in places.  Whatever its
 * length, a sum is kept in SUMS parts, of which a vector holds LANES; and since parts, order and
 * rounding are fixed (the build forbids contraction), every ISA returns the same bits. */
#ifndef PQ_CPU_LANES_H
#define PQ_CPU_LANES_H

#include "cpu/rows.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

/* PQ_PASTE(name, PQ_ISA_SUFFIX) is what the ISA's build of a source calls its own. */
#ifndef PQ_ISA_SUFFIX
#define PQ_ISA_SUFFIX _c
#endif
#define PQ_PASTE_(a, b) a##b
#define PQ_PASTE(a, b) PQ_PASTE_(a, b)

/* APART: every lane's value in the lane whose number differs in the bit d; HALF_APART of a vector
 * of half as many.  EVEN, ODD, EVEN_BYTES: every second 16 bits, or byte, of two vectors. */
#define APART_2(v, d) __builtin_shufflevector(v, v, 0 ^ d, 1 ^ d)
#define APART_4(v, d) __builtin_shufflevector(v, v, 0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d)
#define APART_8(v, d)                                                                              \
    __builtin_shufflevector(v, v, 0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d, 4 ^ d, 5 ^ d, 6 ^ d, 7 ^ d)
#define APART_16(v, d)                                                                             \
    __builtin_shufflevector(v, v, 0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d, 4 ^ d, 5 ^ d, 6 ^ d, 7 ^ d, 8 ^ d,   \
                            9 ^ d, 10 ^ d, 11 ^ d, 12 ^ d, 13 ^ d, 14 ^ d, 15 ^ d)
/* FOLD: v = all of its lanes joined, in each of them. */
#define FOLD_4(join, v) (v = join(v, APART(v, 2)), v = join(v, APART(v, 1)))
#define FOLD_8(join, v) (v = join(v, APART(v, 4)), FOLD_4(join, v))
#define FOLD_16(join, v) (v = join(v, APART(v, 8)), FOLD_8(join, v))
#define EVEN_4 0, 2, 4, 6, 8, 10, 12, 14
#define EVEN_8 EVEN_4, 16, 18, 20, 22, 24, 26, 28, 30
#define EVEN_16 EVEN_8, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 62
#define ODD_4 1, 3, 5, 7, 9, 11, 13, 15
#define ODD_8 ODD_4, 17, 19, 21, 23, 25, 27, 29, 31
#define ODD_16 ODD_8, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63
#if defined(__AVX512F__)
#define LANES 16
#define APART APART_16
#define FOLD FOLD_16
#define HALF_APART APART_8
#define ODD ODD_16
#elif defined(__AVX2__)
#define LANES 8
#define APART APART_8
#define FOLD FOLD_8
#define HALF_APART APART_4
#define EVEN EVEN_8
#define EVEN_BYTES EVEN_16
#define ODD ODD_8
#else
#define LANES 4
#define APART APART_4
#define FOLD FOLD_4
#define HALF_APART APART_2
#define EVEN EVEN_4
#define EVEN_BYTES EVEN_8
#define ODD ODD_4
#endif

enum { SUMS = 16, PARTS = SUMS / LANES };
#define EACH_PART UNROLL for (int p = 0; p < PARTS; p++)

typedef float f32v __attribute__((vector_size(4 * LANES)));
typedef int32_t i32v __attribute__((vector_size(4 * LANES)));
typedef uint32_t u32v __attribute__((vector_size(4 * LANES)));
typedef uint16_t u16v __attribute__((vector_size(4 * LANES))); /* twice as many */

INLINE f32v load(const float *p) {
    f32v v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float *p, f32v v) {
    memcpy(p, &v, sizeof v);
}

INLINE f32v splat(float x) {
    return x - (f32v){0};
}

/* PQ_NR numbers: one for each output of a panel. */
enum { VECTORS = PQ_NR / LANES };
struct wide {
    f32v v[VECTORS];
};
#define EACH_VECTOR UNROLL for (int j = 0; j < VECTORS; j++)

INLINE struct wide load_wide(const float *p) {
    struct wide w;
    EACH_VECTOR w.v[j] = load(p + j * LANES);
    return w;
}

INLINE void store_wide(float *p, struct wide w) {
    EACH_VECTOR store(p + j * LANES, w.v[j]);
}

/* The first n < LANES elements; zeros follow. */
INLINE f32v load_part(const float *p, int n) {
    f32v v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

INLINE f32v choose(i32v mask, f32v yes, f32v no) {
    return (f32v)(((i32v)yes & mask) | ((i32v)no & ~mask));
}

/* max and min by name, since GCC 12 goes lane by lane where a choice meets a loop, and the choice
 * would take three instructions, one waiting for the other. */
#if defined(__AVX512F__)
#define EXTREME(which, a, b, choice) (f32v) _mm512_##which##_ps((__m512)a, (__m512)b)
#elif defined(__AVX2__)
#define EXTREME(which, a, b, choice) (f32v) _mm256_##which##_ps((__m256)a, (__m256)b)
#elif defined(__SSE2__)
#define EXTREME(which, a, b, choice) (f32v) _mm_##which##_ps((__m128)a, (__m128)b)
#else
#define EXTREME(which, a, b, choice) choice
#endif

/* a > b ? a : b. */
INLINE f32v larger(f32v a, f32v b) {
    return EXTREME(max, a, b, choose(a > b, a, b));
}

/* a < b ? a : b. */
INLINE f32v smaller(f32v a, f32v b) {
    return EXTREME(min, a, b, choose(a < b, a, b));
}

/* a * b + c, rounded once: a step of a polynomial.  Where there is no such instruction, by the
 * library, so that every ISA returns the same bits. */
INLINE f32v fused(f32v a, f32v b, f32v c) {
#if defined(__AVX512F__)
    return (f32v)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (f32v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
    return (f32v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    for (int i = 0; i < LANES; i++)
        c[i] = fmaf(a[i], b[i], c[i]);
    return c;
#endif
}

INLINE f32v size_of(f32v a) {
    return (f32v)((i32v)a & 0x7fffffff);
}

/* Pairwise, so that the order is one on every ISA. */
INLINE float sum_parts(const f32v *parts) {
    float s[SUMS];
    memcpy(s, parts, sizeof s);
    for (int width = SUMS / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            s[i] += s[i + width];
    return s[0];
}

INLINE float largest_lane(f32v v) {
    FOLD(larger, v);
    return v[0];
}

/* The upper halves of a's lanes, then those of b's. */
INLINE u16v upper_halves(u32v a, u32v b) {
    return __builtin_shufflevector((u16v)a, (u16v)b, ODD);
}

/* Adding 1.5 * 2^23 leaves no room for a fraction: nearest integer, ties to even, |x| < 2^22.  The
 * integer is then in the low bits of the sum, too. */
static const float ROUNDER = 12582912.0f;

#endif
