/* sample.c - the next token from logits. */
#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct candidate {
    float logit;
    int32_t id;
};

struct pq_sampler {
    struct pq_sampler_options options;
    int vocab;
    uint64_t state;
    float *logits;                /* [vocab], with the penalty */
    struct candidate *candidates; /* [vocab] */
};

static enum pq_status check(const struct pq_sampler_options *o, int vocab, struct pq_err *err) {
    if (!(o->temperature >= 0 && o->temperature <= 1000))
        return pq_fail(err, PQ_EINVAL, "temperature must be 0 to 1000, not %g", o->temperature);
    if (o->top_k < 0)
        return pq_fail(err, PQ_EINVAL, "top_k must not be negative, but is %d", o->top_k);
    if (!(o->top_p >= 0 && o->top_p <= 1))
        return pq_fail(err, PQ_EINVAL, "top_p must be 0 to 1, not %g", o->top_p);
    if (!(o->repetition_penalty >= 0.001f && o->repetition_penalty <= 1000))
        return pq_fail(err, PQ_EINVAL, "repetition_penalty must be 0.001 to 1000, not %g",
                       o->repetition_penalty);
    if (vocab < 1)
        return pq_fail(err, PQ_EINVAL, "a vocabulary of %d tokens", vocab);
    return PQ_OK;
}

enum pq_status pq_sampler_open(struct pq_sampler **out, int vocab,
                               const struct pq_sampler_options *options, struct pq_err *err) {
    PQ_TRY(check(options, vocab, err));
    struct pq_sampler *s = calloc(1, sizeof *s);
    if (s) {
        s->logits = malloc((size_t)vocab * sizeof *s->logits);
        s->candidates = malloc((size_t)vocab * sizeof *s->candidates);
    }
    if (!s || !s->logits || !s->candidates) {
        pq_sampler_close(s);
        return pq_fail(err, PQ_ENOMEM, "out of memory for sampling from %d tokens", vocab);
    }
    s->options = *options;
    s->vocab = vocab;
    s->state = options->seed;
    *out = s;
    return PQ_OK;
}

void pq_sampler_close(struct pq_sampler *sampler) {
    if (!sampler)
        return;
    free(sampler->logits);
    free(sampler->candidates);
    free(sampler);
}

/* SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), as a number in [0, 1). */
static double uniform(struct pq_sampler *s) {
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static int32_t greedy(const float *logits, int vocab) {
    int32_t best = 0;
    for (int32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i])))
            best = i;
    return best;
}

/* Once for each id of the history, however often it is there. */
static void penalize(float *adjusted, const float *logits, int vocab, const int32_t *history, int n,
                     float penalty) {
    for (int i = 0; i < n; i++) {
        int32_t id = history[i];
        if (id >= 0 && id < vocab)
            adjusted[id] = logits[id] > 0 ? logits[id] / penalty : logits[id] * penalty;
    }
}

/* Higher logits first, then lower ids: an order that no sort can upset. */
static int by_logit(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* What an id weighs beside the likeliest one. */
static double weight(const struct pq_sampler *s, float logit, float top) {
    return exp((double)(logit - top) / s->options.temperature);
}

/* The ids that can be drawn, best first, and what top-p is a share of: *sum, the weights of those
 * that top-k leaves.  Without top-k and top-p all can be drawn, in any order; with top-p alone
 * those below (1 - p) / vocab times the sum are left out of the sort: all of them together weigh
 * less than what top-p drops.  Logits that are not numbers are left out. */
static int collect(struct pq_sampler *s, const float *logits, float top, double *sum) {
    const struct pq_sampler_options *o = &s->options;
    float floor = -INFINITY;
    *sum = 0;
    for (int i = 0; i < s->vocab; i++)
        if (!isnan(logits[i]))
            *sum += weight(s, logits[i], top);
    if (o->top_k == 0 && o->top_p < 1)
        floor = top + o->temperature * (float)log(*sum * (1 - o->top_p) / s->vocab);
    int n = 0;
    for (int32_t i = 0; i < s->vocab; i++)
        if (logits[i] >= floor)
            s->candidates[n++] = (struct candidate){logits[i], i};
    if (o->top_k > 0 || o->top_p < 1)
        qsort(s->candidates, (size_t)n, sizeof *s->candidates, by_logit);
    if (o->top_k == 0 || o->top_k >= n)
        return n;
    *sum = 0;
    for (int i = 0; i < o->top_k; i++)
        *sum += weight(s, s->candidates[i].logit, top);
    return o->top_k;
}

/* top-k, then top-p: the fewest best candidates whose probabilities reach p (Holtzman et al.,
 * arXiv:1904.09751 eq. 2), then a draw among them. */
static int32_t draw(struct pq_sampler *s, const float *logits) {
    int32_t best = greedy(logits, s->vocab);
    float top = logits[best];
    if (!isfinite(top))
        return best;
    double sum, kept = 0;
    int n = collect(s, logits, top, &sum), last = 0;
    const struct candidate *c = s->candidates;
    for (int i = 0; i < n; i++) {
        kept += weight(s, c[i].logit, top);
        last = i;
        if (s->options.top_p < 1 && kept >= s->options.top_p * sum)
            break;
    }
    double left = uniform(s) * kept;
    for (int i = 0; i < last; i++) {
        left -= weight(s, c[i].logit, top);
        if (left < 0)
            return c[i].id;
    }
    return c[last].id;
}

int32_t pq_sample(struct pq_sampler *sampler, const float *logits, const int32_t *history, int n) {
    if (sampler->options.repetition_penalty != 1) {
        memcpy(sampler->logits, logits, (size_t)sampler->vocab * sizeof *logits);
        penalize(sampler->logits, logits, sampler->vocab, history, n,
                 sampler->options.repetition_penalty);
        logits = sampler->logits;
    }
    if (sampler->options.temperature == 0)
        return greedy(logits, sampler->vocab);
    return draw(sampler, logits);
}
