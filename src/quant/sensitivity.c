#include "quant/sensitivity.h"

#include "quant/embedding.h"
#include "quant/rounded.h"
#include "quant/stream.h"

#include <stdlib.h>
#include <string.h>

enum {
    SEQUENCES = 4, /* of a model, from traces that lie evenly apart, modes in turn */
    LENGTH = 96,   /* tokens of a sequence; together enough to rank losses, which differ by orders
                      of magnitude */
};

struct trial {
    const struct pq_transform *source;
    struct pq_pool *pool;
    struct pq_stream *stream; /* the sequences of model 0, the FP one, and of all variants */
    int group;
    int sequences, tokens; /* of one model */
    struct pq_layer layer; /* of the FP model, its linears owned */
    float *w, *bias, *norms;
};

/* The sequences of models first .. first + n - 1; 1 + i is the variant of linear i. */
static struct pq_range models(const struct trial *t, int first, int n) {
    return (struct pq_range){first * t->sequences, n * t->sequences};
}

static size_t hidden_of(const struct trial *t) {
    return (size_t)t->stream->model.config.hidden;
}

/* ---- Layers ---------------------------------------------------------------------------------- */

static void take(struct trial *t, struct pq_range range) {
    pq_stream_attention(t->stream, range, &t->layer);
    pq_stream_output(t->stream, range, &t->layer);
    pq_stream_mlp(t->stream, range, &t->layer);
}

/* c->w and c->bias to panels, as they are or rounded to nearest. */
static enum pq_status make_linear(struct trial *t, struct pq_linear_shape shape, bool rounded,
                                  struct pq_linear *out, struct pq_err *err) {
    if (!rounded)
        return pq_linear_from_floats(out, t->stream->model.ops, t->stream->model.fp, t->w, shape.n,
                                     shape.k, t->bias, t->pool, err);
    struct pq_rounded r;
    PQ_TRY(pq_rounded_open(&r, PQ_SCHEME_W4A8, shape.n, shape.k, t->group, err));
    pq_rounded_nearest(&r, t->w, t->pool);
    enum pq_status status =
        pq_linear_from_rounded(out, t->stream->model.ops, &r, t->bias, t->pool, err);
    pq_rounded_close(&r);
    return status;
}

static enum pq_status read_linear(struct trial *t, int layer, enum pq_linear_name which,
                                  struct pq_err *err) {
    PQ_TRY(pq_source_weights(t->source, layer, which, t->pool, t->w, err));
    return pq_source_bias(t->source, layer, which, t->bias, err);
}

/* The variant of one linear: the FP model's states before the layer, through the layer with that
 * linear rounded. */
static enum pq_status begin_variant(struct trial *t, int layer, enum pq_linear_name which,
                                    struct pq_err *err) {
    struct pq_linear *at = pq_layer_linear(&t->layer, which), exact = *at;
    struct pq_range range = models(t, 1 + layer * PQ_LINEARS + (int)which, 1);
    float *x = t->stream->x + (size_t)t->stream->first[range.first] * hidden_of(t);
    PQ_TRY(read_linear(t, layer, which, err));
    PQ_TRY(make_linear(t, pq_linear_shape_of(&t->stream->model.config, which), true, at, err));
    memcpy(x, t->stream->x, (size_t)t->tokens * hidden_of(t) * sizeof *x);
    take(t, range);
    pq_linear_release(at);
    *at = exact;
    return PQ_OK;
}

static void forget_layer(struct trial *t) {
    for (int i = 0; i < PQ_LINEARS; i++)
        pq_linear_release(pq_layer_linear(&t->layer, (enum pq_linear_name)i));
}

static enum pq_status take_layer(struct trial *t, int layer, struct pq_err *err) {
    const struct pq_config *c = &t->stream->model.config;
    forget_layer(t);
    PQ_TRY(pq_source_norms(t->source, layer, t->norms, &t->layer, err));
    for (int i = 0; i < PQ_LINEARS; i++) {
        enum pq_linear_name which = (enum pq_linear_name)i;
        PQ_TRY(read_linear(t, layer, which, err));
        PQ_TRY(make_linear(t, pq_linear_shape_of(c, which), false,
                           pq_layer_linear(&t->layer, which), err));
    }
    for (int i = 0; i < PQ_LINEARS; i++)
        PQ_TRY(begin_variant(t, layer, (enum pq_linear_name)i, err));
    take(t, models(t, 0, 1 + layer * PQ_LINEARS));
    return PQ_OK;
}

/* ---- Losses ---------------------------------------------------------------------------------- */

/* The FP head: the embedding where it is tied. */
static enum pq_status make_head(struct trial *t, struct pq_linear *head, float *norm,
                                struct pq_err *err) {
    const struct pq_config *c = &t->stream->model.config;
    const char *name = c->tied ? "model.embed_tokens.weight" : "lm_head.weight";
    float *w = malloc((size_t)c->vocab * (size_t)c->hidden * sizeof *w);
    if (!w)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", name);
    enum pq_status status = pq_source_matrix(t->source, name, t->pool, w, err);
    if (status == PQ_OK)
        status = pq_transformed_vector(t->source, "model.norm.weight", norm, err);
    if (status == PQ_OK)
        status = pq_linear_from_floats(head, t->stream->model.ops, t->stream->model.fp, w, c->vocab,
                                       c->hidden, NULL, t->pool, err);
    free(w);
    return status;
}

/* The mean over all tokens but each sequence's first, which has seen nothing. */
static double mean_of(const struct trial *t, const struct pq_divergence *d) {
    double sum = 0;
    for (int s = 0; s < t->sequences; s++)
        for (int i = t->stream->first[s] + 1; i < t->stream->first[s + 1]; i++)
            sum += d[i].kl;
    int counted = t->tokens - t->sequences;
    return counted > 0 ? sum / counted : 0;
}

struct logits {
    struct pq_linear head;
    float *norm, *fp, *variant; /* [hidden], [tokens][vocab] */
    struct pq_divergence *divergence;
};

static enum pq_status compare(struct trial *t, struct logits *l, double *loss,
                              struct pq_progress *progress, struct pq_err *err) {
    const struct pq_config *c = &t->stream->model.config;
    int variants = t->stream->sequences / t->sequences - 1;
    PQ_TRY(make_head(t, &l->head, l->norm, err));
    pq_stream_head(t->stream, models(t, 0, 1), &l->head, l->norm, l->fp);
    for (int i = 0; i < variants; i++) {
        pq_stream_head(t->stream, models(t, 1 + i, 1), &l->head, l->norm, l->variant);
        PQ_TRY(
            pq_diverge(l->divergence, l->fp, l->variant, t->tokens, c->vocab, NULL, t->pool, err));
        loss[i] = mean_of(t, l->divergence);
        PQ_TRY(pq_progress_add(progress, "sensitivity", 0, err));
    }
    return PQ_OK;
}

static enum pq_status find_losses(struct trial *t, double *loss, struct pq_progress *progress,
                                  struct pq_err *err) {
    const struct pq_config *c = &t->stream->model.config;
    size_t size = (size_t)t->tokens * (size_t)c->vocab;
    for (int i = 0; i < pq_checkpoint_config(t->source->ckpt)->layers; i++) {
        PQ_TRY(take_layer(t, i, err));
        PQ_TRY(pq_progress_add(progress, "sensitivity", 0, err));
    }
    forget_layer(t);
    struct logits l = {.norm = malloc((size_t)c->hidden * sizeof *l.norm),
                       .fp = malloc(size * sizeof *l.fp),
                       .variant = malloc(size * sizeof *l.variant),
                       .divergence = malloc((size_t)t->tokens * sizeof *l.divergence)};
    enum pq_status status =
        l.norm && l.fp && l.variant && l.divergence
            ? compare(t, &l, loss, progress, err)
            : pq_fail(err, PQ_ENOMEM, "out of memory for the logits of %d tokens", t->tokens);
    pq_linear_release(&l.head);
    free(l.norm);
    free(l.fp);
    free(l.variant);
    free(l.divergence);
    return status;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* The first trace of the mode, which there is, from `at` on and round to it. */
static const struct pq_trace *next_of(const struct pq_traces *traces, int at, int mode) {
    while ((int)traces->trace[at % traces->n].mode != mode)
        at++;
    return &traces->trace[at % traces->n];
}

/* Traces that lie evenly apart, of modes in turn. */
static void choose(const struct pq_trace *chosen[], int n, const struct pq_traces *traces,
                   const float weight[PQ_TRACE_MODES]) {
    bool there[PQ_TRACE_MODES] = {false};
    int modes[PQ_TRACE_MODES], n_modes = 0;
    for (int i = 0; i < traces->n; i++)
        there[traces->trace[i].mode] = true;
    for (int mode = 0; mode < PQ_TRACE_MODES; mode++)
        if (there[mode] && weight[mode] > 0)
            modes[n_modes++] = mode;
    for (int s = 0; s < n; s++) {
        int at = s * traces->n / n;
        chosen[s] = n_modes ? next_of(traces, at, modes[s % n_modes]) : &traces->trace[at];
    }
}

static enum pq_status open_stream(struct trial *t, const struct pq_config *config,
                                  const struct pq_trace *const chosen[],
                                  const struct pq_safetensors *embedding, struct pq_err *err) {
    int count = 1 + config->layers * PQ_LINEARS;
    int *lengths = malloc((size_t)count * (size_t)t->sequences * sizeof *lengths);
    if (!lengths)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d variants of a model", count);
    for (int i = 0; i < count * t->sequences; i++) {
        int n = chosen[i % t->sequences]->n;
        lengths[i] = n < LENGTH ? n : LENGTH;
    }
    enum pq_status status = pq_stream_open(&t->stream, config, PQ_KIND_BF16, lengths,
                                           count * t->sequences, t->pool, err);
    free(lengths);
    PQ_TRY(status);
    t->tokens = t->stream->first[t->sequences];
    for (int s = 0; s < t->sequences; s++) {
        const int *first = t->stream->first + s;
        PQ_TRY(pq_embed_file(embedding, chosen[s]->ids, first[1] - first[0], config->hidden,
                             t->stream->x + (size_t)first[0] * hidden_of(t), err));
    }
    return PQ_OK;
}

enum pq_status pq_sensitivity(const struct pq_transform *source, const struct pq_config *config,
                              int group, const struct pq_traces *traces,
                              const float mode_weight[PQ_TRACE_MODES],
                              const struct pq_safetensors *embedding, struct pq_pool *pool,
                              struct pq_progress *progress, double *loss, struct pq_err *err) {
    struct trial t = {.source = source, .pool = pool, .group = group};
    const struct pq_trace *chosen[SEQUENCES];
    t.sequences = traces->n < SEQUENCES ? traces->n : SEQUENCES;
    choose(chosen, t.sequences, traces, mode_weight);
    struct pq_largest most = pq_largest_linear(config);
    t.w = malloc(most.weights * sizeof *t.w);
    t.bias = malloc((size_t)most.n * sizeof *t.bias);
    t.norms = malloc(pq_source_norms_size(config) * sizeof *t.norms);
    enum pq_status status = t.w && t.bias && t.norms
                                ? open_stream(&t, config, chosen, embedding, err)
                                : pq_fail(err, PQ_ENOMEM, "out of memory for a layer's weights");
    if (status == PQ_OK)
        status = find_losses(&t, loss, progress, err);
    forget_layer(&t);
    pq_stream_close(t.stream);
    free(t.w);
    free(t.bias);
    free(t.norms);
    return status;
}
