/* plant - give a checkpoint the outliers that large models have, without changing its function.
 *
 *   plant DIR OUT.safetensors [SEED]
 *
 * In every layer one channel in 64 of each input of a linear is multiplied by 2 to 256, and the
 * weights that read it are divided by the same: a power of two, so that BF16 weights lose nothing.
 * The activations then have outlier channels (norms' gamma, values), and down's input massive
 * ones, as Llama and its kin do (Sun et al., arXiv:2402.17762). */
#include "base/half.h"
#include "io/safetensors_write.h"
#include "model/checkpoint.h"
#include "quant/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ONE_IN = 64, MOST = 8 /* exponent */ };

/* Exponents of one layer's channels. */
struct outliers {
    int *qkv, *o, *mlp, *down; /* [hidden], [kv_heads * head_dim], [hidden], [ffn] */
};

static uint32_t state = 1;

static uint32_t draw(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)state * below >> 32);
}

static int *plant(int n) {
    int *exponents = calloc((size_t)n, sizeof *exponents);
    for (int i = 0; exponents && i < n; i++)
        if (draw(ONE_IN) == 0)
            exponents[i] = 1 + (int)draw(MOST);
    return exponents;
}

/* What weight [row][column] of a tensor is multiplied by, as an exponent. */
static int exponent_of(const struct pq_config *c, const struct outliers *o, const char *name,
                       int row, int column) {
    int group = c->heads / c->kv_heads, index = pq_linear_index(name);
    bool bias = strstr(name, ".bias") != NULL;
    if (strstr(name, "input_layernorm"))
        return o->qkv[row];
    if (strstr(name, "post_attention_layernorm"))
        return o->mlp[row];
    if (index < 0)
        return 0;
    switch ((enum pq_linear_name)(index % PQ_LINEARS)) {
    case PQ_LINEAR_Q:
    case PQ_LINEAR_K:
        return bias ? 0 : -o->qkv[column];
    case PQ_LINEAR_V:
        return o->o[row] - (bias ? 0 : o->qkv[column]);
    case PQ_LINEAR_O:
        return bias ? 0 : -o->o[column / c->head_dim / group * c->head_dim + column % c->head_dim];
    case PQ_LINEAR_GATE:
        return -o->mlp[column];
    case PQ_LINEAR_UP:
        return o->down[row] - o->mlp[column];
    case PQ_LINEAR_DOWN:
        return -o->down[column];
    case PQ_LINEARS:
        break;
    }
    return 0;
}

static enum pq_status write_tensor(const struct pq_config *c, const struct outliers *layers,
                                   const struct pq_tensor *t, struct pq_writer *writer,
                                   struct pq_err *err) {
    int layer = 0;
    bool inside = sscanf(t->info.name, "model.layers.%d.", &layer) == 1;
    size_t rows = (size_t)t->info.shape[0];
    size_t columns = t->info.rank == 2 ? (size_t)t->info.shape[1] : 1;
    float *w = malloc(columns * sizeof *w);
    uint16_t *half = malloc(columns * sizeof *half);
    enum pq_status status = w && half ? PQ_OK : pq_fail(err, PQ_ENOMEM, "out of memory");
    for (size_t i = 0; i < rows && status == PQ_OK; i++) {
        pq_tensor_to_f32(t, i * columns, columns, w);
        for (size_t j = 0; j < columns; j++) {
            int e = inside ? exponent_of(c, &layers[layer], t->info.name, (int)i, (int)j) : 0;
            half[j] = pq_f32_to_bf16(__builtin_ldexpf(w[j], e));
        }
        status = pq_writer_append(writer, half, columns * sizeof *half, err);
    }
    free(half);
    free(w);
    return status;
}

static enum pq_status write_all(const struct pq_checkpoint *ckpt, const struct outliers *layers,
                                struct pq_writer *writer, struct pq_err *err) {
    int n;
    const struct pq_tensor_info *infos = pq_checkpoint_tensors(ckpt, &n);
    PQ_TRY(pq_writer_metadata(writer, "format", "pt", err));
    for (int i = 0; i < n; i++)
        PQ_TRY(
            pq_writer_declare(writer, infos[i].name, "BF16", infos[i].rank, infos[i].shape, err));
    PQ_TRY(pq_writer_begin(writer, err));
    for (int i = 0; i < n; i++)
        PQ_TRY(write_tensor(pq_checkpoint_config(ckpt), layers,
                            pq_checkpoint_find(ckpt, infos[i].name), writer, err));
    return pq_writer_end(writer, err);
}

int main(int argc, char **argv) {
    struct pq_err err = {""};
    struct pq_checkpoint *ckpt = NULL;
    struct pq_writer *writer = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: plant DIR OUT.safetensors [SEED]\n");
        return 2;
    }
    state = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 1;
    enum pq_status status = pq_checkpoint_open(&ckpt, argv[1], &err);
    if (status == PQ_OK)
        status = pq_writer_open(&writer, argv[2], &err);
    if (status == PQ_OK) {
        const struct pq_config *c = pq_checkpoint_config(ckpt);
        struct outliers *layers = calloc((size_t)c->layers, sizeof *layers);
        for (int i = 0; layers && i < c->layers; i++)
            layers[i] = (struct outliers){plant(c->hidden), plant(c->kv_heads * c->head_dim),
                                          plant(c->hidden), plant(c->ffn)};
        status = write_all(ckpt, layers, writer, &err);
    }
    pq_writer_close(writer);
    pq_checkpoint_close(ckpt);
    if (status != PQ_OK)
        fprintf(stderr, "plant: %s\n", err.text);
    return status != PQ_OK;
}
