#include "fidelity.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 128 }; /* tokens of one call: their logits are in memory for every model */

/* ---- Places ---------------------------------------------------------------------------------- */

static int first_place(const struct pq_trace *t) {
    return t->prompt > 2 ? t->prompt : 2;
}

static enum pq_fidelity_part part_at(const struct pq_trace *t, int at) {
    if (t->mode == PQ_TRACE_TEXT)
        return PQ_FIDELITY_TEXT;
    return at < t->answer ? PQ_FIDELITY_THINKING : PQ_FIDELITY_ANSWER;
}

static enum pq_status list_places(struct pq_fidelity *f, struct pq_err *err) {
    size_t room = 0;
    for (int i = 0; i < f->traces->n; i++)
        room += (size_t)f->traces->trace[i].n;
    f->place = calloc(room, sizeof *f->place);
    f->divergence = calloc((size_t)f->models, sizeof *f->divergence);
    bool good = f->place && f->divergence;
    for (int m = 0; m < f->models && good; m++)
        good = (f->divergence[m] = calloc(room, sizeof **f->divergence)) != NULL;
    if (!good)
        return pq_refuse(err, PQ_ENOMEM, "no memory for %zu predictions", room);
    for (int i = 0; i < f->traces->n; i++) {
        const struct pq_trace *t = &f->traces->trace[i];
        for (int at = first_place(t); at < t->n; at++)
            f->place[f->n++] = (struct pq_place){i, at, t->mode, part_at(t, at)};
    }
    return f->n ? PQ_OK : pq_refuse(err, PQ_EINVAL, "there is no token to predict");
}

void pq_fidelity_free(struct pq_fidelity *fidelity) {
    for (int m = 0; fidelity->divergence && m < fidelity->models; m++)
        free(fidelity->divergence[m]);
    free(fidelity->divergence);
    free(fidelity->place);
    *fidelity = (struct pq_fidelity){0};
}

/* ---- Running --------------------------------------------------------------------------------- */

struct run {
    struct pq_fidelity *f;
    const struct pq_engine *engines; /* [1 + models] */
    struct pq_context **ctx;         /* [1 + models] */
    float *reference, *logits;       /* [CHUNK][vocab] */
    struct pq_pool *pool;
    int vocab, done;
};

static enum pq_status open_run(struct run *r, struct pq_err *err) {
    int longest = 1, models = r->f->models;
    for (int i = 0; i < r->f->traces->n; i++)
        longest = r->f->traces->trace[i].n > longest ? r->f->traces->trace[i].n : longest;
    struct pq_context_options options = {
        .sequences = 1, .positions = longest, .batch = longest < CHUNK ? longest : CHUNK};
    r->vocab = r->engines[0].config->vocab;
    r->ctx = calloc((size_t)models + 1, sizeof *r->ctx);
    r->reference = malloc((size_t)CHUNK * (size_t)r->vocab * sizeof *r->reference);
    r->logits = malloc((size_t)CHUNK * (size_t)r->vocab * sizeof *r->logits);
    if (!r->ctx || !r->reference || !r->logits)
        return pq_refuse(err, PQ_ENOMEM, "no memory for the logits of %d tokens", CHUNK);
    enum pq_status status = PQ_OK;
    for (int m = 0; m <= models && status == PQ_OK; m++)
        status = pq_context_open(&r->ctx[m], r->engines[m].model, r->pool, &options, err);
    return status;
}

static void close_run(struct run *r) {
    for (int m = 0; r->ctx && m <= r->f->models; m++)
        pq_context_close(r->ctx[m]);
    free(r->ctx);
    free(r->reference);
    free(r->logits);
}

/* The same tokens through every model; the logits that are wanted, which predict targets, are
 * compared. */
static enum pq_status compare_chunk(struct run *r, const struct pq_feed *feed,
                                    const int32_t *targets, struct pq_err *err) {
    enum pq_status status = pq_forward(r->ctx[0], feed, 1, r->reference, err);
    for (int m = 0; m < r->f->models && status == PQ_OK; m++) {
        status = pq_forward(r->ctx[m + 1], feed, 1, r->logits, err);
        if (status == PQ_OK)
            status = pq_diverge(r->f->divergence[m] + r->done, r->reference, r->logits,
                                feed->n_logits, r->vocab, targets, r->pool, err);
    }
    r->done += feed->n_logits;
    return status;
}

static enum pq_status compare_trace(struct run *r, const struct pq_trace *t, struct pq_err *err) {
    enum pq_status status = PQ_OK;
    int first = first_place(t) - 1; /* the token whose logits are the first to be compared */
    for (int m = 0; m <= r->f->models; m++)
        pq_sequence_truncate(r->ctx[m], 0, 0);
    /* The last token predicts nothing that is known. */
    for (int at = 0; at < t->n - 1 && status == PQ_OK; at += CHUNK) {
        int end = at + CHUNK < t->n - 1 ? at + CHUNK : t->n - 1;
        int from = first > at ? first : at;
        struct pq_feed feed = {.n = end - at, .tokens = t->ids + at};
        feed.n_logits = end > from ? end - from : 0;
        status = compare_chunk(r, &feed, t->ids + end - feed.n_logits + 1, err);
    }
    return status;
}

enum pq_status pq_fidelity_measure(struct pq_fidelity *out, const struct pq_engine *engines,
                                   int models, const struct pq_traces *traces, struct pq_pool *pool,
                                   struct pq_progress *progress, struct pq_err *err) {
    struct pq_fidelity f = {.traces = traces, .models = models};
    struct run r = {.f = &f, .engines = engines, .pool = pool};
    enum pq_status status = list_places(&f, err);
    if (status == PQ_OK)
        status = open_run(&r, err);
    for (int i = 0; i < traces->n && status == PQ_OK; i++) {
        status = compare_trace(&r, &traces->trace[i], err);
        if (status == PQ_OK &&
            !pq_progress_step(progress, "comparing", (uint64_t)i + 1, (uint64_t)traces->n))
            status = pq_refuse(err, PQ_ECANCELLED, "stopped");
    }
    close_run(&r);
    if (status == PQ_OK)
        *out = f;
    else
        pq_fidelity_free(&f);
    return status;
}

/* ---- Summaries ------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum pq_status pq_fidelity_summarize(struct pq_fidelity_summary *out,
                                     const struct pq_fidelity *fidelity, int model, int mode,
                                     int part, struct pq_err *err) {
    struct pq_fidelity_summary s = {0};
    double kl = 0, drop = 0, reference_loss = 0, loss = 0;
    double *kls = malloc((size_t)fidelity->n * sizeof *kls);
    if (!kls)
        return pq_refuse(err, PQ_ENOMEM, "no memory to sum up %d predictions", fidelity->n);
    for (int i = 0; i < fidelity->n; i++) {
        const struct pq_place *p = &fidelity->place[i];
        const struct pq_divergence *d = &fidelity->divergence[model][i];
        if ((mode >= 0 && (int)p->mode != mode) || (part >= 0 && (int)p->part != part))
            continue;
        kls[s.n++] = d->kl;
        kl += d->kl;
        drop += d->p_best - d->q_best;
        reference_loss += d->p_loss;
        loss += d->q_loss;
        s.flips += d->p_top != d->q_top;
    }
    if (s.n) {
        qsort(kls, (size_t)s.n, sizeof *kls, by_size);
        s.kl_p99 = kls[(int)ceil(0.99 * s.n) - 1];
        s.kl_max = kls[s.n - 1];
        s.kl_mean = kl / s.n;
        s.top_drop = drop / s.n;
        s.agreement = 1 - (double)s.flips / s.n;
        s.reference_ppl = exp(reference_loss / s.n);
        s.ppl = exp(loss / s.n);
    }
    free(kls);
    *out = s;
    return PQ_OK;
}

const char *pq_fidelity_part_name(enum pq_fidelity_part part) {
    static const char *const names[] = {"text", "thinking", "answer"};
    return names[part];
}
