/* rounding.c - see struct pq_rounding in ops.h; compiled once for each ISA. */
#include "cpu/kernels.h"
#include "cpu/lanes.h"

/* The two vectors of PQ_NR lanes. */
struct pair {
    f32x16 a, b;
};

INLINE struct pair load2(const float *p) {
    return (struct pair){load(p), load(p + LANES)};
}

INLINE void store2(float *p, struct pair v) {
    store(p, v.a);
    store(p + LANES, v.b);
}

INLINE f32x16 code16(f32x16 x, float lo, float hi) {
    x = select(x > lo, x, splat(lo));
    x = select(x < hi, x, splat(hi));
    return (x + ROUNDER) - ROUNDER;
}

static void feedback(int n, const float *u, float *v, const float *w, const float *step, float lo,
                     float hi, float *q, float *e) {
    for (int t = n - 1; t >= 0; t--) {
        size_t at = (size_t)t * PQ_NR;
        struct pair x = load2(v + at), s = load2(step + at), y = load2(w + at);
        struct pair c = {code16(x.a / s.a, lo, hi), code16(x.b / s.b, lo, hi)};
        struct pair d = {y.a - s.a * c.a, y.b - s.b * c.b};
        store2(q + at, c);
        store2(e + at, d);
        const float *row = u + (size_t)t * (size_t)n;
        for (int i = 0; i < t; i++) {
            struct pair z = load2(v + (size_t)i * PQ_NR);
            store2(v + (size_t)i * PQ_NR, (struct pair){z.a + row[i] * d.a, z.b + row[i] * d.b});
        }
    }
}

/* r[s] -= row[s] d for s < m */
INLINE void settle_one(int m, const float *row, struct pair d, float *r) {
    for (int s = 0; s < m; s++) {
        struct pair z = load2(r + (size_t)s * PQ_NR);
        store2(r + (size_t)s * PQ_NR, (struct pair){z.a - row[s] * d.a, z.b - row[s] * d.b});
    }
}

/* One half of the lanes: the move of a weight x in units of `is`, its size and what it gains. */
struct move {
    f32x16 q, d, gain;
};

INLINE struct move move16(f32x16 q, f32x16 r, float h, float inverse, f32x16 was, f32x16 is,
                          float lo, float hi) {
    f32x16 x = was * q, to = code16((x + r * inverse) / is, lo, hi);
    f32x16 d = is * to - x, gain = d * (2.0f * r - d * h);
    i32x16 moves = (was != is) | (gain > 0.0f);
    return (struct move){select(moves, to, q), select(moves, d, splat(0)),
                         select(moves, gain, splat(0))};
}

static void descend(int n, const float *h, size_t ldh, float *r, const float *q, const float *was,
                    const float *is, float lo, float hi, float *to, float *d, float *gain) {
    struct pair s0 = load2(was), s1 = load2(is), sum = {splat(0), splat(0)};
    for (int t = 0; t < n; t++) {
        const float *row = h + (size_t)t * ldh;
        size_t at = (size_t)t * PQ_NR;
        struct pair x = load2(q + at), g = load2(r + at);
        float inverse = row[t] > 0 ? 1 / row[t] : 0;
        struct move a = move16(x.a, g.a, row[t], inverse, s0.a, s1.a, lo, hi);
        struct move b = move16(x.b, g.b, row[t], inverse, s0.b, s1.b, lo, hi);
        store2(to + at, (struct pair){a.q, b.q});
        store2(d + at, (struct pair){a.d, b.d});
        sum = (struct pair){sum.a + a.gain, sum.b + b.gain};
        settle_one(n, row, (struct pair){a.d, b.d}, r);
    }
    store2(gain, sum);
}

static void settle(int n, int m, const float *h, size_t ldh, const float *d, float *r) {
    for (int t = 0; t < n; t++)
        settle_one(m, h + (size_t)t * ldh, load2(d + (size_t)t * PQ_NR), r);
}

const struct pq_rounding PQ_PASTE(pq_rounding, PQ_ISA_SUFFIX) = {
    .feedback = feedback,
    .descend = descend,
    .settle = settle,
};
