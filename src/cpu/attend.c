/* attend.c - what attention does between its two products, compiled once for each ISA (see
 * lanes.h).  The build of this file with no ISA flags is the reference. */
#include "cpu/kernels.h"
#include "cpu/lanes.h"

#include <math.h>

/* 2^t for t <= 0 by 2^n * 2^r, |r| <= 1/2: a polynomial of least relative error, 2e-7 with its own
 * rounding, that is 1 at 0.  0 below 2^-126; NaN passes. */
INLINE f32x16 exp2_16(f32x16 t) {
    f32x16 shifted = t + ROUNDER;
    f32x16 r = t - (shifted - ROUNDER);
    f32x16 p = splat(1.3264727e-3f);
    p = p * r + 9.671513e-3f;
    p = p * r + 5.5507336e-2f;
    p = p * r + 0.24022242f;
    p = p * r + 0.693147f;
    p = p * r + 1.0f;
    u32x16 power = (u32x16)p + ((u32x16)shifted << 23); /* n added to the exponent */
    return (f32x16)(power & (u32x16) ~(t < -126.0f));
}

/* 32 probabilities to a row, rounded to BF16 (ties up: there is hardly one) or as they are. */
INLINE void put(void *row, int i, f32x16 p, f32x16 q, bool narrow) {
    if (narrow) {
        u16x32 a = (u16x32)((u32x16)p + 0x8000), b = (u16x32)((u32x16)q + 0x8000);
        a = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                    33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63);
        memcpy((uint16_t *)row + i, &a, sizeof a);
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
    f32x16 sum;
    float scale, max;
    bool narrow;
};

/* A panel of scores to probabilities i .. i+31 of a row. */
INLINE void panel(struct online *o, void *row, int i, const float *s, const float *weights) {
    f32x16 p = exp2_16(load(s) * o->scale - o->max);
    f32x16 q = exp2_16(load(s + LANES) * o->scale - o->max);
    o->sum += p;
    o->sum += q;
    if (weights) {
        p *= load(weights);
        q *= load(weights + LANES);
    }
    put(row, i, p, q, o->narrow);
}

static float greatest(const float *s, size_t stride, int valid) {
    int panels = valid / PQ_NR, left = valid % PQ_NR;
    f32x16 most = splat(-INFINITY), most2 = most;
    for (int p = 0; p < panels; p++, s += stride) {
        most = max16(load(s), most);
        most2 = max16(load(s + LANES), most2);
    }
    if (left) {
        float last[PQ_NR];
        cut_short(last, s, left, -INFINITY);
        most = max16(load(last), most);
        most2 = max16(load(last + LANES), most2);
    }
    return max_lanes(max16(most, most2));
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
    struct online o = {.sum = load(sum), .scale = scale, .max = *max, .narrow = narrow};
    if (top > *max) {
        float lanes[LANES];
        store(lanes, exp2_16(splat(*max - top)));
        alpha = lanes[0];
        o.sum *= alpha;
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
    store(sum, o.sum);
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
INLINE f32x16 code_of(u32x16 units, int j) {
    return __builtin_convertvector((i32x16)(units << (24 - 8 * j)) >> 24, f32x16);
}

static void widen_f32(void *panel, const void *codes, int units) {
    float *to = panel;
    const uint32_t *from = codes;
    for (int i = 0; i < units; i++, from += PQ_NR, to += 4 * PQ_NR)
        for (int c = 0; c < PQ_NR; c += LANES) {
            u32x16 four;
            memcpy(&four, from + c, sizeof four);
            store(to + c, code_of(four, 0));
            store(to + PQ_NR + c, code_of(four, 1));
            store(to + 2 * PQ_NR + c, code_of(four, 2));
            store(to + 3 * PQ_NR + c, code_of(four, 3));
        }
}

/* Codes have 8 bits and a BF16 has as many: the upper half of the FP32 is exact. */
static void widen_bf16(void *panel, const void *codes, int units) {
    float *to = panel; /* pairs, stored as the vectors of lanes.h are */
    const uint32_t *from = codes;
    for (int i = 0; i < units; i++, from += PQ_NR, to += 2 * PQ_NR)
        for (int c = 0; c < PQ_NR; c += LANES) {
            u32x16 four;
            memcpy(&four, from + c, sizeof four);
            u32x16 first = (u32x16)code_of(four, 0) >> 16 | (u32x16)code_of(four, 1);
            u32x16 second = (u32x16)code_of(four, 2) >> 16 | (u32x16)code_of(four, 3);
            store(to + c, (f32x16)first);
            store(to + PQ_NR + c, (f32x16)second);
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
    .widen_f32 = widen_f32,
    .rescale = rescale,
    .finish = finish,
    .merge = merge,
};
