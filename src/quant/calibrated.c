#include "quant/calibrated.h"

#include "quant/embedding.h"
#include "quant/gptq.h"
#include "quant/moments.h"
#include "quant/smoothing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 512, /* of weights that are rounded in one call */
    SWEEPS = 2, /* of coordinate descent: more gain next to nothing */
};

static const float DAMPING = 0.01f; /* Frantar et al., arXiv:2210.17323 section 3.3 */

/* How far weights follow the full-precision model's inputs (target.h): as far as GPTAQ goes.  All
 * the way fits the calibration's tokens too closely (docs/results.md). */
static const float ALPHA = 0.25f;

struct pq_calibration {
    const struct pq_transform *source;
    const struct pq_recipe *recipe;
    struct pq_pool *pool;
    struct pq_stream *stream;
    struct pq_exact exact; /* owned; without a stream where the recipe does not look at it */
    struct pq_moments_mode modes[PQ_TRACE_MODES]; /* [n_modes], ranges of the stream */
    int n_modes;
    bool *skip; /* owned [tokens]: BOS */
    struct pq_moments moments;
    float *w, *bias;       /* owned: of the largest linear, of the most outputs */
    float *norms;          /* owned, pq_source_norms_size */
    struct pq_layer layer; /* the linears that are rounded already, owned */
    struct pq_calibration_report
        report;   /* loss is the sum of errors, and masked_share that of inputs */
    double power; /* of the outputs */
};

static struct pq_linear_shape shape_of(const struct pq_calibration *c, enum pq_linear_name which) {
    return pq_linear_shape_of(&c->stream->model.config, which);
}

/* ---- A layer --------------------------------------------------------------------------------- */

static void forget_layer(struct pq_calibration *c) {
    for (int i = 0; i < PQ_LINEARS; i++) {
        pq_linear_release(pq_layer_linear(&c->layer, (enum pq_linear_name)i));
        pq_linear_release(pq_layer_linear(&c->exact.layer, (enum pq_linear_name)i));
    }
}

/* The layer's norms, and before that its scales where the recipe searches for them: a run that goes
 * on with an earlier one's layers finds the same again. */
static enum pq_status begin_layer(struct pq_calibration *c, int layer, struct pq_err *err) {
    struct pq_smoothing smoothing = {.source = c->source,
                                     .recipe = c->recipe,
                                     .moments = &c->moments,
                                     .w = c->w,
                                     .bias = c->bias,
                                     .norms = c->norms};
    forget_layer(c);
    if (c->recipe->smooth)
        PQ_TRY(pq_smoothing_find(&smoothing, layer, err));
    PQ_TRY(pq_source_norms(c->source, layer, c->norms, &c->layer, err));
    c->exact.layer = c->layer; /* the same norms, and no linears yet */
    return PQ_OK;
}

/* Put c->w, a linear's weights, into the full-precision layer. */
static enum pq_status install_exact(struct pq_calibration *c, int layer, enum pq_linear_name which,
                                    struct pq_err *err) {
    struct pq_linear_shape shape = shape_of(c, which);
    PQ_TRY(pq_source_bias(c->source, layer, which, c->bias, err));
    return pq_linear_from_floats(pq_layer_linear(&c->exact.layer, which), c->stream->model.ops,
                                 c->stream->model.fp, c->w, shape.n, shape.k, c->bias, c->pool,
                                 err);
}

/* Take the streams past the linears of an input. */
static void pass(struct pq_calibration *c, enum pq_input input) {
    pq_stream_pass(c->stream, input, &c->layer);
    if (c->exact.stream)
        pq_stream_pass(c->exact.stream, input, &c->exact.layer);
}

/* Put a rounded linear into the layer. */
static enum pq_status install(struct pq_calibration *c, int layer, enum pq_linear_name which,
                              const struct pq_rounded *rounded, struct pq_err *err) {
    PQ_TRY(pq_source_bias(c->source, layer, which, c->bias, err));
    return pq_linear_from_rounded(pq_layer_linear(&c->layer, which), c->stream->model.ops, rounded,
                                  c->bias, c->pool, err);
}

/* Round the rows of c->w on the moments. */
static enum pq_status round_rows(struct pq_calibration *c, const struct pq_gptq *gptq,
                                 struct pq_rounded *r, struct pq_err *err) {
    double errors[ROWS], powers[ROWS];
    size_t k = (size_t)r->k, groups = (size_t)r->groups;
    for (int first = 0; first < r->n; first += ROWS) {
        size_t at = (size_t)first;
        int n = r->n - first < ROWS ? r->n - first : ROWS;
        struct pq_rounded_rows out = {.q = r->q + at * k,
                                      .multipliers = groups ? r->multiplier + at * groups : NULL,
                                      .scales = r->scale + first,
                                      .errors = errors,
                                      .powers = powers};
        PQ_TRY(pq_gptq_rows(gptq, c->w + at * k, n, &out, err));
        for (int i = 0; i < n; i++) {
            c->report.loss += errors[i];
            c->power += powers[i];
        }
    }
    return PQ_OK;
}

static enum pq_status round_linear(struct pq_calibration *c, int layer, enum pq_linear_name which,
                                   const struct pq_factor *factor, struct pq_rounded *out,
                                   struct pq_err *err) {
    struct pq_linear_shape shape = shape_of(c, which);
    enum pq_scheme scheme =
        pq_recipe_scheme(c->recipe, pq_linear_tensor(layer, which, ".weight").s);
    int group = scheme == PQ_SCHEME_W4A8 ? c->recipe->group : PQ_GROUP_CHANNEL;
    PQ_TRY(pq_source_weights(c->source, layer, which, c->pool, c->w, err));
    if (c->exact.stream)
        PQ_TRY(install_exact(c, layer, which, err));
    PQ_TRY(pq_rounded_open(out, scheme, shape.n, shape.k, group, err));
    struct pq_gptq gptq = {.ws = &c->moments.workspace,
                           .h = c->moments.h,
                           .factor = factor,
                           .cross = c->moments.cross,
                           .alpha = ALPHA,
                           .k = shape.k,
                           .scheme = scheme,
                           .group = group,
                           .sweeps = c->recipe->refine ? SWEEPS : 0,
                           .refit = c->recipe->refine};
    PQ_TRY(round_rows(c, &gptq, out, err));
    /* What is run is what the file will say. */
    if (c->recipe->packed && out->groups)
        PQ_TRY(pq_rounded_pack(out, err));
    return install(c, layer, which, out, err);
}

/* Round the linears of a stage, whose moments have been gathered. */
static enum pq_status round_stage(struct pq_calibration *c, int layer, const struct pq_stage *stage,
                                  struct pq_rounded *rounded, struct pq_progress *progress,
                                  struct pq_err *err) {
    struct pq_factor factor = {0};
    int k = shape_of(c, stage->first).k;
    enum pq_status status = PQ_OK;
    if (c->recipe->gptq)
        status =
            pq_factor_open(&factor, &c->moments.workspace, c->moments.h, k, DAMPING, true, err);
    bool factored = c->recipe->gptq && status == PQ_OK;
    if (status == PQ_EFORMAT) /* the inputs are such that nothing is better than nearest */
        status = PQ_OK;
    for (int i = 0; i < stage->n && status == PQ_OK; i++) {
        enum pq_linear_name which = stage->first + (enum pq_linear_name)i;
        status = round_linear(c, layer, which, factored ? &factor : NULL, &rounded[which], err);
        if (status == PQ_OK)
            status = pq_progress_add(progress, pq_linear_tensor(layer, which, ".weight").s, 0, err);
    }
    c->report.nearest += c->recipe->gptq && !factored ? stage->n : 0;
    pq_factor_close(&factor);
    return status;
}

/* What the moments of a layer's input have left out. */
static void note_masked(struct pq_calibration *c, int layer, enum pq_linear_name first) {
    double share = c->moments.masked_share;
    c->report.inputs++;
    c->report.rows += c->moments.seen;
    c->report.massive += c->moments.massive;
    c->report.masked_share += share;
    if (share <= c->report.worst_share)
        return;
    struct pq_name name = pq_linear_tensor(layer, first, ".weight");
    size_t prefix = strlen("model."), suffix = strlen(".weight");
    c->report.worst_share = share;
    snprintf(c->report.worst, sizeof c->report.worst, "%.*s",
             (int)(strlen(name.s) - prefix - suffix), name.s + prefix);
}

enum pq_status pq_calibration_round(struct pq_calibration *c, int layer, struct pq_rounded *rounded,
                                    struct pq_progress *progress, struct pq_err *err) {
    PQ_TRY(begin_layer(c, layer, err));
    for (int i = 0; i < PQ_STAGES; i++) {
        PQ_TRY(pq_moments_gather(&c->moments, &c->layer, pq_stages[i].input, NULL, err));
        note_masked(c, layer, pq_stages[i].first);
        PQ_TRY(round_stage(c, layer, &pq_stages[i], rounded, progress, err));
        pass(c, pq_stages[i].input);
    }
    return PQ_OK;
}

enum pq_status pq_calibration_follow(struct pq_calibration *c, int layer,
                                     const struct pq_rounded *rounded, struct pq_err *err) {
    PQ_TRY(begin_layer(c, layer, err));
    for (int i = 0; i < PQ_LINEARS; i++) {
        enum pq_linear_name which = (enum pq_linear_name)i;
        PQ_TRY(install(c, layer, which, &rounded[i], err));
        if (c->exact.stream) {
            PQ_TRY(pq_source_weights(c->source, layer, which, c->pool, c->w, err));
            PQ_TRY(install_exact(c, layer, which, err));
        }
    }
    for (int i = 0; i < PQ_STAGES; i++)
        pass(c, pq_stages[i].input);
    return PQ_OK;
}

struct pq_calibration_report pq_calibration_report(const struct pq_calibration *c) {
    struct pq_calibration_report report = c->report;
    report.masked_share /= report.inputs ? report.inputs : 1;
    report.loss /= c->power > 0 ? c->power : 1;
    return report;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* The traces by mode: the stream's sequences are in this order. */
static int sort_by_mode(struct pq_calibration *c, const struct pq_traces *traces,
                        const struct pq_trace **sorted) {
    int n = 0;
    for (int mode = 0; mode < PQ_TRACE_MODES; mode++) {
        int first = n;
        float weight = c->recipe->mode_weight[mode];
        for (int i = 0; i < traces->n && weight > 0; i++)
            if (traces->trace[i].mode == (enum pq_trace_mode)mode)
                sorted[n++] = &traces->trace[i];
        if (n > first)
            c->modes[c->n_modes++] = (struct pq_moments_mode){{first, n - first}, weight};
    }
    return n;
}

static enum pq_status open_stream(struct pq_calibration *c, const struct pq_config *config,
                                  const struct pq_trace **sorted, int n,
                                  const struct pq_safetensors *embedding, struct pq_err *err) {
    int *lengths = malloc((size_t)n * sizeof *lengths);
    if (!lengths)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d sequences", n);
    for (int i = 0; i < n; i++)
        lengths[i] = sorted[i]->n;
    enum pq_status status =
        pq_stream_open(&c->stream, config, PQ_KIND_BF16, lengths, n, c->pool, err);
    if (status == PQ_OK && c->recipe->gptaq)
        status = pq_stream_open(&c->exact.stream, config, PQ_KIND_BF16, lengths, n, c->pool, err);
    free(lengths);
    PQ_TRY(status);
    c->skip = calloc((size_t)c->stream->first[n], sizeof *c->skip);
    if (!c->skip)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d tokens", c->stream->first[n]);
    c->report.tokens = c->stream->first[n];
    for (int i = 0; i < n; i++) {
        int at = c->stream->first[i];
        c->skip[at] = config->bos >= 0 && sorted[i]->ids[0] == config->bos;
        c->report.bos += c->skip[at];
        PQ_TRY(pq_embed_file(embedding, sorted[i]->ids, sorted[i]->n, config->hidden,
                             c->stream->x + (size_t)at * (size_t)config->hidden, err));
    }
    if (c->exact.stream)
        memcpy(c->exact.stream->x, c->stream->x,
               (size_t)c->stream->first[n] * (size_t)config->hidden * sizeof *c->stream->x);
    return PQ_OK;
}

static enum pq_status allocate(struct pq_calibration *c, const struct pq_config *config,
                               struct pq_err *err) {
    struct pq_largest most = pq_largest_linear(config);
    c->w = malloc(most.weights * sizeof *c->w);
    c->bias = malloc((size_t)most.n * sizeof *c->bias);
    c->norms = malloc(pq_source_norms_size(config) * sizeof *c->norms);
    if (!c->w || !c->bias || !c->norms)
        return pq_fail(err, PQ_ENOMEM, "out of memory for a layer's weights");
    return pq_moments_open(&c->moments, c->stream, c->modes, c->n_modes, c->skip,
                           c->exact.stream ? &c->exact : NULL, most.k, c->pool, err);
}

static enum pq_status open(struct pq_calibration *c, const struct pq_config *config,
                           const struct pq_traces *traces, const struct pq_safetensors *embedding,
                           struct pq_err *err) {
    const struct pq_trace **sorted = calloc((size_t)traces->n + 1, sizeof *sorted);
    if (!sorted)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d traces", traces->n);
    int n = sort_by_mode(c, traces, sorted);
    enum pq_status status =
        n > 0 ? open_stream(c, config, sorted, n, embedding, err)
              : pq_fail(err, PQ_EINVAL, "no trace is of a mode whose weight is above 0");
    free(sorted);
    return status == PQ_OK ? allocate(c, config, err) : status;
}

enum pq_status pq_calibration_open(struct pq_calibration **out, const struct pq_transform *source,
                                   const struct pq_config *config, const struct pq_recipe *recipe,
                                   const struct pq_traces *traces,
                                   const struct pq_safetensors *embedding, struct pq_pool *pool,
                                   struct pq_err *err) {
    struct pq_calibration *c = calloc(1, sizeof *c);
    if (!c)
        return pq_fail(err, PQ_ENOMEM, "out of memory for calibration");
    c->source = source;
    c->recipe = recipe;
    c->pool = pool;
    enum pq_status status = open(c, config, traces, embedding, err);
    if (status == PQ_OK)
        *out = c;
    else
        pq_calibration_close(c);
    return status;
}

void pq_calibration_close(struct pq_calibration *c) {
    if (!c)
        return;
    forget_layer(c);
    pq_moments_close(&c->moments);
    pq_stream_close(c->stream);
    pq_stream_close(c->exact.stream);
    free(c->norms);
    free(c->bias);
    free(c->w);
    free(c->skip);
    free(c);
}
