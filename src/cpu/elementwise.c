/* elementwise.c - what happens to activations between the products, compiled once for each ISA.
 *
 * Everything is written on the vectors of lanes.h, so every ISA returns the same bits.  The build
 * of this file with no ISA flags is the reference. */
#include "cpu/hadamard_known.h"
#include "cpu/kernels.h"
#include "cpu/lanes.h"

#include <math.h>

/* Larger, lane by lane: GCC makes one instruction of integers, where floats come out as a
 * comparison and a branch a lane. */
INLINE i32v larger_int(i32v a, i32v b) {
    i32v m;
    for (int i = 0; i < LANES; i++)
        m[i] = a[i] > b[i] ? a[i] : b[i];
    return m;
}

/* A block of codes in 8 bits. */
INLINE void narrow(int8_t *to, const i32v *codes) {
#ifdef __AVX512F__
    typedef int8_t i8x16 __attribute__((vector_size(16)));
    for (int h = 0; h < PQ_BLOCK / LANES; h++) {
        i8x16 bytes = __builtin_convertvector(codes[h], i8x16);
        memcpy(to + h * LANES, &bytes, sizeof bytes);
    }
#else
    typedef uint8_t u8v __attribute__((vector_size(4 * LANES)));
    UNROLL
    for (int h = 0; h < PQ_BLOCK / LANES; h += 4) {
        u16v a = __builtin_shufflevector((u16v)codes[h], (u16v)codes[h + 1], EVEN);
        u16v b = __builtin_shufflevector((u16v)codes[h + 2], (u16v)codes[h + 3], EVEN);
        u8v bytes = __builtin_shufflevector((u8v)a, (u8v)b, EVEN_BYTES);
        memcpy(to + h * LANES, &bytes, sizeof bytes);
    }
#endif
}

/* exp is a chain in which every step waits for the one before: with AVX-512 so many vectors go
 * abreast, step by step, as NEXT tells the compiler.  Elsewhere there are no registers for it. */
#ifdef __AVX512F__
enum { ABREAST = 4 };
#define NEXT(v) __asm__ volatile("" : "+v"(v))
#else
enum { ABREAST = 1 };
#define NEXT(v) (void)0
#endif
#define EACH for (int j = 0; j < ABREAST; j++)
#define STEP(v, value)                                                                             \
    EACH {                                                                                         \
        v = value;                                                                                 \
        NEXT(v);                                                                                   \
    }

/* v = exp(-v) of v cut off at -87.3 and 87.3, NaN too: 2^n * exp(-r), |r| <= ln(2)/2, r in two
 * parts (Cody & Waite), exp(-r) by the polynomial of least relative error, 1.1e-7, whose value and
 * slope at 0 are right. */
INLINE void exp_abreast(f32v *v) {
    f32v shifted[ABREAST], n[ABREAST], r[ABREAST], p[ABREAST];
    STEP(v[j], larger(smaller(v[j], splat(87.3f)), splat(-87.3f)));
    STEP(shifted[j], fused(v[j], splat(-1.44269504f), splat(ROUNDER)));
    STEP(n[j], shifted[j] - ROUNDER);
    STEP(r[j], fused(n[j], splat(0.693359375f), v[j]));
    STEP(r[j], fused(n[j], splat(-2.12194440e-4f), r[j]));
    STEP(p[j], fused(r[j], splat(-8.312516e-3f), splat(4.1890203e-2f)));
    STEP(p[j], fused(p[j], r[j], splat(-0.16667115f)));
    STEP(p[j], fused(p[j], r[j], splat(0.49999231f)));
    STEP(p[j], fused(p[j], r[j], splat(-1.0f)));
    STEP(p[j], fused(p[j], r[j], splat(1.0f)));
    STEP(v[j], (f32v)((u32v)p[j] + ((u32v)shifted[j] << 23)));
}

static void rmsnorm(float *y, const float *x, const float *gamma, int n, float eps) {
    f32v sum[PARTS] = {0};
    float last[SUMS] = {0};
    int i = 0;
    for (; i + SUMS <= n; i += SUMS)
        EACH_PART sum[p] += load(x + i + p * LANES) * load(x + i + p * LANES);
    memcpy(last, x + i, (size_t)(n - i) * sizeof *x);
    EACH_PART sum[p] += load(last + p * LANES) * load(last + p * LANES);
    float inverse = 1.0f / sqrtf(sum_parts(sum) / (float)n + eps);
    for (i = 0; i + LANES <= n; i += LANES)
        store(y + i, load(x + i) * inverse * load(gamma + i));
    for (; i < n; i++)
        y[i] = x[i] * inverse * gamma[i];
}

INLINE i32v sum_int(i32v a, i32v b) {
    return a + b;
}

INLINE int32_t sum_int_lanes(i32v v) {
    FOLD(sum_int, v);
    return v[0];
}

static float quantize(int8_t *q, int32_t *sum, int32_t *blocks, const float *x, int n) {
    i32v most[2] = {{0}, {0}}; /* sizes as integers: in the same order, infinity and NaN on top */
    for (int i = 0; i < n; i += 2 * LANES)
        for (int h = 0; h < 2; h++)
            most[h] = larger_int((i32v)size_of(load(x + i + h * LANES)), most[h]);
    most[0] = larger_int(most[0], most[1]);
    float absmax = largest_lane((f32v)most[0]);
    bool finite = largest_lane((f32v)((most[0] >= 0x7f800000) & 0x3f800000)) == 0.0f;
    float inverse = 127.0f / absmax;
    /* A subnormal absmax would make the inverse infinite; such a row is zero for all purposes. */
    if (!finite || absmax < 1e-30f) {
        memset(q, 0, (size_t)n);
        *sum = 0;
        if (blocks)
            memset(blocks, 0, (size_t)(n / PQ_BLOCK) * sizeof *blocks);
        return finite ? 0.0f : NAN;
    }
    i32v total = {0};
    for (int i = 0; i < n; i += PQ_BLOCK) {
        i32v block = {0}, codes[PQ_BLOCK / LANES];
        UNROLL
        for (int h = 0; h < PQ_BLOCK / LANES; h++) {
            codes[h] = (i32v)(load(x + i + h * LANES) * inverse + ROUNDER) - 0x4b400000;
            block += codes[h];
        }
        narrow(q + i, codes);
        total += block;
        if (blocks)
            blocks[i / PQ_BLOCK] = sum_int_lanes(block);
    }
    *sum = sum_int_lanes(total);
    return absmax / 127.0f;
}

typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef uint64_t u64x2 __attribute__((vector_size(16)));

/* Four units of up to four rows.  With fewer the last one stands for those that are not there. */
INLINE void interleave_units(const int rows, uint32_t *to, size_t stride, const uint32_t *from,
                             size_t ld) {
    u32x4 row[4];
    for (int r = 0; r < 4; r++)
        memcpy(&row[r], from + (size_t)(r < rows ? r : rows - 1) * ld, sizeof row[r]);
#define LOW(p, q) __builtin_shufflevector(p, q, 0, 4, 1, 5)
#define HIGH(p, q) __builtin_shufflevector(p, q, 2, 6, 3, 7)
    u64x2 ab[2] = {(u64x2)LOW(row[0], row[1]), (u64x2)HIGH(row[0], row[1])};
    u64x2 cd[2] = {(u64x2)LOW(row[2], row[3]), (u64x2)HIGH(row[2], row[3])};
#undef LOW
#undef HIGH
    for (size_t i = 0; i < 4; i++) {
        u64x2 unit = {ab[i / 2][i % 2], cd[i / 2][i % 2]};
        uint32_t third = ((u32x4)unit)[2]; /* 12 bytes at once would go by way of the stack */
        memcpy(to + i * stride, &unit, (size_t)(rows == 3 ? 2 : rows) * sizeof *to);
        if (rows == 3)
            to[i * stride + 2] = third;
    }
}

INLINE void interleave_rows(const int rows, uint32_t *to, size_t stride, const uint32_t *from,
                            int n) {
    int i = 0;
    for (; i + 4 <= n; i += 4)
        interleave_units(rows, to + (size_t)i * stride, stride, from + i, (size_t)n);
    for (; i < n; i++)
        for (int r = 0; r < rows; r++)
            to[(size_t)i * stride + (size_t)r] = from[r * n + i];
}

static void interleave(uint32_t *to, int stride, const uint32_t *from, int rows, int n) {
    if (stride == 1) {
        memcpy(to, from, (size_t)n * sizeof *to);
        return;
    }
    for (; rows >= 4; rows -= 4, to += 4, from += 4 * n)
        interleave_rows(4, to, (size_t)stride, from, n);
    switch (rows) {
        ROWS_CASE(1, interleave_rows, to, (size_t)stride, from, n)
        ROWS_CASE(2, interleave_rows, to, (size_t)stride, from, n)
        ROWS_CASE(3, interleave_rows, to, (size_t)stride, from, n)
    }
}

static void interleave_pairs(uint32_t *to, int stride, const uint32_t *from, int rows, int n) {
    for (int i = 0; i < n; i += 2, from += 2, to += 2 * stride)
        for (int r = 0; r < rows; r++)
            memcpy(to + 2 * r, from + (size_t)r * (size_t)n, 2 * sizeof *to);
}

/* BF16 in the upper half of each lane. */
INLINE u32v bf16_of(f32v x) {
    u32v u = (u32v)x, rounded = u + 0x7fff + ((u >> 16) & 1);
    u32v nan = (u32v)(((i32v)u & 0x7fffffff) > 0x7f800000);
    return (rounded & ~nan) | ((u | 0x400000) & nan);
}

INLINE void pair_to_bf16(uint16_t *y, const float *x) {
    u16v both = upper_halves(bf16_of(load(x)), bf16_of(load(x + LANES)));
    memcpy(y, &both, sizeof both);
}

static void to_bf16(uint16_t *y, const float *x, int n) {
    int i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES)
        pair_to_bf16(y + i, x + i);
    if (i == n)
        return;
    float last[2 * LANES] = {0};
    uint16_t narrowed[2 * LANES];
    memcpy(last, x + i, (size_t)(n - i) * sizeof *x);
    pair_to_bf16(narrowed, last);
    memcpy(y + i, narrowed, (size_t)(n - i) * sizeof *y);
}

static void from_bf16(float *y, const uint16_t *x, int n) {
    for (int i = 0; i < n; i++) {
        uint32_t u = (uint32_t)x[i] << 16;
        memcpy(y + i, &u, sizeof u);
    }
}

static void rope(float *x, const float *cos, const float *sin, int half) {
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

/* Rows times a Hadamard matrix: activations as they pass, weights once. */
enum { FETCH_AHEAD = 8192 }; /* in bytes: a third of a row of 6144 */
#define REAL float
#define PASTE_REAL(name) name##_f32
#define REAL_LANES LANES
#define REAL_APART APART
#define HADAMARD hadamard
#include "cpu/hadamard_rows.h"
#undef REAL
#undef PASTE_REAL
#undef REAL_LANES
#undef REAL_APART
#undef HADAMARD
#define REAL double
#define PASTE_REAL(name) name##_f64
#define REAL_LANES (LANES / 2)
#define REAL_APART HALF_APART
#define HADAMARD hadamard64
#include "cpu/hadamard_rows.h"

/* The n < LANES columns at the end of a row.  Apart, or put would keep its vector in memory. */
static __attribute__((noinline)) void put_part(float *y, f32v v, int n, bool add) {
    if (add)
        v = load_part(y, n) + v;
    memcpy(y, &v, (size_t)n * sizeof *y);
}

/* A vector of columns of a finished tile, or as many as there are. */
INLINE void put(float *y, f32v v, int n, bool add) {
    if (n < LANES)
        put_part(y, v, n, add);
    else
        store(y, add ? load(y) + v : v);
}

static void finish_int(float *y, size_t ldy, const int32_t *acc, int rows, const float *xscale,
                       const float *wscale, const float *bias, int n, bool add) {
    for (int c = 0; c < n; c += LANES) {
        f32v w = load(wscale + c), b = load(bias + c);
        for (int r = 0; r < rows; r++) {
            i32v sum;
            memcpy(&sum, acc + r * PQ_NR + c, sizeof sum);
            f32v v = __builtin_convertvector(sum, f32v) * (xscale[r] * w) + b;
            put(y + (size_t)r * ldy + c, v, n - c, add);
        }
    }
}

static void finish_fp(float *y, size_t ldy, const float *acc, int rows, const float *bias, int n,
                      bool add) {
    for (int c = 0; c < n; c += LANES) {
        f32v b = load(bias + c);
        for (int r = 0; r < rows; r++)
            put(y + (size_t)r * ldy + c, load(acc + r * PQ_NR + c) + b, n - c, add);
    }
}

/* As many rows at a time as go abreast, the last one in the place of those past it.  Rows that end
 * early are made apart. */
static void silu_mul(float *y, size_t ldy, const float *gate, const float *up, int rows, int n) {
    enum { WIDTH = (int)ABREAST < (int)VECTORS ? (int)ABREAST : (int)VECTORS };
    enum { HEIGHT = ABREAST / WIDTH };
    _Alignas(64) float apart[PQ_MR * PQ_NR];
    float *to = n < PQ_NR ? apart : y;
    size_t ld = n < PQ_NR ? PQ_NR : ldy;
    for (int r = 0; r < rows; r += HEIGHT)
        for (int c = 0; c < VECTORS; c += WIDTH) {
            f32v g[ABREAST], v[ABREAST];
            size_t row[ABREAST], column[ABREAST], at[ABREAST];
            EACH row[j] = (size_t)(r + j / WIDTH < rows ? r + j / WIDTH : rows - 1);
            EACH column[j] = (size_t)((c + j % WIDTH) * LANES);
            EACH at[j] = row[j] * PQ_NR + column[j];
            EACH v[j] = g[j] = load(gate + at[j]);
            exp_abreast(v);
            STEP(v[j], g[j] / (1.0f + v[j]));
            EACH store(to + row[j] * ld + column[j], v[j] * load(up + at[j]));
        }
    if (n < PQ_NR)
        for (int r = 0; r < rows; r++)
            memcpy(y + (size_t)r * ldy, apart + r * PQ_NR, (size_t)n * sizeof *y);
}

const struct pq_elementwise PQ_PASTE(pq_elementwise, PQ_ISA_SUFFIX) = {
    .rmsnorm = rmsnorm,
    .quantize = quantize,
    .interleave = interleave,
    .interleave_pairs = interleave_pairs,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .silu_mul = silu_mul,
    .rope = rope,
    .hadamard = hadamard,
    .hadamard64 = hadamard64,
    .finish_int = finish_int,
    .finish_fp = finish_fp,
};
