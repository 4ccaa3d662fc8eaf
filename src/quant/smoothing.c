#include "quant/smoothing.h"

#include "quant/rounded.h"
#include "quant/smooth.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 512 /* of weights that a search looks at, evenly apart */ };

/* One layer's search. */
struct search {
    const struct pq_smoothing *given;
    const struct pq_config *config;
    int number;            /* of the layer */
    struct pq_layer layer; /* in full precision, its linears owned */
    struct pq_sample sample;
    float *x;        /* owned: the streams before the layer */
    float *rows;     /* owned [ROWS][k] weights */
    float *most, *s; /* owned [k]: of the weights; the scales */
    int n;           /* rows so far */
};

/* ---- A stage --------------------------------------------------------------------------------- */

/* The stage's linears in full precision, their largest weights and some of their rows. */
static enum pq_status read_stage(struct search *s, const struct pq_stage *stage,
                                 struct pq_err *err) {
    const struct pq_smoothing *g = s->given;
    const struct pq_model *model = &g->moments->stream->model;
    struct pq_pool *pool = g->moments->workspace.pool;
    size_t k = (size_t)pq_linear_shape_of(s->config, stage->first).k;
    int all = 0, row = 0;
    for (int i = 0; i < stage->n; i++)
        all += pq_linear_shape_of(s->config, stage->first + (enum pq_linear_name)i).n;
    int step = (all + ROWS - 1) / ROWS;
    memset(s->most, 0, k * sizeof *s->most);
    s->n = 0;
    for (int i = 0; i < stage->n; i++) {
        enum pq_linear_name which = stage->first + (enum pq_linear_name)i;
        int n = pq_linear_shape_of(s->config, which).n;
        PQ_TRY(pq_source_weights(g->source, s->number, which, pool, g->w, err));
        PQ_TRY(pq_source_bias(g->source, s->number, which, g->bias, err));
        PQ_TRY(pq_linear_from_floats(pq_layer_linear(&s->layer, which), model->ops, model->fp, g->w,
                                     n, (int)k, g->bias, pool, err));
        pq_smooth_most(s->most, g->w, n, (int)k);
        for (int j = 0; j < n; j++, row++)
            if (row % step == 0)
                memcpy(s->rows + (size_t)s->n++ * k, g->w + (size_t)j * k, k * sizeof *g->w);
    }
    return PQ_OK;
}

/* What one row of the sample's length stands for: H's is blended to a mean of all weights. */
static double tokens_of(const struct search *s, int k) {
    double squares = 0, mean = pq_hessian_mean(s->given->moments->h, k);
    for (size_t i = 0; i < (size_t)s->sample.n * (size_t)k; i++)
        squares += (double)s->sample.rows[i] * s->sample.rows[i];
    return squares > 0 ? mean * k * s->sample.n / squares : 0;
}

/* The scales of the stage's input to where the transform takes them from. */
static void set_scales(const struct search *s, enum pq_input input, int k) {
    const struct pq_scales *to = &s->given->source->options.scales[s->number];
    const struct pq_config *c = s->config;
    int width = c->head_dim, group = c->heads / c->kv_heads;
    for (int i = 0; input == PQ_INPUT_O && i < c->kv_heads * width; i++)
        to->o[i] = s->s[i / width * group * width + i % width];
    float *whole = input == PQ_INPUT_QKV    ? to->qkv
                   : input == PQ_INPUT_MLP  ? to->mlp
                   : input == PQ_INPUT_DOWN ? to->down
                                            : NULL;
    if (whole)
        memcpy(whole, s->s, (size_t)k * sizeof *whole);
}

/* In 4 bits as soon as one linear of the stage is, since that is where scales matter. */
static enum pq_scheme scheme_of(const struct search *s, const struct pq_stage *stage) {
    enum pq_scheme scheme = PQ_SCHEME_W8A8;
    for (int i = 0; i < stage->n && scheme != PQ_SCHEME_W4A8; i++) {
        enum pq_linear_name which = stage->first + (enum pq_linear_name)i;
        scheme =
            pq_recipe_scheme(s->given->recipe, pq_linear_tensor(s->number, which, ".weight").s);
    }
    return scheme;
}

static enum pq_status search_stage(struct search *s, const struct pq_stage *stage,
                                   struct pq_err *err) {
    const struct pq_smoothing *g = s->given;
    const struct pq_config *c = s->config;
    int k = pq_linear_shape_of(c, stage->first).k;
    PQ_TRY(read_stage(s, stage, err));
    PQ_TRY(pq_moments_gather(g->moments, &s->layer, stage->input, &s->sample, err));
    struct pq_smooth smooth = {.ws = &g->moments->workspace,
                               .k = k,
                               .scheme = scheme_of(s, stage),
                               .group = g->recipe->group,
                               .h = g->moments->h,
                               .tokens = tokens_of(s, k),
                               .x = s->sample.rows,
                               .m = s->sample.n,
                               .w = s->rows,
                               .n = s->n};
    if (smooth.tokens > 0) {
        float alpha;
        struct pq_smooth_loss loss;
        if (stage->input == PQ_INPUT_O) {
            pq_smooth_tie(s->sample.most, c->heads, c->kv_heads, c->head_dim);
            pq_smooth_tie(s->most, c->heads, c->kv_heads, c->head_dim);
        }
        PQ_TRY(pq_smooth_search(&smooth, s->sample.most, s->most, s->s, &alpha, &loss, err));
        set_scales(s, stage->input, k);
    }
    pq_stream_pass(g->moments->stream, stage->input, &s->layer);
    return PQ_OK;
}

/* ---- A layer --------------------------------------------------------------------------------- */

static enum pq_status search_layer(struct search *s, struct pq_err *err) {
    struct pq_stream *stream = s->given->moments->stream;
    size_t bytes =
        (size_t)stream->first[stream->sequences] * (size_t)s->config->hidden * sizeof *stream->x;
    PQ_TRY(pq_source_norms(s->given->source, s->number, s->given->norms, &s->layer, err));
    memcpy(s->x, stream->x, bytes);
    enum pq_status status = PQ_OK;
    for (int i = 0; i < PQ_STAGES && status == PQ_OK; i++)
        status = search_stage(s, &pq_stages[i], err);
    memcpy(stream->x, s->x, bytes);
    return status;
}

enum pq_status pq_smoothing_find(const struct pq_smoothing *smoothing, int layer,
                                 struct pq_err *err) {
    const struct pq_stream *stream = smoothing->moments->stream;
    struct search s = {.given = smoothing, .config = &stream->model.config, .number = layer};
    size_t k = (size_t)pq_largest_linear(s.config).k;
    size_t tokens = (size_t)stream->first[stream->sequences];
    s.x = malloc(tokens * (size_t)s.config->hidden * sizeof *s.x);
    s.rows = malloc(ROWS * k * sizeof *s.rows);
    s.most = malloc(k * sizeof *s.most);
    s.s = malloc(k * sizeof *s.s);
    s.sample = (struct pq_sample){.rows = malloc(PQ_SAMPLE * k * sizeof(float)),
                                  .most = malloc(k * sizeof(float))};
    enum pq_status status = s.x && s.rows && s.most && s.s && s.sample.rows && s.sample.most
                                ? search_layer(&s, err)
                                : pq_fail(err, PQ_ENOMEM, "out of memory for the scales of inputs");
    for (int i = 0; i < PQ_LINEARS; i++)
        pq_linear_release(pq_layer_linear(&s.layer, (enum pq_linear_name)i));
    free(s.sample.most);
    free(s.sample.rows);
    free(s.s);
    free(s.most);
    free(s.rows);
    free(s.x);
    return status;
}
