#include "quant/hessian.h"

#include "base/ints.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 16 /* of a task */, BLOCK = 128 /* columns factored at a time */ };

static const float LEAST_DAMPING = 0.01f; /* of the second attempt */

static int tasks_of(int k) {
    return (k + ROWS - 1) / ROWS;
}

/* ---- Sums ------------------------------------------------------------------------------------ */

void pq_hessian_codes(float *out, const int8_t *q, float scale, float weight, int k) {
    float factor = sqrtf(weight) * scale;
    for (int j = 0; j < k; j++)
        out[j] = factor * (float)q[j];
}

static void add(const struct pq_workspace *ws, float *h, int k, const float *a, const float *b,
                int rows, bool upper) {
    size_t ld = (size_t)k;
    struct pq_gram gram = {.a = a,
                           .b = b,
                           .c = h,
                           .lda = ld,
                           .ldb = ld,
                           .ldc = ld,
                           .m = k,
                           .n = k,
                           .depth = rows,
                           .upper = upper};
    pq_gram(ws, &gram);
}

void pq_hessian_add(const struct pq_workspace *ws, float *h, int k, const float *x, int rows) {
    add(ws, h, k, x, x, rows, true);
}

void pq_hessian_add_cross(const struct pq_workspace *ws, float *c, int k, const float *d,
                          const float *x, int rows) {
    add(ws, c, k, d, x, rows, false);
}

struct matrices {
    float *to;
    const float *from;
    const int *order;
    float factor; /* of a blend; what is added to the diagonal */
    int k;
};

static void mirror_task(void *arg, int task, int thread) {
    (void)thread;
    const struct matrices *m = arg;
    size_t k = (size_t)m->k;
    size_t from = (size_t)task * ROWS, to = from + ROWS < k ? from + ROWS : k;
    for (size_t j = 0; j < to; j++)
        for (size_t i = j < from ? from : j + 1; i < to; i++)
            m->to[i * k + j] = m->to[j * k + i];
}

void pq_hessian_mirror(const struct pq_workspace *ws, float *h, int k) {
    struct matrices m = {.to = h, .k = k};
    pq_pool_run(ws->pool, tasks_of(k), mirror_task, &m);
}

double pq_hessian_mean(const float *h, int k) {
    double sum = 0;
    for (int i = 0; i < k; i++)
        sum += h[(size_t)i * (size_t)k + (size_t)i];
    return sum / k;
}

static void blend_task(void *arg, int task, int thread) {
    (void)thread;
    const struct matrices *m = arg;
    size_t k = (size_t)m->k, from = (size_t)task * ROWS * k, to = from + ROWS * k;
    for (size_t i = from; i < to && i < k * k; i++)
        m->to[i] += m->factor * m->from[i];
}

void pq_hessian_blend(const struct pq_workspace *ws, float *to, const float *from, float factor,
                      int k) {
    struct matrices m = {.to = to, .from = from, .factor = factor, .k = k};
    pq_pool_run(ws->pool, tasks_of(k), blend_task, &m);
}

/* ---- The factor ------------------------------------------------------------------------------ */

struct ranked {
    float size;
    int column;
};

/* Small H_jj first; among equals the last column. */
static int by_size(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return y->column - x->column;
}

static bool set_order(int *order, const float *h, int k, bool act_order) {
    struct ranked *ranked = malloc((size_t)k * sizeof *ranked);
    if (!ranked)
        return false;
    for (int j = 0; j < k; j++)
        ranked[j] = (struct ranked){act_order ? h[(size_t)j * ((size_t)k + 1)] : 0, j};
    qsort(ranked, (size_t)k, sizeof *ranked, by_size);
    for (int i = 0; i < k; i++)
        order[i] = ranked[i].column;
    free(ranked);
    return true;
}

/* The upper triangle of P (H + factor I) P^T. */
static void permute_task(void *arg, int task, int thread) {
    (void)thread;
    const struct matrices *m = arg;
    size_t k = (size_t)m->k;
    for (size_t i = (size_t)task * ROWS; i < k && i < (size_t)(task + 1) * ROWS; i++) {
        const float *row = m->from + (size_t)m->order[i] * k;
        for (size_t j = i; j < k; j++)
            m->to[i * k + j] = row[m->order[j]];
        m->to[i * k + i] += m->factor;
    }
}

struct elimination {
    float *u;
    int k, from, to; /* rows of the block */
};

/* Rows from..to of the factor, in the columns from..to: Cholesky's, U^T U. */
static bool factor_block(const struct elimination *e) {
    size_t k = (size_t)e->k;
    for (int i = e->from; i < e->to; i++) {
        float *row = e->u + (size_t)i * k, pivot = row[i];
        if (!(pivot > 0 && pivot < INFINITY))
            return false;
        float inverse = 1 / sqrtf(pivot);
        for (int c = i; c < e->to; c++)
            row[c] *= inverse;
        for (int s = i + 1; s < e->to; s++)
            for (int c = s; c < e->to; c++)
                e->u[(size_t)s * k + (size_t)c] -= row[s] * row[c];
    }
    return true;
}

/* The same rows in BLOCK columns to the right of the block. */
static void solve_task(void *arg, int task, int thread) {
    (void)thread;
    const struct elimination *e = arg;
    size_t k = (size_t)e->k;
    int first = e->to + task * BLOCK, last = pq_least(e->k, first + BLOCK);
    for (int i = e->from; i < e->to; i++) {
        float *row = e->u + (size_t)i * k;
        for (int s = e->from; s < i; s++) {
            const float *above = e->u + (size_t)s * k;
            for (int c = first; c < last; c++)
                row[c] -= above[i] * above[c];
        }
        for (int c = first; c < last; c++)
            row[c] /= row[i];
    }
}

static bool cholesky(const struct pq_workspace *ws, float *u, int k) {
    for (int from = 0; from < k; from += BLOCK) {
        struct elimination e = {u, k, from, pq_least(k, from + BLOCK)};
        if (!factor_block(&e))
            return false;
        int rest = k - e.to;
        pq_pool_run(ws->pool, (rest + BLOCK - 1) / BLOCK, solve_task, &e);
        float *rows = u + (size_t)from * (size_t)k + e.to;
        struct pq_gram gram = {.a = rows,
                               .b = rows,
                               .c = u + (size_t)e.to * ((size_t)k + 1),
                               .lda = (size_t)k,
                               .ldb = (size_t)k,
                               .ldc = (size_t)k,
                               .m = rest,
                               .n = rest,
                               .depth = e.to - from,
                               .negative = true,
                               .upper = true};
        pq_gram(ws, &gram);
    }
    return true;
}

static void make_unit_task(void *arg, int task, int thread) {
    (void)thread;
    const struct pq_factor *f = arg;
    size_t k = (size_t)f->k;
    for (size_t i = (size_t)task * ROWS; i < k && i < (size_t)(task + 1) * ROWS; i++) {
        float *row = f->u + i * k, pivot = row[i];
        f->d[i] = pivot * pivot;
        for (size_t j = i; j < k; j++)
            row[j] /= pivot;
    }
}

static enum pq_status factorise(struct pq_factor *f, const struct pq_workspace *ws, const float *h,
                                struct pq_err *err) {
    double mean = pq_hessian_mean(h, f->k);
    for (; f->damping <= 1; f->damping = fmaxf(2 * f->damping, LEAST_DAMPING)) {
        struct matrices m = {f->u, h, f->order, (float)(f->damping * mean), f->k};
        pq_pool_run(ws->pool, tasks_of(f->k), permute_task, &m);
        if (cholesky(ws, f->u, f->k)) {
            pq_pool_run(ws->pool, tasks_of(f->k), make_unit_task, f);
            return PQ_OK;
        }
    }
    return pq_fail(err, PQ_EFORMAT, "the inputs' second moments, of mean %g, have no factor", mean);
}

enum pq_status pq_factor_open(struct pq_factor *factor, const struct pq_workspace *ws,
                              const float *h, int k, float damping, bool act_order,
                              struct pq_err *err) {
    size_t size = (size_t)k;
    struct pq_factor made = {.k = k,
                             .order = malloc(size * sizeof(int)),
                             .u = malloc(size * size * sizeof(float)),
                             .d = malloc(size * sizeof(float)),
                             .damping = damping};
    enum pq_status status =
        made.order && made.u && made.d && set_order(made.order, h, k, act_order)
            ? factorise(&made, ws, h, err)
            : pq_fail(err, PQ_ENOMEM, "out of memory for a factor of width %d", k);
    if (status == PQ_OK)
        *factor = made;
    else
        pq_factor_close(&made);
    return status;
}

void pq_factor_close(struct pq_factor *factor) {
    free(factor->order);
    free(factor->u);
    free(factor->d);
    *factor = (struct pq_factor){0};
}

void pq_factor_triangle(const struct pq_factor *factor, int from, int to, float *t) {
    int n = to - from;
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++)
            t[j * n + i] = factor->u[(size_t)(from + i) * (size_t)factor->k + (size_t)(from + j)];
}
