#include "quant/source.h"
#include "quant/rtn.h"

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

enum pq_status pq_source_nonfinite(const struct pq_tensor *tensor, int n, int k,
                                   struct pq_err *err) {
    const struct pq_tensor_info *info = &tensor->info;
    float *w = malloc((size_t)k * sizeof *w);
    if (!w)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", info->name);
    int row = 0, column = -1;
    for (; row < n && column < 0; row++) {
        pq_tensor_to_f32(tensor, (size_t)row * (size_t)k, (size_t)k, w);
        column = pq_rtn_nonfinite(w, k);
    }
    float value = column < 0 ? 0 : w[column];
    free(w);
    if (column < 0)
        return pq_fail(err, PQ_EFORMAT, "%s: tensor %s is too large to be rotated", info->file,
                       info->name);
    return pq_fail(err, PQ_EFORMAT, "%s: tensor %s is %f at row %d, column %d", info->file,
                   info->name, value, row - 1, column);
}

struct filling {
    const struct pq_transformed *matrix;
    float *w;
    double *temp; /* [threads][k] */
    _Atomic bool nonfinite;
};

static void fill_row(void *arg, int row, int thread) {
    struct filling *f = arg;
    size_t k = (size_t)f->matrix->k;
    float *w = f->w + (size_t)row * k;
    pq_transformed_row(f->matrix, row, w, f->temp + (size_t)thread * k);
    if (pq_rtn_nonfinite(w, f->matrix->k) >= 0)
        f->nonfinite = true;
}

enum pq_status pq_source_matrix(const struct pq_transform *source, const char *name,
                                struct pq_pool *pool, float *w, struct pq_err *err) {
    struct pq_transformed matrix;
    PQ_TRY(pq_transformed_open(&matrix, source, name, pool, err));
    struct filling f = {.matrix = &matrix, .w = w};
    f.temp = malloc((size_t)pq_pool_threads(pool) * (size_t)matrix.k * sizeof *f.temp);
    enum pq_status status = f.temp ? PQ_OK : pq_fail(err, PQ_ENOMEM, "%s: out of memory", name);
    if (status == PQ_OK)
        pq_pool_run(pool, matrix.n, fill_row, &f);
    if (f.nonfinite)
        status = pq_source_nonfinite(matrix.source, matrix.n, matrix.k, err);
    pq_transformed_close(&matrix);
    free(f.temp);
    return status;
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
