/* sample.c - the next token from logits. */
#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_TRY = 64 }; /* of the best ids, where top-p alone says how many can be drawn */

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
    float *weights;               /* [vocab], of ids or candidates: the likeliest has 1 */
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
        s->weights = malloc((size_t)vocab * sizeof *s->weights);
        s->candidates = malloc((size_t)vocab * sizeof *s->candidates);
    }
    if (!s || !s->logits || !s->weights || !s->candidates) {
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
    free(sampler->weights);
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
    float top = -INFINITY;
    for (int32_t i = 0; i < vocab; i++) {
        if (logits[i] > top) {
            best = i;
            top = logits[i];
        }
    }
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

/* ---- The best ids ---------------------------------------------------------------------------- */

/* Lower logits, and among equals higher ids: an order that leaves nothing open. */
static bool worse(const struct candidate *a, const struct candidate *b) {
    return a->logit != b->logit ? a->logit < b->logit : a->id > b->id;
}

/* In the heap c [n] each is worse than the two below it, but c[i] may not be: let it sink. */
static void sink(struct candidate *c, int n, int i) {
    struct candidate sinking = c[i];
    for (int below; (below = 2 * i + 1) < n; i = below) {
        below += below + 1 < n && worse(&c[below + 1], &c[below]);
        if (worse(&sinking, &c[below]))
            break;
        c[i] = c[below];
    }
    c[i] = sinking;
}

/* The k best, or all, into s->candidates, best first; returns how many.  A heap of the best so far
 * whose root is the worst: hardly any of a large vocabulary gets in. */
static int find_best(struct pq_sampler *s, const float *logits, int k) {
    struct candidate *c = s->candidates;
    int n = 0;
    int32_t id = 0;
    for (; id < s->vocab && n < k; id++)
        if (logits[id] > -INFINITY)
            c[n++] = (struct candidate){logits[id], id};
    for (int i = n / 2 - 1; i >= 0; i--)
        sink(c, n, i);
    for (; id < s->vocab; id++) {
        if (logits[id] > c[0].logit) {
            c[0] = (struct candidate){logits[id], id};
            sink(c, n, 0);
        }
    }
    for (int last = n - 1; last > 0; last--) {
        struct candidate worst = c[0];
        c[0] = c[last];
        c[last] = worst;
        sink(c, last, 0);
    }
    return n;
}

/* ---- The draw -------------------------------------------------------------------------------- */

/* exp((logit - top) / temperature), 0 of what is no number. */
static float weigh(const struct pq_sampler *s, float logit, float top) {
    return logit > -INFINITY ? expf((logit - top) / s->options.temperature) : 0;
}

/* s->weights of all ids; returns their sum. */
static double weigh_all(struct pq_sampler *s, const float *logits, float top) {
    double sum = 0;
    for (int i = 0; i < s->vocab; i++)
        sum += s->weights[i] = weigh(s, logits[i], top);
    return sum;
}

/* s->weights of s->candidates [n], in their order; returns their sum. */
static double weigh_best(struct pq_sampler *s, int n, float top) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += s->weights[i] = weigh(s, s->candidates[i].logit, top);
    return sum;
}

/* The fewest of s->weights [n] that reach `enough` together, or n; *sum is what they have. */
static int fewest(const struct pq_sampler *s, int n, double enough, double *sum) {
    *sum = 0;
    for (int i = 0; i < n; i++)
        if ((*sum += s->weights[i]) >= enough)
            return i + 1;
    return n;
}

/* Leave the ids that can be drawn in s->candidates, best first, and return how many: top-k, then
 * top-p, the fewest best whose probabilities reach p (Holtzman et al., arXiv:1904.09751 eq. 2). */
static int keep_best(struct pq_sampler *s, const float *logits, float top, double *sum) {
    const struct pq_sampler_options *o = &s->options;
    if (o->top_k > 0) {
        int n = find_best(s, logits, o->top_k);
        *sum = weigh_best(s, n, top);
        return o->top_p < 1 ? fewest(s, n, o->top_p * *sum, sum) : n;
    }
    double enough = o->top_p * weigh_all(s, logits, top);
    for (int k = FIRST_TRY;; k = k < s->vocab / 8 ? 8 * k : s->vocab) {
        int n = find_best(s, logits, k);
        weigh_best(s, n, top);
        int kept = fewest(s, n, enough, sum);
        if (kept < n || k >= s->vocab)
            return kept;
    }
}

/* An index into s->weights [n] by their shares of their sum. */
static int draw_from(struct pq_sampler *s, int n, double sum) {
    double left = uniform(s) * sum;
    int drawn = 0;
    for (int i = 0; i < n && left >= 0; i++) {
        if (s->weights[i] > 0) {
            left -= s->weights[i];
            drawn = i;
        }
    }
    return drawn;
}

static int32_t draw(struct pq_sampler *s, const float *logits) {
    int32_t best = greedy(logits, s->vocab);
    float top = logits[best];
    double sum;
    if (!isfinite(top))
        return best;
    if (s->options.top_k == 0 && s->options.top_p == 1)
        return draw_from(s, s->vocab, weigh_all(s, logits, top));
    int n = keep_best(s, logits, top, &sum);
    return s->candidates[draw_from(s, n, sum)].id;
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
