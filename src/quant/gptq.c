/* gptq.c - see gptq.h.
 *
 * Rows are held as the lanes of panels, [k][PQ_NR] for PQ_NR rows, which is what the tile kernel
 * multiplies: columns of a block are rounded one by one by a kernel on the lanes, then their
 * errors reach all other columns by one product. */
#include "quant/gptq.h"

#include "base/ints.h"
#include "quant/rtn.h"
#include "quant/target.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NR = PQ_NR, BLOCK = 128 /* columns between products, at least */ };

/* Multipliers that are tried for a group: its own first. */
static const int STEPS[] = {0, -1, 1};
enum { TRIES = sizeof STEPS / sizeof *STEPS };

/* A thread's own: blocks of columns, [block][NR] each. */
struct local {
    float *v, *w, *step, *q; /* GPTQ: targets, weights, steps, codes; descent uses v for H e */
    float *trial;            /* H e of the group while a multiplier is tried */
    float *to[TRIES], *d[TRIES];
    int8_t *codes;      /* [k] */
    uint8_t *multiples; /* [groups] */
};

struct state {
    const struct pq_gptq *g;
    const float *rows; /* [n][k], the caller's */
    struct pq_rounded_rows out;
    int n, k, panels, groups;
    int group; /* k for one */
    int block; /* columns, a multiple of the group where there are several */
    float lo, hi;
    /* [panels][k][NR]: weights, errors, H errors (GPTQ: targets), H weights */
    float *w, *e, *r, *hw;
    int8_t *q;         /* [panels][k][NR] */
    uint8_t *m;        /* [panels][groups][NR] */
    float *scale;      /* [panels][NR] */
    float *importance; /* [k] */
    float *triangle;   /* [block][block]: that of GPTQ's block, transposed */
    int from, to;      /* columns or positions of the block */
    bool weighted;     /* of rounding to nearest */
    struct local *local;
    void *memory;
};

/* Column j of a panel's array. */
static float *at(const struct state *s, float *array, int panel, int j) {
    return array + ((size_t)panel * (size_t)s->k + (size_t)j) * NR;
}

static int8_t *codes_at(const struct state *s, int panel, int j) {
    return s->q + ((size_t)panel * (size_t)s->k + (size_t)j) * NR;
}

static uint8_t *multiples_at(const struct state *s, int panel, int group) {
    return s->m + ((size_t)panel * (size_t)s->groups + (size_t)group) * NR;
}

/* The step of column j in each lane. */
static void set_steps(const struct state *s, int panel, int j, float step[PQ_NR]) {
    const uint8_t *m = multiples_at(s, panel, j / s->group);
    for (int l = 0; l < NR; l++)
        step[l] = s->scale[panel * NR + l] * (float)m[l];
}

static void run(const struct state *s, int tasks, pq_task_fn *fn) {
    pq_pool_run(s->g->ws->pool, tasks, fn, (void *)s);
}

/* ---- Rows to lanes and back ------------------------------------------------------------------ */

static void load_task(void *arg, int panel, int thread) {
    (void)thread;
    const struct state *s = arg;
    for (int l = 0; l < NR; l++) {
        int row = panel * NR + l;
        for (int j = 0; j < s->k; j++)
            at(s, s->w, panel, j)[l] =
                row < s->n ? s->rows[(size_t)row * (size_t)s->k + (size_t)j] : 0;
    }
}

static void nearest_task(void *arg, int row, int thread) {
    const struct state *s = arg;
    struct local *own = &s->local[thread];
    int panel = row / NR, l = row % NR, group = s->groups > 1 ? s->group : 0;
    const float *w = s->rows + (size_t)row * (size_t)s->k;
    const float *importance = s->weighted ? s->importance : NULL;
    memset(own->multiples, 1, (size_t)s->groups);
    s->scale[row] = s->g->scheme == PQ_SCHEME_W8A8
                        ? pq_rtn_w8(w, importance, s->k, own->codes)
                        : pq_rtn_w4(w, importance, s->k, group, own->codes, own->multiples);
    for (int j = 0; j < s->k; j++)
        codes_at(s, panel, j)[l] = own->codes[j];
    for (int g = 0; g < s->groups; g++)
        multiples_at(s, panel, g)[l] = own->multiples[g];
}

static void round_to_nearest(struct state *s, bool weighted) {
    s->weighted = weighted;
    run(s, s->n, nearest_task);
}

/* The row's codes, multipliers and scale take the place of what the caller has. */
static void keep_row(const struct state *s, int row, double error) {
    int panel = row / NR, l = row % NR;
    int8_t *q = s->out.q + (size_t)row * (size_t)s->k;
    for (int j = 0; j < s->k; j++)
        q[j] = codes_at(s, panel, j)[l];
    for (int g = 0; s->out.multipliers && g < s->groups; g++)
        s->out.multipliers[(size_t)row * (size_t)s->groups + (size_t)g] =
            multiples_at(s, panel, g)[l];
    s->out.scales[row] = s->scale[row];
    s->out.errors[row] = error;
}

/* ---- Errors ---------------------------------------------------------------------------------- */

/* sum_j a[j] b[j] of each lane */
static void dot(const struct state *s, int panel, float *a, float *b, double sum[PQ_NR]) {
    memset(sum, 0, NR * sizeof *sum);
    for (int j = 0; j < s->k; j++) {
        const float *x = at(s, a, panel, j), *y = at(s, b, panel, j);
        for (int l = 0; l < NR; l++)
            sum[l] += (double)x[l] * y[l];
    }
}

static void error_task(void *arg, int panel, int thread) {
    (void)thread;
    const struct state *s = arg;
    for (int j = 0; j < s->k; j++) {
        float step[PQ_NR], *w = at(s, s->w, panel, j), *e = at(s, s->e, panel, j);
        const int8_t *q = codes_at(s, panel, j);
        set_steps(s, panel, j, step);
        for (int l = 0; l < NR; l++)
            e[l] = w[l] - step[l] * (float)q[l];
    }
}

static void keep_task(void *arg, int panel, int thread) {
    (void)thread;
    const struct state *s = arg;
    double error[PQ_NR];
    dot(s, panel, s->e, s->r, error);
    for (int row = panel * NR; row < s->n && row < (panel + 1) * NR; row++)
        if (!(error[row % NR] >= s->out.errors[row]))
            keep_row(s, row, error[row % NR]);
}

/* e and r = H e of the codes there are; rows that are the best so far go to the caller. */
static void judge(const struct state *s) {
    run(s, s->panels, error_task);
    pq_panels_multiply(s->g->ws, s->g->h, s->k, s->e, s->r, s->panels);
    run(s, s->panels, keep_task);
}

static void power_task(void *arg, int panel, int thread) {
    (void)thread;
    const struct state *s = arg;
    double power[PQ_NR];
    dot(s, panel, s->w, s->hw, power);
    for (int row = panel * NR; row < s->n && row < (panel + 1) * NR; row++) {
        s->out.powers[row] = power[row % NR];
        s->out.errors[row] = INFINITY;
    }
}

/* ---- GPTQ ------------------------------------------------------------------------------------ */

/* Targets begin as the weights, in the factor's order. */
static void target_task(void *arg, int panel, int thread) {
    (void)thread;
    const struct state *s = arg;
    for (int i = 0; i < s->k; i++)
        memcpy(at(s, s->r, panel, i), at(s, s->w, panel, s->g->factor->order[i]),
               NR * sizeof *s->w);
}

static void feedback_block(void *arg, int panel, int thread) {
    const struct state *s = arg;
    struct local *own = &s->local[thread];
    const int *order = s->g->factor->order + s->from;
    int n = s->to - s->from;
    for (int t = 0; t < n; t++) {
        memcpy(own->w + t * NR, at(s, s->w, panel, order[t]), NR * sizeof *own->w);
        set_steps(s, panel, order[t], own->step + t * NR);
    }
    s->g->ws->ops->rounding->feedback(n, s->triangle, at(s, s->r, panel, s->from), own->w,
                                      own->step, s->lo, s->hi, own->q, at(s, s->e, panel, s->from));
    for (int t = 0; t < n; t++)
        for (int l = 0; l < NR; l++)
            codes_at(s, panel, order[t])[l] = (int8_t)own->q[t * NR + l];
}

static void feedback(struct state *s) {
    const float *u = s->g->factor->u;
    size_t k = (size_t)s->k;
    run(s, s->panels, target_task);
    for (s->from = (s->k - 1) / BLOCK * BLOCK; s->from >= 0; s->from -= BLOCK) {
        s->to = pq_least(s->k, s->from + BLOCK);
        pq_factor_triangle(s->g->factor, s->from, s->to, s->triangle);
        struct pq_fold fold = {.a = u + s->from,
                               .row = k,
                               .step = 1,
                               .m = s->from,
                               .depth = s->to - s->from,
                               .x = s->e + (size_t)s->from * NR,
                               .y = s->r,
                               .ldx = k * NR,
                               .ldy = k * NR,
                               .first = feedback_block,
                               .arg = s};
        pq_fold(s->g->ws, &fold, s->panels);
    }
}

/* ---- Coordinate descent ---------------------------------------------------------------------- */

/* In each lane, which trial gains most. */
static void choose(const struct local *own, float gain[TRIES][PQ_NR], int tries, int n,
                   int best[PQ_NR]) {
    for (int l = 0; l < NR; l++) {
        best[l] = 0;
        for (int i = 1; i < tries; i++)
            best[l] = gain[i][l] > gain[best[l]][l] ? i : best[l];
    }
    for (int l = 0; l < NR; l++)
        for (int t = 0; best[l] && t < n; t++) {
            own->to[0][t * NR + l] = own->to[best[l]][t * NR + l];
            own->d[0][t * NR + l] = own->d[best[l]][t * NR + l];
        }
}

/* The columns first..first + n, all of one group, take their best codes; own->v is the block's
 * H e and follows. */
static void descend_group(const struct state *s, int panel, int first, int n, struct local *own) {
    const struct pq_rounding *kernel = s->g->ws->ops->rounding;
    uint8_t *m = multiples_at(s, panel, first / s->group);
    int tries = s->groups > 1 && s->g->refit ? TRIES : 1, best[PQ_NR], offset = first - s->from;
    float was[PQ_NR], is[PQ_NR], gain[TRIES][PQ_NR];
    const float *h = s->g->h + (size_t)first * (size_t)s->k;
    int8_t *q = codes_at(s, panel, first);
    for (int i = 0; i < n * NR; i++)
        own->q[i] = q[i];
    set_steps(s, panel, first, was);
    for (int i = 0; i < tries; i++) {
        for (int l = 0; l < NR; l++) {
            int to = m[l] + STEPS[i];
            is[l] = to >= 1 && to <= 15 ? s->scale[panel * NR + l] * (float)to : was[l];
        }
        memcpy(own->trial, own->v + offset * NR, (size_t)n * NR * sizeof *own->v);
        kernel->descend(n, h + first, (size_t)s->k, own->trial, own->q, was, is, s->lo, s->hi,
                        own->to[i], own->d[i], gain[i]);
    }
    choose(own, gain, tries, n, best);
    for (int l = 0; l < NR; l++) {
        int to = m[l] + STEPS[best[l]];
        m[l] = (uint8_t)(to >= 1 && to <= 15 ? to : m[l]);
    }
    for (int i = 0; i < n * NR; i++)
        q[i] = (int8_t)own->to[0][i];
    int last = first + n;
    kernel->settle(n, s->to - last, h + last, (size_t)s->k, own->d[0],
                   own->v + (last - s->from) * NR);
    float *moved = at(s, s->e, panel, first);
    for (int i = 0; i < n * NR; i++)
        moved[i] = -own->d[0][i];
}

static void descend_block(void *arg, int panel, int thread) {
    const struct state *s = arg;
    struct local *own = &s->local[thread];
    memcpy(own->v, at(s, s->r, panel, s->from), (size_t)(s->to - s->from) * NR * sizeof *own->v);
    for (int first = s->from; first < s->to;) {
        int last = pq_least(s->to, (first / s->group + 1) * s->group);
        descend_group(s, panel, first, last - first, own);
        first = last;
    }
}

/* s' = s (1 + f), f = w'.r / w'.H w'; then r' = r - f H w', where H w' = H w - r. */
static void refit_task(void *arg, int panel, int thread) {
    (void)thread;
    const struct state *s = arg;
    double top[PQ_NR] = {0}, bottom[PQ_NR] = {0};
    float factor[PQ_NR];
    for (int j = 0; j < s->k; j++) {
        const float *r = at(s, s->r, panel, j), *hw = at(s, s->hw, panel, j);
        const uint8_t *m = multiples_at(s, panel, j / s->group);
        const int8_t *q = codes_at(s, panel, j);
        for (int l = 0; l < NR; l++) {
            double x = m[l] * q[l];
            top[l] += x * r[l];
            bottom[l] += x * (hw[l] - r[l]);
        }
    }
    for (int l = 0; l < NR; l++) {
        float *scale = &s->scale[panel * NR + l], before = *scale;
        double f = bottom[l] > 0 ? top[l] / bottom[l] : 0;
        if (f > -0.5 && f < 1)
            *scale = (float)(before * (1 + f));
        factor[l] = *scale / before - 1;
    }
    for (int j = 0; j < s->k; j++) {
        float *r = at(s, s->r, panel, j);
        const float *hw = at(s, s->hw, panel, j);
        for (int l = 0; l < NR; l++)
            r[l] -= factor[l] * (hw[l] - r[l]);
    }
}

/* From r = H e. */
static void descend(struct state *s) {
    for (s->from = 0; s->from < s->k; s->from = s->to) {
        s->to = pq_least(s->k, s->from + s->block);
        struct pq_fold fold = pq_fold_columns(s->g->h, s->k, s->from, s->to - s->from, s->e, s->r);
        fold.first = descend_block;
        fold.arg = s;
        pq_fold(s->g->ws, &fold, s->panels);
    }
    if (s->g->refit)
        run(s, s->panels, refit_task);
}

/* ---- A block of rows ------------------------------------------------------------------------- */

static void set_sizes(struct state *s) {
    const struct pq_gptq *g = s->g;
    bool w8 = g->scheme == PQ_SCHEME_W8A8, grouped = !w8 && g->group != PQ_GROUP_CHANNEL;
    s->k = g->k;
    s->panels = (s->n + NR - 1) / NR;
    s->group = grouped && g->group < s->k ? g->group : s->k;
    s->groups = (s->k + s->group - 1) / s->group;
    s->block = s->groups == 1 ? BLOCK : (BLOCK + s->group - 1) / s->group * s->group;
    s->lo = w8 ? -127 : -8;
    s->hi = w8 ? 127 : 7;
}

/* The next `bytes` of an arena, or, where that is NULL, only the measure. */
static void *take(char *memory, size_t *used, size_t bytes) {
    void *at_ = memory ? memory + *used : NULL;
    *used += (bytes + 63) / 64 * 64;
    return at_;
}

static void place_local(struct local *own, const struct state *s, char *memory, size_t *used) {
    size_t block = (size_t)s->block * NR * sizeof(float);
    struct local made = {0};
    float **blocks[] = {&made.v,     &made.w,     &made.step, &made.q,    &made.trial, &made.to[0],
                        &made.to[1], &made.to[2], &made.d[0], &made.d[1], &made.d[2]};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        *blocks[i] = take(memory, used, block);
    made.codes = take(memory, used, (size_t)s->k);
    made.multiples = take(memory, used, (size_t)s->groups);
    if (memory)
        *own = made;
}

/* Lay everything out in memory, or measure. */
static size_t place(struct state *s, char *memory) {
    size_t used = 0, lanes = (size_t)s->panels * NR, all = lanes * (size_t)s->k;
    int threads = pq_pool_threads(s->g->ws->pool);
    s->w = take(memory, &used, all * sizeof(float));
    s->e = take(memory, &used, 2 * all * sizeof(float)); /* both together are scratch at first */
    s->r = s->e ? s->e + all : NULL;
    s->hw = take(memory, &used, all * sizeof(float));
    s->q = take(memory, &used, all);
    s->m = take(memory, &used, lanes * (size_t)s->groups);
    s->scale = take(memory, &used, lanes * sizeof(float));
    s->importance = take(memory, &used, (size_t)s->k * sizeof(float));
    s->triangle = take(memory, &used, BLOCK * BLOCK * sizeof(float));
    s->local = take(memory, &used, (size_t)threads * sizeof *s->local);
    for (int i = 0; i < threads; i++)
        place_local(s->local ? &s->local[i] : NULL, s, memory, &used);
    return used;
}

/* H_jj in units of its mean, and a little for columns without input, which otherwise would take
 * any step. */
static void set_importance(struct state *s) {
    double mean = pq_hessian_mean(s->g->h, s->k);
    for (int j = 0; j < s->k; j++) {
        double size = s->g->h[(size_t)j * ((size_t)s->k + 1)];
        s->importance[j] = (float)(mean > 0 ? 0.001 + size / mean : 1);
    }
}

/* Lanes without a row round zeros. */
static void clear_lanes(struct state *s) {
    size_t lanes = (size_t)s->panels * NR;
    memset(s->q, 0, lanes * (size_t)s->k);
    memset(s->m, 1, lanes * (size_t)s->groups);
    for (size_t i = 0; i < lanes; i++)
        s->scale[i] = 1;
}

enum pq_status pq_gptq_rows(const struct pq_gptq *gptq, const float *w, int n,
                            const struct pq_rounded_rows *out, struct pq_err *err) {
    struct state s = {.g = gptq, .rows = w, .n = n, .out = *out};
    set_sizes(&s);
    size_t bytes = place(&s, NULL);
    char *memory = aligned_alloc(64, bytes);
    if (!memory)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d rows of %d weights", n, s.k);
    place(&s, memory);
    set_importance(&s);
    clear_lanes(&s);
    run(&s, s.panels, load_task);
    if (gptq->factor && gptq->cross)
        pq_target_shift(gptq->ws, gptq->factor, gptq->cross, gptq->alpha, s.w, s.e, s.panels);
    pq_panels_multiply(gptq->ws, gptq->h, s.k, s.w, s.hw, s.panels);
    run(&s, s.panels, power_task);
    round_to_nearest(&s, false);
    judge(&s);
    round_to_nearest(&s, true);
    judge(&s);
    if (gptq->factor) {
        feedback(&s);
        judge(&s);
    }
    for (int i = 0; i < gptq->sweeps; i++)
        descend(&s);
    if (gptq->sweeps)
        judge(&s);
    free(memory);
    return PQ_OK;
}
