/* All sums are taken in units of the step: x = w / step, q = round(clamp(x)), e = x - q.  That
 * keeps them of moderate size whatever the size of the weights.  LANES running sums in FP32 make
 * the order of additions fixed and the loops vectors; every BLOCK they go to FP64. */
#include "quant/rtn.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/half.h"

enum { LANES = 8, BLOCK = 256, REFITS = 3 };

/* Below this a row counts as zero, so that no step or its inverse leaves the normal numbers. */
static const float LEAST_ROW = 0x1p-100f;

struct range {
    float lo, hi; /* of the codes */
};

static const struct range W8 = {-127, 127}, W4 = {-8, 7};

struct sums {
    double ee, xq, qq; /* of e e, x q and q q, times the importance */
};

/* The weights of a row or a group, and what their squared errors are multiplied by: NULL: 1. */
struct weights {
    const float *w, *importance;
};

static struct weights part(struct weights row, int from) {
    return (struct weights){row.w + from, row.importance ? row.importance + from : NULL};
}

/* The bits of a float without its sign are ordered as its magnitude is. */
static float absmax(const float *w, int n) {
    int32_t max = 0;
    for (int j = 0; j < n; j++) {
        int32_t bits = (int32_t)(pq_f32_bits(w[j]) & 0x7fffffffu);
        max = bits > max ? bits : max;
    }
    return pq_bits_f32((uint32_t)max);
}

int pq_rtn_nonfinite(const float *w, int k) {
    if (absmax(w, k) <= FLT_MAX)
        return -1;
    int j = 0;
    while (fabsf(w[j]) <= FLT_MAX)
        j++;
    return j;
}

/* Round to nearest, ties to even, |x| < 2^22: adding 1.5 * 2^23 leaves no bits for a fraction. */
static inline float nearest(float x) {
    return (x + 12582912.0f) - 12582912.0f;
}

static inline float code(float x, struct range r) {
    float c = x > r.lo ? x : r.lo;
    return nearest(c < r.hi ? c : r.hi);
}

struct lanes {
    float ee[LANES], xq[LANES], qq[LANES];
};

static inline __attribute__((always_inline)) void
add_lanes(struct lanes *s, struct weights at, float inverse, struct range r, bool fit) {
    for (int l = 0; l < LANES; l++) {
        float x = at.w[l] * inverse, q = code(x, r), e = x - q;
        float eh = at.importance ? e * at.importance[l] : e;
        s->ee[l] += eh * e;
        if (fit) {
            float qh = at.importance ? q * at.importance[l] : q;
            s->xq[l] += x * qh;
            s->qq[l] += q * qh;
        }
    }
}

static double total(const float lane[LANES]) {
    return ((double)lane[0] + lane[4]) + ((double)lane[1] + lane[5]) +
           (((double)lane[2] + lane[6]) + ((double)lane[3] + lane[7]));
}

static inline __attribute__((always_inline)) struct sums
sums_of(struct weights row, int n, float step, struct range r, bool fit) {
    struct sums sum = {0};
    float inverse = 1 / step;
    for (int from = 0; from < n; from += BLOCK) {
        struct lanes s = {{0}, {0}, {0}};
        int to = n - from < BLOCK ? n : from + BLOCK, j = from;
        for (; j + LANES <= to; j += LANES)
            add_lanes(&s, part(row, j), inverse, r, fit);
        if (j < to) {
            float w[LANES] = {0}, importance[LANES] = {0};
            for (int l = 0; j + l < to; l++) {
                w[l] = row.w[j + l];
                importance[l] = row.importance ? row.importance[j + l] : 1;
            }
            add_lanes(&s, (struct weights){w, importance}, inverse, r, fit);
        }
        sum.ee += total(s.ee);
        if (fit) {
            sum.xq += total(s.xq);
            sum.qq += total(s.qq);
        }
    }
    return sum;
}

/* The sums of w [n] at a step; xq and qq only if `fit`. */
static inline __attribute__((always_inline)) struct sums
sums_at(struct weights w, int n, float step, struct range r, bool fit) {
    if (w.importance) /* a loop of its own for each */
        return sums_of(w, n, step, r, fit);
    return sums_of((struct weights){w.w, NULL}, n, step, r, fit);
}

static double error_at(struct weights w, int n, float step, struct range r) {
    return sums_at(w, n, step, r, false).ee * step * step;
}

static void round_row(const float *w, int n, float step, struct range r, int8_t *q) {
    float inverse = 1 / step;
    for (int j = 0; j < n; j++)
        q[j] = (int8_t)(int32_t)code(w[j] * inverse, r);
}

/* ---- One step for the whole row -------------------------------------------------------------- */

/* Scales at which the largest weight would have the code `from`, `from` * ratio, ... `to`. */
struct scan {
    float from, to, ratio;
};

/* The step of least error among absmax / r.hi and the scan, then improved by least squares. */
static float best_step(struct weights w, int k, struct range r, float max, struct scan scan) {
    float best = max / r.hi;
    double least = error_at(w, k, best, r);
    for (float c = scan.from; c <= scan.to; c *= scan.ratio) {
        double error = error_at(w, k, max / c, r);
        if (error < least) {
            least = error;
            best = max / c;
        }
    }
    for (int i = 0; i < REFITS; i++) {
        struct sums s = sums_at(w, k, best, r, true);
        float step = (float)(best * (s.xq / s.qq));
        double error = error_at(w, k, step, r);
        if (!(error < least))
            break;
        least = error;
        best = step;
    }
    return best;
}

float pq_rtn_w8(const float *w, const float *importance, int k, int8_t *q) {
    float max = absmax(w, k);
    if (max < LEAST_ROW) {
        memset(q, 0, (size_t)k);
        return 1;
    }
    float scale =
        best_step((struct weights){w, importance}, k, W8, max, (struct scan){124, 150, 1.004f});
    round_row(w, k, scale, W8, q);
    return scale;
}

/* ---- A step for each group ------------------------------------------------------------------- */

/* Steps of a group of which one is sure to be near the best. */
struct window {
    float least, most;
};

/* A group's largest weight gets a code of at least 4.5 and at most 9.5, which is clipped; a step
 * below 0.28 of the root mean square is for longer tails than those. */
static const float CODE_LEAST = 4.5f, CODE_MOST = 9.5f, RMS_STEP = 0.28f;

static struct window window_of(const float *w, int n) {
    float max = absmax(w, n);
    if (max < LEAST_ROW)
        return (struct window){0, 0};
    float squares =
        (float)sums_at((struct weights){w, NULL}, n, max, (struct range){0, 0}, false).ee;
    float tail = RMS_STEP * sqrtf(squares / (float)n), step = 1 / CODE_MOST;
    return (struct window){max * (tail < step ? tail : step), max / CODE_LEAST};
}

/* The multiplier of least error for a group at a row scale, and that error. */
static int best_multiplier(struct weights w, int n, struct window window, float scale,
                           double *error) {
    float from = window.least / scale, to = window.most / scale;
    int first = from < 1 ? 1 : from < 15 ? (int)from : 15;
    int last = to < 1 ? 1 : to < 15 ? (int)to : 15, best = first;
    *error = error_at(w, n, scale * (float)first, W4);
    for (int m = first + 1; m <= last; m++) {
        double e = error_at(w, n, scale * (float)m, W4);
        if (e < *error) {
            *error = e;
            best = m;
        }
    }
    return best;
}

/* The scales that are tried put the row's largest weight at these values of multiplier * code.
 * Up to 120 they are the products themselves, so that a row that is of this form already is met
 * exactly; above 120 the largest weight is clipped. */
static const float PRODUCT[] = {77, 80, 84, 88, 91, 96, 98, 104, 105, 112, 120, 128, 136};
enum { PRODUCTS = sizeof PRODUCT / sizeof PRODUCT[0] };

static float scan_scales(struct weights w, int k, int group, float max) {
    double error[PRODUCTS] = {0}, e;
    for (int from = 0; from < k; from += group) {
        int n = k - from < group ? k - from : group;
        struct window window = window_of(w.w + from, n);
        for (int i = 0; i < PRODUCTS; i++) {
            best_multiplier(part(w, from), n, window, max / PRODUCT[i], &e);
            error[i] += e;
        }
    }
    int best = 0;
    for (int i = 1; i < PRODUCTS; i++)
        best = error[i] < error[best] ? i : best;
    return max / PRODUCT[best];
}

/* Choose the multipliers for a scale.  Returns the row's error and, in *refit, the best scale for
 * those multipliers and the codes that go with them. */
static double choose(struct weights w, int k, int group, float scale, uint8_t *multiplier,
                     float *refit) {
    double error = 0, wq = 0, qq = 0;
    for (int from = 0, g = 0; from < k; from += group, g++) {
        int n = k - from < group ? k - from : group;
        double e;
        int m = best_multiplier(part(w, from), n, window_of(w.w + from, n), scale, &e);
        struct sums s = sums_at(part(w, from), n, scale * (float)m, W4, true);
        multiplier[g] = (uint8_t)m;
        error += e;
        wq += (double)m * m * s.xq;
        qq += (double)m * m * s.qq;
    }
    *refit = (float)(scale * (wq / qq));
    return error;
}

static float grouped(struct weights w, int k, int group, float max, int8_t *q,
                     uint8_t *multiplier) {
    float scale = scan_scales(w, k, group, max), refit, next;
    double least = choose(w, k, group, scale, multiplier, &refit);
    for (int i = 0; i < REFITS; i++) {
        double error = choose(w, k, group, refit, multiplier, &next);
        if (!(error < least))
            break;
        least = error;
        scale = refit;
        refit = next;
    }
    choose(w, k, group, scale, multiplier, &refit);
    for (int from = 0, g = 0; from < k; from += group, g++) {
        int n = k - from < group ? k - from : group;
        round_row(w.w + from, n, scale * (float)multiplier[g], W4, q + from);
    }
    return scale;
}

float pq_rtn_w4(const float *w, const float *importance, int k, int group, int8_t *q,
                uint8_t *multiplier) {
    struct weights row = {w, importance};
    float max = absmax(w, k);
    if (max < LEAST_ROW) {
        memset(q, 0, (size_t)k);
        if (group)
            memset(multiplier, 1, (size_t)((k - 1) / group + 1));
        return 1;
    }
    if (group)
        return grouped(row, k, group, max, q, multiplier);
    struct scan scan = {4, max / window_of(w, k).least, 1.04f};
    float scale = best_step(row, k, W4, max, scan);
    round_row(w, k, scale, W4, q);
    return scale;
}
