#include "quant/equalize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct layers {
    const struct pq_checkpoint *ckpt;
    const struct pq_model_scales *out;
    float *row;   /* [threads][most inputs] */
    float *gamma; /* [threads][hidden] */
    double
        *norms; /* [threads][2][most channels], squared: of what makes them, of what reads them */
    size_t inputs, channels;
};

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static const struct pq_tensor *find(const struct layers *l, int layer, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "model.layers.%d.%s.weight", layer, name);
    return pq_checkpoint_find(l->ckpt, full);
}

/* norms[i] = |row i * gamma|^2 */
static void row_norms(const struct pq_tensor *w, const float *gamma, float *row, double *norms) {
    size_t n = (size_t)w->info.shape[0], k = (size_t)w->info.shape[1];
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        pq_tensor_to_f32(w, i * k, k, row);
        for (size_t j = 0; j < k; j++) {
            double v = (double)row[j] * gamma[j];
            sum += v * v;
        }
        norms[i] = sum;
    }
}

/* norms[channel_of(j)] += |column j|^2, where `group` heads of `width` channels share theirs; width
 * 0: every column is its own. */
static void column_norms(const struct pq_tensor *w, int width, int group, float *row,
                         double *norms) {
    size_t n = (size_t)w->info.shape[0], k = (size_t)w->info.shape[1];
    size_t d = width ? (size_t)width : k, heads = (size_t)group;
    for (size_t i = 0; i < n; i++) {
        pq_tensor_to_f32(w, i * k, k, row);
        for (size_t j = 0; j < k; j++)
            norms[j / d / heads * d + j % d] += (double)row[j] * row[j];
    }
}

/* s = (|V_j| / |W_j|)^1/2 from their squares; a power of two in either passes through exactly. */
static void set_scales(float *s, const double *made, const double *read, size_t n) {
    for (size_t j = 0; j < n; j++) {
        double ratio = sqrt(sqrt(made[j]) / sqrt(read[j]));
        s[j] = made[j] > 0 && read[j] > 0 && isfinite(ratio) ? (float)ratio : 1.0f;
    }
}

static void equalize_layer(void *arg, int layer, int thread) {
    const struct layers *l = arg;
    const struct pq_config *c = pq_checkpoint_config(l->ckpt);
    float *row = l->row + (size_t)thread * l->inputs;
    float *gamma = l->gamma + (size_t)thread * (size_t)c->hidden;
    double *made = l->norms + (size_t)thread * 2 * l->channels, *read = made + l->channels;
    size_t hidden = (size_t)c->hidden, values = (size_t)(c->kv_heads * c->head_dim);
    const struct pq_scales *scales = &l->out->layers[layer];
    pq_tensor_to_f32(find(l, layer, "input_layernorm"), 0, hidden, gamma);
    row_norms(find(l, layer, "self_attn.v_proj"), gamma, row, made);
    memset(read, 0, values * sizeof *read);
    column_norms(find(l, layer, "self_attn.o_proj"), c->head_dim, c->heads / c->kv_heads, row,
                 read);
    set_scales(scales->o, made, read, values);
    pq_tensor_to_f32(find(l, layer, "post_attention_layernorm"), 0, hidden, gamma);
    row_norms(find(l, layer, "mlp.up_proj"), gamma, row, made);
    memset(read, 0, (size_t)c->ffn * sizeof *read);
    column_norms(find(l, layer, "mlp.down_proj"), 0, 1, row, read);
    set_scales(scales->down, made, read, (size_t)c->ffn);
}

enum pq_status pq_equalize(const struct pq_model_scales *scales, const struct pq_checkpoint *ckpt,
                           struct pq_pool *pool, struct pq_err *err) {
    const struct pq_config *c = pq_checkpoint_config(ckpt);
    size_t threads = (size_t)pq_pool_threads(pool), ffn = (size_t)c->ffn;
    struct layers l = {
        .ckpt = ckpt, .out = scales, .channels = larger((size_t)(c->kv_heads * c->head_dim), ffn)};
    l.inputs = larger(larger(ffn, (size_t)c->hidden), (size_t)(c->heads * c->head_dim));
    l.row = malloc(threads * l.inputs * sizeof *l.row);
    l.gamma = malloc(threads * (size_t)c->hidden * sizeof *l.gamma);
    l.norms = malloc(threads * 2 * l.channels * sizeof *l.norms);
    bool good = l.row && l.gamma && l.norms;
    if (good)
        pq_pool_run(pool, c->layers, equalize_layer, &l);
    free(l.row);
    free(l.gamma);
    free(l.norms);
    return good ? PQ_OK
                : pq_fail(err, PQ_ENOMEM, "out of memory for the scales of %d layers", c->layers);
}
