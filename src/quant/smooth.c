#include "quant/smooth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/gemm.h"
#include "quant/rtn.h"

enum { NR = PQ_NR, STEPS = 20 /* of alpha */ };

void pq_smooth_most(float *most, const float *rows, int n, int k) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < k; j++)
            most[j] = fmaxf(most[j], fabsf(rows[(size_t)i * (size_t)k + (size_t)j]));
}

void pq_smooth_tie(float *most, int heads, int kv_heads, int width) {
    int share = heads / kv_heads;
    for (int kv = 0; kv < kv_heads; kv++)
        for (int c = 0; c < width; c++) {
            float *first = most + (size_t)kv * (size_t)share * (size_t)width + c, largest = 0;
            for (int i = 0; i < share; i++)
                largest = fmaxf(largest, first[i * width]);
            for (int i = 0; i < share; i++)
                first[i * width] = largest;
        }
}

void pq_smooth_scales(float *s, const float *x_most, const float *w_most, float alpha, int k) {
    for (int j = 0; j < k; j++) {
        double x = x_most[j], w = w_most[j];
        double scale = x > 0 && w > 0 ? exp(alpha * log(x) - (1 - alpha) * log(w)) : 1;
        s[j] = (float)fmin(fmax(scale, 1e-5), 1e5);
    }
}

/* ---- The loss -------------------------------------------------------------------------------- */

/* A thread's own row, [k] or [k padded to PQ_BLOCK] each. */
struct local {
    float *row;
    int8_t *q;
    uint8_t *multipliers;
};

struct measure {
    const struct pq_smooth *smooth;
    const float *s;
    int panels, padded;
    float *e, *he;   /* [panels][k][NR] */
    double *powers;  /* [panels][k]: of the columns of Q(W S), a panel's rows */
    double *errors;  /* [panels] */
    double *losses;  /* [m] */
    double *columns; /* [k] */
    struct local *local;
};

/* One row of the panel: its error in lane l, its share of the columns' powers. */
static void round_row(const struct measure *m, const float *w, const struct local *own, float *e,
                      int l, double *powers) {
    const struct pq_smooth *p = m->smooth;
    int group = p->scheme == PQ_SCHEME_W8A8 ? 0 : p->group;
    for (int j = 0; j < p->k; j++)
        own->row[j] = w[j] * m->s[j];
    float scale = p->scheme == PQ_SCHEME_W8A8
                      ? pq_rtn_w8(own->row, NULL, p->k, own->q)
                      : pq_rtn_w4(own->row, NULL, p->k, group, own->q, own->multipliers);
    for (int j = 0; j < p->k; j++) {
        float rounded = scale * (float)(group ? own->multipliers[j / group] : 1) * own->q[j];
        e[(size_t)j * NR + (size_t)l] = w[j] - rounded / m->s[j];
        powers[j] += (double)rounded * rounded;
    }
}

static void panel_task(void *arg, int panel, int thread) {
    const struct measure *m = arg;
    size_t k = (size_t)m->smooth->k;
    float *e = m->e + (size_t)panel * k * NR;
    memset(e, 0, k * NR * sizeof *e);
    for (int row = panel * NR; row < m->smooth->n && row < (panel + 1) * NR; row++)
        round_row(m, m->smooth->w + (size_t)row * k, &m->local[thread], e, row % NR,
                  m->powers + (size_t)panel * k);
}

static void error_task(void *arg, int panel, int thread) {
    (void)thread;
    const struct measure *m = arg;
    size_t size = (size_t)m->smooth->k * NR;
    const float *e = m->e + (size_t)panel * size, *he = m->he + (size_t)panel * size;
    double sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += (double)e[i] * he[i];
    m->errors[panel] = sum;
}

static void input_task(void *arg, int t, int thread) {
    const struct measure *m = arg;
    const struct pq_smooth *p = m->smooth;
    const struct local *own = &m->local[thread];
    const float *x = p->x + (size_t)t * (size_t)p->k;
    memset(own->row, 0, (size_t)m->padded * sizeof *own->row);
    for (int j = 0; j < p->k; j++)
        own->row[j] = x[j] / m->s[j];
    int32_t all;
    float scale = p->ws->ops->e->quantize(own->q, &all, NULL, own->row, m->padded);
    double sum = 0;
    for (int j = 0; j < p->k; j++) {
        double d = own->row[j] - scale * (float)own->q[j];
        sum += m->columns[j] * d * d;
    }
    m->losses[t] = sum;
}

static double total(const double *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static void run(const struct measure *m, struct pq_smooth_loss *loss) {
    const struct pq_smooth *p = m->smooth;
    size_t k = (size_t)p->k;
    memset(m->powers, 0, (size_t)m->panels * k * sizeof *m->powers);
    pq_pool_run(p->ws->pool, m->panels, panel_task, (void *)m);
    pq_panels_multiply(p->ws, p->h, p->k, m->e, m->he, m->panels);
    pq_pool_run(p->ws->pool, m->panels, error_task, (void *)m);
    for (size_t j = 0; j < k; j++) {
        m->columns[j] = 0;
        for (int i = 0; i < m->panels; i++)
            m->columns[j] += m->powers[(size_t)i * k + j];
    }
    pq_pool_run(p->ws->pool, p->m, input_task, (void *)m);
    loss->weights = total(m->errors, m->panels);
    loss->activations = total(m->losses, p->m) * p->tokens / p->m;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void close_measure(struct measure *m) {
    for (int i = 0; m->local && i < pq_pool_threads(m->smooth->ws->pool); i++) {
        free(m->local[i].row);
        free(m->local[i].q);
        free(m->local[i].multipliers);
    }
    free(m->local);
    free(m->e);
    free(m->he);
    free(m->powers);
    free(m->errors);
    free(m->losses);
    free(m->columns);
}

static enum pq_status open_measure(struct measure *m, const struct pq_smooth *smooth,
                                   struct pq_err *err) {
    int threads = pq_pool_threads(smooth->ws->pool), panels = (smooth->n + NR - 1) / NR;
    size_t k = (size_t)smooth->k, lanes = (size_t)panels * k * NR * sizeof(float);
    *m = (struct measure){
        .smooth = smooth, .panels = panels, .padded = pq_round_up(smooth->k, PQ_BLOCK)};
    m->e = aligned_alloc(64, lanes);
    m->he = aligned_alloc(64, lanes);
    m->powers = malloc((size_t)panels * k * sizeof *m->powers);
    m->errors = malloc((size_t)panels * sizeof *m->errors);
    m->losses = malloc((size_t)smooth->m * sizeof *m->losses);
    m->columns = malloc(k * sizeof *m->columns);
    m->local = calloc((size_t)threads, sizeof *m->local);
    bool good = m->e && m->he && m->powers && m->errors && m->losses && m->columns && m->local;
    for (int i = 0; good && i < threads; i++) {
        struct local *own = &m->local[i];
        own->row = malloc((size_t)m->padded * sizeof *own->row);
        own->q = malloc((size_t)m->padded);
        own->multipliers = malloc(k);
        good = own->row && own->q && own->multipliers;
    }
    if (good)
        return PQ_OK;
    close_measure(m);
    return pq_fail(err, PQ_ENOMEM, "out of memory for %d rows of %d weights", smooth->n, smooth->k);
}

enum pq_status pq_smooth_measure(const struct pq_smooth *smooth, const float *s,
                                 struct pq_smooth_loss *loss, struct pq_err *err) {
    struct measure m;
    PQ_TRY(open_measure(&m, smooth, err));
    m.s = s;
    run(&m, loss);
    close_measure(&m);
    return PQ_OK;
}

enum pq_status pq_smooth_search(const struct pq_smooth *smooth, const float *x_most,
                                const float *w_most, float *s, float *alpha,
                                struct pq_smooth_loss *loss, struct pq_err *err) {
    struct measure m;
    size_t k = (size_t)smooth->k;
    float *trial = malloc(k * sizeof *trial);
    if (!trial)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d channels", smooth->k);
    enum pq_status status = open_measure(&m, smooth, err);
    for (int i = -1; status == PQ_OK && i <= STEPS; i++) {
        struct pq_smooth_loss now;
        for (size_t j = 0; i < 0 && j < k; j++)
            trial[j] = 1;
        if (i >= 0)
            pq_smooth_scales(trial, x_most, w_most, (float)i / STEPS, smooth->k);
        m.s = trial;
        run(&m, &now);
        if (i < 0 || now.weights + now.activations < loss->weights + loss->activations) {
            memcpy(s, trial, k * sizeof *s);
            *alpha = i < 0 ? -1 : (float)i / STEPS;
            *loss = now;
        }
    }
    if (status == PQ_OK)
        close_measure(&m);
    free(trial);
    return status;
}
