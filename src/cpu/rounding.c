/* rounding.c - see struct pq_rounding in ops.h; compiled once for each ISA. */
#include "cpu/kernels.h"
#include "cpu/lanes.h"

INLINE f32v code_of(f32v x, float lo, float hi) {
    x = choose(x > lo, x, splat(lo));
    x = choose(x < hi, x, splat(hi));
    return (x + ROUNDER) - ROUNDER;
}

/* r[s] += row[s] d for s < m */
INLINE void add_multiples(int m, const float *row, struct wide d, float *r) {
    for (int s = 0; s < m; s++, r += PQ_NR) {
        struct wide z = load_wide(r);
        EACH_VECTOR z.v[j] += row[s] * d.v[j];
        store_wide(r, z);
    }
}

static void feedback(int n, const float *u, float *v, const float *w, const float *step, float lo,
                     float hi, float *q, float *e) {
    for (int t = n - 1; t >= 0; t--) {
        size_t at = (size_t)t * PQ_NR;
        struct wide x = load_wide(v + at), s = load_wide(step + at), y = load_wide(w + at), c, d;
        EACH_VECTOR {
            c.v[j] = code_of(x.v[j] / s.v[j], lo, hi);
            d.v[j] = y.v[j] - s.v[j] * c.v[j];
        }
        store_wide(q + at, c);
        store_wide(e + at, d);
        add_multiples(t, u + (size_t)t * (size_t)n, d, v);
    }
}

/* A vector of moves: of weights x in units of `is`, their sizes and what they gain. */
struct move {
    f32v q, d, gain;
};

INLINE struct move move_of(f32v q, f32v r, float h, float inverse, f32v was, f32v is, float lo,
                           float hi) {
    f32v x = was * q, to = code_of((x + r * inverse) / is, lo, hi);
    f32v d = is * to - x, gain = d * (2.0f * r - d * h);
    i32v moves = (was != is) | (gain > 0.0f);
    return (struct move){choose(moves, to, q), choose(moves, d, splat(0)),
                         choose(moves, gain, splat(0))};
}

INLINE struct wide negative(struct wide d) {
    EACH_VECTOR d.v[j] = -d.v[j];
    return d;
}

static void descend(int n, const float *h, size_t ldh, float *r, const float *q, const float *was,
                    const float *is, float lo, float hi, float *to, float *d, float *gain) {
    struct wide before = load_wide(was), after = load_wide(is), sum = {0};
    for (int t = 0; t < n; t++) {
        const float *row = h + (size_t)t * ldh;
        size_t at = (size_t)t * PQ_NR;
        struct wide x = load_wide(q + at), g = load_wide(r + at), codes, sizes;
        float inverse = row[t] > 0 ? 1 / row[t] : 0;
        EACH_VECTOR {
            struct move m =
                move_of(x.v[j], g.v[j], row[t], inverse, before.v[j], after.v[j], lo, hi);
            codes.v[j] = m.q;
            sizes.v[j] = m.d;
            sum.v[j] += m.gain;
        }
        store_wide(to + at, codes);
        store_wide(d + at, sizes);
        add_multiples(n, row, negative(sizes), r);
    }
    store_wide(gain, sum);
}

static void settle(int n, int m, const float *h, size_t ldh, const float *d, float *r) {
    for (int t = 0; t < n; t++)
        add_multiples(m, h + (size_t)t * ldh, negative(load_wide(d + (size_t)t * PQ_NR)), r);
}

const struct pq_rounding PQ_PASTE(pq_rounding, PQ_ISA_SUFFIX) = {
    .feedback = feedback,
    .descend = descend,
    .settle = settle,
};
