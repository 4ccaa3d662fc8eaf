/* target.c - see target.h: H = P^T U^T D U P is solved for all lanes of all panels, in blocks of
 * positions: one after the other inside, by a product for all others. */
#include "quant/target.h"

#include "base/ints.h"

#include <string.h>

enum { NR = PQ_NR, BLOCK = 128 };

struct shift {
    const struct pq_workspace *ws;
    const struct pq_factor *f;
    float *w, *z, *solved; /* solved: minus the block's solution */
    float alpha;
    int from, to;
    float triangle[BLOCK * BLOCK]; /* of the block, transposed */
};

static float *at(const struct shift *s, float *array, int panel, int i) {
    return array + ((size_t)panel * (size_t)s->f->k + (size_t)i) * NR;
}

static void negate(float *to, const float *from, int n) {
    for (int i = 0; i < n; i++)
        to[i] = -from[i];
}

/* z = P C^T w, of which `solved` holds C^T w. */
static void permute_task(void *arg, int panel, int thread) {
    (void)thread;
    const struct shift *s = arg;
    for (int i = 0; i < s->f->k; i++)
        memcpy(at(s, s->z, panel, i), at(s, s->solved, panel, s->f->order[i]), NR * sizeof *s->z);
}

/* The block of U^T z' = z, then z' / d. */
static void forward_block(void *arg, int panel, int thread) {
    (void)thread;
    const struct shift *s = arg;
    size_t k = (size_t)s->f->k;
    for (int i = s->from; i < s->to; i++)
        s->ws->ops->rounding->settle(1, s->to - i - 1, s->f->u + (size_t)i * k + i + 1, k,
                                     at(s, s->z, panel, i), at(s, s->z, panel, i + 1));
    negate(at(s, s->solved, panel, s->from), at(s, s->z, panel, s->from), (s->to - s->from) * NR);
    for (int i = s->from; i < s->to; i++)
        for (int l = 0; l < NR; l++)
            at(s, s->z, panel, i)[l] /= s->f->d[i];
}

/* The block of U z' = z. */
static void backward_block(void *arg, int panel, int thread) {
    (void)thread;
    const struct shift *s = arg;
    int n = s->to - s->from;
    for (int i = n - 1; i >= 0; i--)
        s->ws->ops->rounding->settle(1, i, s->triangle + i * n, (size_t)n,
                                     at(s, s->z, panel, s->from + i), at(s, s->z, panel, s->from));
    negate(at(s, s->solved, panel, s->from), at(s, s->z, panel, s->from), n * NR);
}

static void add_task(void *arg, int panel, int thread) {
    (void)thread;
    const struct shift *s = arg;
    for (int i = 0; i < s->f->k; i++) {
        float *w = at(s, s->w, panel, s->f->order[i]), *z = at(s, s->z, panel, i);
        for (int l = 0; l < NR; l++)
            w[l] += s->alpha * z[l];
    }
}

/* y[i] += sum_t a(i, t) x[t] for i < m, the block's t. */
static void fold(struct shift *s, const float *a, size_t row, size_t step, int m, int first,
                 void (*block)(void *, int, int), int panels) {
    size_t ld = (size_t)s->f->k * NR;
    struct pq_fold f = {.a = a,
                        .row = row,
                        .step = step,
                        .m = m,
                        .depth = s->to - s->from,
                        .x = s->solved + (size_t)s->from * NR,
                        .y = s->z + (size_t)first * NR,
                        .ldx = ld,
                        .ldy = ld,
                        .first = block,
                        .arg = s};
    pq_fold(s->ws, &f, panels);
}

static void forward(struct shift *s, int panels) {
    size_t k = (size_t)s->f->k;
    for (s->from = 0; s->from < s->f->k; s->from = s->to) {
        s->to = pq_least(s->f->k, s->from + BLOCK);
        fold(s, s->f->u + (size_t)s->from * k + s->to, 1, k, s->f->k - s->to, s->to, forward_block,
             panels);
    }
}

static void backward(struct shift *s, int panels) {
    size_t k = (size_t)s->f->k;
    for (s->from = (s->f->k - 1) / BLOCK * BLOCK; s->from >= 0; s->from -= BLOCK) {
        s->to = pq_least(s->f->k, s->from + BLOCK);
        pq_factor_triangle(s->f, s->from, s->to, s->triangle);
        fold(s, s->f->u + s->from, k, 1, s->from, 0, backward_block, panels);
    }
}

void pq_target_shift(const struct pq_workspace *ws, const struct pq_factor *factor,
                     const float *cross, float alpha, float *w, float *scratch, int panels) {
    size_t k = (size_t)factor->k;
    struct shift s = {.ws = ws,
                      .f = factor,
                      .w = w,
                      .z = scratch,
                      .solved = scratch + (size_t)panels * k * NR,
                      .alpha = alpha};
    pq_panels_multiply(ws, cross, factor->k, w, s.solved, panels);
    pq_pool_run(ws->pool, panels, permute_task, &s);
    forward(&s, panels);
    backward(&s, panels);
    pq_pool_run(ws->pool, panels, add_task, &s);
}
