/* attend.c - what attention does between its two products, compiled once for each ISA (see
 * lanes.h).  The build of this file with no ISA flags is the reference. */
#include "cpu/kernels.h"
#include "cpu/lanes.h"

#include <math.h>

/* 2^t for t <= 0 by 2^n * 2^r, |r| <= 1/2: a polynomial of least relative error, 2e-7 with its own
 * rounding, that is 1 at 0.  Off by up to 2^-127 below 2^-126, and 0 below that; NaN passes. */
INLINE f32v exp2_of(f32v t) {
    t = larger(splat(-127.0f), t);
    f32v shifted = t + ROUNDER;
    f32v r = t - (shifted - ROUNDER);
    f32v p = splat(1.3264727e-3f);
    p = fused(p, r, splat(9.671513e-3f));
    p = fused(p, r, splat(5.5507336e-2f));
    p = fused(p, r, splat(0.24022242f));
    p = fused(p, r, splat(0.693147f));
    p = fused(p, r, splat(1.0f));
    return (f32v)((u32v)p + ((u32v)shifted << 23)); /* n added to the exponent */
}

/* Two vectors of probabilities to a row, rounded to BF16 (ties up: there is hardly one) or as they
 * are. */
INLINE void put(void *row, int i, f32v p, f32v q, bool narrow) {
    if (narrow) {
        u16v both = upper_halves((u32v)p + 0x8000, (u32v)q + 0x8000);
        memcpy((uint16_t *)row + i, &both, sizeof both);
    } else {
        store((float *)row + i, p);
        store((float *)row + i + LANES, q);
    }
}

/* The first `valid` of a panel's numbers, the others as `rest`. */
INLINE void cut_short(float *to, const float *from, int valid, float rest) {
    for (int i = 0; i < PQ_NR; i++)
        to[i] = i < valid ? from[i] : rest;
}

struct online {
    f32v sum[PARTS];
    float scale, max;
    bool narrow;
};

/* A panel of scores to probabilities i .. i+31 of a row. */
INLINE void panel(struct online *o, void *row, int i, const float *s, const float *weights) {
    UNROLL
    for (int c = 0; c < PQ_NR; c += 2 * LANES) {
        f32v p = exp2_of(fused(load(s + c), splat(o->scale), splat(-o->max)));
        f32v q = exp2_of(fused(load(s + c + LANES), splat(o->scale), splat(-o->max)));
        o->sum[c / LANES % PARTS] += p;
        o->sum[(c / LANES + 1) % PARTS] += q;
        if (weights) {
            p *= load(weights + c);
            q *= load(weights + c + LANES);
        }
        put(row, i + c, p, q, o->narrow);
    }
}

INLINE void rise(f32v *most, const float *s) {
    UNROLL
    for (int c = 0; c < PQ_NR; c += LANES)
        most[c / LANES % 2] = larger(load(s + c), most[c / LANES % 2]);
}

static float greatest(const float *s, size_t stride, int valid) {
    int panels = valid / PQ_NR, left = valid % PQ_NR;
    f32v most[2] = {splat(-INFINITY), splat(-INFINITY)};
    for (int p = 0; p < panels; p++, s += stride)
        rise(most, s);
    if (left) {
        float last[PQ_NR];
        cut_short(last, s, left, -INFINITY);
        rise(most, last);
    }
    return largest_lane(larger(most[0], most[1]));
}

INLINE float softmax(void *row, const float *s, size_t stride, const float *weights, int n,
                     int valid, float scale, float most, float *max, float *sum, bool narrow) {
    size_t size = narrow ? sizeof(uint16_t) : sizeof(float);
    if (valid <= 0) {
        memset(row, 0, (size_t)n * size);
        return 1.0f;
    }
    int panels = valid / PQ_NR, left = valid % PQ_NR;
    float top = most * scale, alpha = 1.0f;
    struct online o = {.scale = scale, .max = *max, .narrow = narrow};
    EACH_PART o.sum[p] = load(sum + p * LANES);
    if (top > *max) {
        float lanes[LANES];
        store(lanes, exp2_of(splat(*max - top)));
        alpha = lanes[0];
        EACH_PART o.sum[p] *= alpha;
        *max = o.max = top;
    }
    int i = 0;
    for (; i < panels * PQ_NR; i += PQ_NR, s += stride)
        panel(&o, row, i, s, weights ? weights + i : NULL);
    if (left) {
        float last[PQ_NR], last_weights[PQ_NR];
        cut_short(last, s, left, -INFINITY);
        if (weights)
            cut_short(last_weights, weights + i, left, 0);
        panel(&o, row, i, last, weights ? last_weights : NULL);
        i += PQ_NR;
    }
    memset((char *)row + (size_t)i * size, 0, (size_t)(n - i) * size);
    EACH_PART store(sum + p * LANES, o.sum[p]);
    return alpha;
}

static float softmax_f32(void *row, const float *s, size_t stride, const float *weights, int n,
                         int valid, float scale, float most, float *max, float *sum) {
    return softmax(row, s, stride, weights, n, valid, scale, most, max, sum, false);
}

static float softmax_bf16(void *row, const float *s, size_t stride, const float *weights, int n,
                          int valid, float scale, float most, float *max, float *sum) {
    return softmax(row, s, stride, weights, n, valid, scale, most, max, sum, true);
}

/* Code j of each unit: by shifts of whole units, since from bytes GCC 12 converts lane by lane. */
INLINE f32v code_of(u32v units, int j) {
    return __builtin_convertvector((i32v)(units << (24 - 8 * j)) >> 24, f32v);
}

static void widen_f32(void *panel, const void *codes, int units) {
    float *to = panel;
    const uint32_t *from = codes;
    for (int i = 0; i < units; i++, from += PQ_NR, to += 4 * PQ_NR)
        for (int c = 0; c < PQ_NR; c += LANES) {
            u32v four;
            memcpy(&four, from + c, sizeof four);
            store(to + c, code_of(four, 0));
            store(to + PQ_NR + c, code_of(four, 1));
            store(to + 2 * PQ_NR + c, code_of(four, 2));
            store(to + 3 * PQ_NR + c, code_of(four, 3));
        }
}

/* Codes have 8 bits and a BF16 has as many: the upper half of the FP32 is exact.  out[0] becomes
 * the units of the first two codes, out[1] of the others. */
INLINE void two_units(u32v out[2], const uint32_t *from) {
    u32v four;
    memcpy(&four, from, sizeof four);
    out[0] = (u32v)code_of(four, 0) >> 16 | (u32v)code_of(four, 1);
    out[1] = (u32v)code_of(four, 2) >> 16 | (u32v)code_of(four, 3);
}

static void widen_bf16(void *panel, const void *codes, int units) {
    float *to = panel; /* units, stored as the vectors of lanes.h are */
    const uint32_t *from = codes;
    for (int i = 0; i < units; i++, from += PQ_NR, to += 2 * PQ_NR)
        for (int c = 0; c < PQ_NR; c += LANES) {
            u32v two[2];
            two_units(two, from + c);
            store(to + c, (f32v)two[0]);
            store(to + PQ_NR + c, (f32v)two[1]);
        }
}

static void widen_bf16_pairs(void *panel, const void *codes, int units) {
    uint32_t *to = panel;
    const uint32_t *from = codes;
    for (int i = 0; i < units * PQ_NR; i += LANES, from += LANES, to += 2 * LANES) {
        u32v two[2];
        two_units(two, from);
        for (int j = 0; j < LANES; j++) {
            to[2 * j] = two[0][j];
            to[2 * j + 1] = two[1][j];
        }
    }
}

static void rescale(float *acc, const float *a, int rows, int panels) {
    for (int p = 0; p < panels; p++)
        for (int r = 0; r < rows; r++, acc += PQ_NR)
            for (int c = 0; c < PQ_NR; c += LANES)
                store(acc + c, load(acc + c) * a[r]);
}

static void finish(float *y, const float *sums, size_t stride, float a, int panels) {
    for (int p = 0; p < panels; p++, y += PQ_NR, sums += stride)
        for (int c = 0; c < PQ_NR; c += LANES)
            store(y + c, load(sums + c) * a);
}

static void merge(float *acc, const float *a, const float *more, const float *b, int rows,
                  int panels) {
    for (int p = 0; p < panels; p++)
        for (int r = 0; r < rows; r++, acc += PQ_NR, more += PQ_NR)
            for (int c = 0; c < PQ_NR; c += LANES)
                store(acc + c, load(acc + c) * a[r] + load(more + c) * b[r]);
}

const struct pq_attend PQ_PASTE(pq_attend, PQ_ISA_SUFFIX) = {
    .greatest = greatest,
    .softmax_bf16 = softmax_bf16,
    .softmax_f32 = softmax_f32,
    .widen_bf16 = widen_bf16,
    .widen_bf16_pairs = widen_bf16_pairs,
    .widen_f32 = widen_f32,
    .rescale = rescale,
    .finish = finish,
    .merge = merge,
};
