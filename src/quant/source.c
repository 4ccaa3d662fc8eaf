#include "quant/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct pq_stage pq_stages[PQ_STAGES] = {
    {PQ_INPUT_QKV, PQ_LINEAR_Q, 3},
    {PQ_INPUT_O, PQ_LINEAR_O, 1},
    {PQ_INPUT_MLP, PQ_LINEAR_GATE, 2},
    {PQ_INPUT_DOWN, PQ_LINEAR_DOWN, 1},
};

struct pq_largest pq_largest_linear(const struct pq_config *config) {
    struct pq_largest most = {0};
    for (int i = 0; i < PQ_LINEARS; i++) {
        struct pq_linear_shape s = pq_linear_shape_of(config, (enum pq_linear_name)i);
        size_t weights = (size_t)s.n * (size_t)s.k;
        most.weights = weights > most.weights ? weights : most.weights;
        most.n = s.n > most.n ? s.n : most.n;
        most.k = s.k > most.k ? s.k : most.k;
    }
    return most;
}

/* ---- Weights --------------------------------------------------------------------------------- */

struct filling {
    const struct pq_transformed *matrix;
    float *w;
    double *temp; /* [threads][k] */
};

static void fill_row(void *arg, int row, int thread) {
    const struct filling *f = arg;
    size_t k = (size_t)f->matrix->k;
    pq_transformed_row(f->matrix, row, f->w + (size_t)row * k, f->temp + (size_t)thread * k);
}

enum pq_status pq_source_matrix(const struct pq_transform *source, const char *name,
                                struct pq_pool *pool, float *w, struct pq_err *err) {
    struct pq_transformed matrix;
    PQ_TRY(pq_transformed_open(&matrix, source, name, pool, err));
    struct filling f = {.matrix = &matrix, .w = w};
    f.temp = malloc((size_t)pq_pool_threads(pool) * (size_t)matrix.k * sizeof *f.temp);
    if (f.temp)
        pq_pool_run(pool, matrix.n, fill_row, &f);
    pq_transformed_close(&matrix);
    bool filled = f.temp != NULL;
    free(f.temp);
    return filled ? PQ_OK : pq_fail(err, PQ_ENOMEM, "%s: out of memory", name);
}

enum pq_status pq_source_weights(const struct pq_transform *source, int layer,
                                 enum pq_linear_name which, struct pq_pool *pool, float *w,
                                 struct pq_err *err) {
    return pq_source_matrix(source, pq_linear_tensor(layer, which, ".weight").s, pool, w, err);
}

/* ---- Vectors --------------------------------------------------------------------------------- */

enum pq_status pq_source_bias(const struct pq_transform *source, int layer,
                              enum pq_linear_name which, float *bias, struct pq_err *err) {
    struct pq_name name = pq_linear_tensor(layer, which, ".bias");
    if (pq_transform_source(source, name.s))
        return pq_transformed_vector(source, name.s, bias, err);
    int n = pq_linear_shape_of(pq_checkpoint_config(source->ckpt), which).n;
    memset(bias, 0, (size_t)n * sizeof *bias);
    return PQ_OK;
}

size_t pq_source_norms_size(const struct pq_config *config) {
    return 2 * ((size_t)config->hidden + (size_t)config->head_dim);
}

enum pq_status pq_source_norms(const struct pq_transform *source, int layer, float *norms,
                               struct pq_layer *out, struct pq_err *err) {
    const struct pq_config *c = pq_checkpoint_config(source->ckpt);
    struct {
        const char *name;
        float **at;
        int n;
        bool there;
    } vectors[] = {{"input_layernorm", &out->attention_norm, c->hidden, true},
                   {"post_attention_layernorm", &out->mlp_norm, c->hidden, true},
                   {"self_attn.q_norm", &out->q_norm, c->head_dim, c->qk_norm},
                   {"self_attn.k_norm", &out->k_norm, c->head_dim, c->qk_norm}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct pq_name name;
        *vectors[i].at = vectors[i].there ? norms : NULL;
        snprintf(name.s, sizeof name.s, "model.layers.%d.%s.weight", layer, vectors[i].name);
        if (vectors[i].there)
            PQ_TRY(pq_transformed_vector(source, name.s, norms, err));
        norms += vectors[i].n;
    }
    return PQ_OK;
}
