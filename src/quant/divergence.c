/* divergence.c - how far one model's next-token distributions are from another's. */
#include "base/threads.h"

#include <math.h>

struct diverging {
    struct pq_divergence *out;
    const float *p, *q;
    const int32_t *targets;
    int vocab;
};

/* logits [n] as a distribution: softmax(x)_i = exp(x_i - log_sum). */
struct softmax {
    const float *x;
    int32_t top;
    double log_sum;
};

static struct softmax softmax_of(const float *x, int n) {
    struct softmax s = {.x = x};
    double sum = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[s.top])
            s.top = i;
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i] - (double)x[s.top]);
    s.log_sum = (double)x[s.top] + log(sum);
    return s;
}

static double log_of(const struct softmax *s, int32_t id) {
    return (double)s->x[id] - s->log_sum;
}

static void diverge_row(void *arg, int r, int thread) {
    (void)thread;
    const struct diverging *d = arg;
    size_t at = (size_t)r * (size_t)d->vocab;
    struct softmax p = softmax_of(d->p + at, d->vocab), q = softmax_of(d->q + at, d->vocab);
    struct pq_divergence out = {.p_top = p.top, .q_top = q.top};
    double kl = 0;
    for (int32_t i = 0; i < d->vocab; i++) {
        double log_p = log_of(&p, i);
        kl += exp(log_p) * (log_p - log_of(&q, i));
    }
    /* Rounding leaves equal distributions a few 1e-17 on either side of 0; NaN stays what it is. */
    out.kl = kl < 0 ? 0 : kl;
    out.p_best = exp(log_of(&p, p.top));
    out.q_best = exp(log_of(&q, p.top));
    if (d->targets) {
        out.p_loss = -log_of(&p, d->targets[r]);
        out.q_loss = -log_of(&q, d->targets[r]);
    }
    d->out[r] = out;
}

enum pq_status pq_diverge(struct pq_divergence *out, const float *p, const float *q, int n,
                          int vocab, const int32_t *targets, struct pq_pool *pool,
                          struct pq_err *err) {
    struct diverging d = {.out = out, .p = p, .q = q, .targets = targets, .vocab = vocab};
    pq_pool_run(pool, n, diverge_row, &d);
    for (int r = 0; r < n; r++)
        if (!isfinite(out[r].kl))
            return pq_fail(err, PQ_EINVAL, "the %s logits of row %d are not finite",
                           isfinite(out[r].p_best) ? "second" : "first", r);
    return PQ_OK;
}
