#include "fidelity.h"
#include "report.h"

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
    f->worst = calloc((size_t)f->models, sizeof *f->worst);
    bool good = f->place && f->divergence && f->worst;
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
    pq_noise_close(&fidelity->noise);
    free(fidelity->worst);
    free(fidelity->divergence);
    free(fidelity->place);
    *fidelity = (struct pq_fidelity){0};
}

/* ---- Running --------------------------------------------------------------------------------- */

struct run {
    struct pq_fidelity *f;
    const struct pq_engine *engines; /* [1 + models] */
    struct pq_context **ctx;         /* [1 + models] */
    struct pq_noise_watch *watch;    /* [models] */
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
    r->reference = pq_logits_open(CHUNK, r->vocab);
    r->logits = pq_logits_open(CHUNK, r->vocab);
    if (!r->ctx || !r->reference || !r->logits)
        return pq_refuse(err, PQ_ENOMEM, "no memory for the logits of %d tokens", CHUNK);
    enum pq_status status = PQ_OK;
    for (int m = 0; m <= models && status == PQ_OK; m++) {
        options.kv = r->engines[m].kv;
        status = pq_context_open(&r->ctx[m], r->engines[m].model, r->pool, &options, err);
    }
    return status;
}

/* Look into the models where they have one shape. */
static enum pq_status open_noise(struct run *r, struct pq_err *err) {
    const struct pq_config *c = r->engines[0].config;
    for (int m = 1; m <= r->f->models; m++) {
        const struct pq_config *other = r->engines[m].config;
        if (other->hidden != c->hidden || other->layers != c->layers)
            return PQ_OK;
    }
    r->watch = calloc((size_t)r->f->models, sizeof *r->watch);
    if (!r->watch)
        return pq_refuse(err, PQ_ENOMEM, "no memory to look into %d models", r->f->models);
    enum pq_status status =
        pq_noise_open(&r->f->noise, r->f->models, c->layers, c->hidden, CHUNK, err);
    if (status != PQ_OK)
        return status;
    pq_context_watch(r->ctx[0], pq_noise_reference, &r->f->noise);
    for (int m = 0; m < r->f->models; m++) {
        r->watch[m] = (struct pq_noise_watch){&r->f->noise, m};
        pq_context_watch(r->ctx[m + 1], pq_noise_compare, &r->watch[m]);
    }
    return PQ_OK;
}

static void close_run(struct run *r) {
    for (int m = 0; r->ctx && m <= r->f->models; m++)
        pq_context_close(r->ctx[m]);
    free(r->ctx);
    free(r->watch);
    free(r->reference);
    free(r->logits);
}

/* The same tokens through every model; the logits that are wanted, which predict targets, are
 * compared. */
static enum pq_status compare_chunk(struct run *r, const struct pq_feed *feed,
                                    const int32_t *targets, struct pq_err *err) {
    enum pq_status status = pq_forward(r->ctx[0], feed, 1, r->reference, err);
    for (int m = 0; m < r->f->models && status == PQ_OK; m++) {
        struct pq_divergence *d = r->f->divergence[m] + r->done;
        status = pq_forward(r->ctx[m + 1], feed, 1, r->logits, err);
        if (status == PQ_OK)
            status = pq_diverge(d, r->reference, r->logits, feed->n_logits, r->vocab, targets,
                                r->pool, err);
        if (status == PQ_OK)
            pq_worst_take(&r->f->worst[m], r->done, d, r->reference, r->logits, feed->n_logits,
                          r->vocab);
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
        r->f->noise.skip = at == 0;
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
    if (status == PQ_OK)
        status = open_noise(&r, err);
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
