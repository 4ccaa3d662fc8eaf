/* The scales that are found on tokens in a layer of pangu-mini: they leave the layer's function and
 * the streams as they were. */
#include "quant/smoothing.h"

#include "quant/rounded.h"
#include "quant/scales.h"
#include "tap.h"

#include <math.h>
#include <string.h>

enum { SEQUENCES = 4, TOKENS = 90, HIDDEN = 256, LAYER = 3 };

static const int lengths[SEQUENCES] = {40, 9, 1, 40};
static const struct pq_moments_mode modes[2] = {{{0, 2}, 1.0f}, {{2, 2}, 0.5f}};
static const bool skip[TOKENS] = {[0] = true};
static struct pq_err err;
static struct pq_pool *pool;
static struct pq_checkpoint *ckpt;
static struct pq_stream *stream;
static struct pq_model_scales scales;
static struct pq_transform source;
static float before[TOKENS * HIDDEN], *w, *bias, *norms;

/* Streams that are the same each time. */
static void fill(void) {
    uint32_t state = 1;
    for (int i = 0; i < TOKENS * HIDDEN; i++) {
        state = state * 1664525u + 1013904223u;
        before[i] = (float)(state >> 8) * 0x1p-24f - 0.5f;
    }
    memcpy(stream->x, before, sizeof before);
}

static enum pq_status find(struct pq_pool *with) {
    struct pq_quantize_options options = {
        .scheme = PQ_SCHEME_W8A8, .recipe = PQ_RECIPE_SMOOTH, .group = PQ_GROUP_CHANNEL};
    struct pq_recipe recipe = pq_recipe_make(&options, pq_checkpoint_config(ckpt));
    struct pq_moments moments;
    PQ_TRY(pq_moments_open(&moments, stream, modes, 2, skip, NULL, 768, with, &err));
    struct pq_smoothing smoothing = {&source, &recipe, &moments, w, bias, norms};
    enum pq_status status = pq_smoothing_find(&smoothing, LAYER, &err);
    pq_moments_close(&moments);
    return status;
}

/* Take the streams through the layer as the transform has it; `spoil` doubles one of o's scales
 * between v and o. */
static enum pq_status take_layer(bool spoil) {
    struct pq_layer layer = {0};
    fill();
    PQ_TRY(pq_source_norms(&source, LAYER, norms, &layer, &err));
    for (int i = 0; i < PQ_LINEARS; i++) {
        enum pq_linear_name which = (enum pq_linear_name)i;
        struct pq_linear_shape shape = pq_linear_shape_of(&stream->model.config, which);
        if (spoil && which == PQ_LINEAR_O)
            scales.layers[LAYER].o[5] *= 2;
        PQ_TRY(pq_source_weights(&source, LAYER, which, pool, w, &err));
        PQ_TRY(pq_source_bias(&source, LAYER, which, bias, &err));
        PQ_TRY(pq_linear_from_floats(pq_layer_linear(&layer, which), stream->model.ops, PQ_KIND_F32,
                                     w, shape.n, shape.k, bias, pool, &err));
    }
    for (int i = 0; i < PQ_STAGES; i++)
        pq_stream_pass(stream, pq_stages[i].input, &layer);
    for (int i = 0; i < PQ_LINEARS; i++)
        pq_linear_release(pq_layer_linear(&layer, (enum pq_linear_name)i));
    return PQ_OK;
}

static double difference(const float *want) {
    double most = 0;
    for (int i = 0; i < TOKENS * HIDDEN; i++)
        most = fmax(most, fabs((double)stream->x[i] - want[i]));
    return most;
}

static void test_identity(void) {
    static float want[TOKENS * HIDDEN];
    CHECK_OK(take_layer(false));
    memcpy(want, stream->x, sizeof want);
    fill();
    CHECK_OK(find(pool));
    CHECK(memcmp(stream->x, before, sizeof before) == 0);
    /* What enters q, k and v has no outliers here, and is let be. */
    const struct pq_scales *found = &scales.layers[LAYER], *other = &scales.layers[LAYER - 1];
    CHECK(found->qkv[0] == 1 && found->o[0] != 1 && found->mlp[0] != 1 && found->down[0] != 1);
    CHECK(other->o[0] == 1 && other->mlp[0] == 1 && other->down[0] == 1);
    CHECK_OK(take_layer(false));
    printf("# scaled, the streams are %.1e off\n", difference(want));
    CHECK(difference(want) < 1e-4);
    CHECK_OK(take_layer(true));
    CHECK(difference(want) > 1e-3);
}

static void test_threads(void) {
    enum { K = 768 };
    static float first[K];
    struct pq_pool *one;
    CHECK_OK(pq_pool_open(&one, 1, &err));
    for (int i = 0; i < 2; i++) {
        struct pq_scales *s = &scales.layers[LAYER];
        for (int j = 0; j < HIDDEN; j++) /* as they are before a search */
            s->qkv[j] = s->mlp[j] = 1;
        for (int j = 0; j < stream->model.config.kv_heads * stream->model.config.head_dim; j++)
            s->o[j] = 1;
        for (int j = 0; j < stream->model.config.ffn; j++)
            s->down[j] = 1;
        fill();
        CHECK_OK(find(i ? one : pool));
        CHECK(i == 0 || memcmp(first, s->down, sizeof first) == 0);
        memcpy(first, s->down, sizeof first);
    }
    pq_pool_close(one);
}

static enum pq_status open_all(void) {
    struct pq_transform_options options = {0};
    PQ_TRY(pq_pool_open(&pool, 2, &err));
    PQ_TRY(pq_checkpoint_open(&ckpt, "models/pangu-mini", &err));
    const struct pq_config *config = pq_checkpoint_config(ckpt);
    struct pq_largest most = pq_largest_linear(config);
    w = malloc(most.weights * sizeof *w);
    bias = malloc((size_t)most.n * sizeof *bias);
    norms = malloc(pq_source_norms_size(config) * sizeof *norms);
    PQ_TRY(pq_scales_open(&scales, config, &err));
    options.scales = scales.layers;
    PQ_TRY(pq_transform_open(&source, ckpt, &options, &err));
    return pq_stream_open(&stream, config, PQ_KIND_F32, lengths, SEQUENCES, pool, &err);
}

int main(void) {
    if (open_all() != PQ_OK) {
        printf("# %s\n", err.text);
        return 1;
    }
    RUN(test_identity);
    RUN(test_threads);
    pq_stream_close(stream);
    pq_transform_close(&source);
    pq_scales_close(&scales);
    pq_checkpoint_close(ckpt);
    pq_pool_close(pool);
    free(w);
    free(bias);
    free(norms);
    return tap_done();
}
