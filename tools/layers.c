/* layers - takes given residual streams through each layer of a checkpoint, one layer at a time.
 *
 *     layers DIR IN OUT
 *
 * IN is a safetensors file with "streams", F32 [layers + 1, sequences, length, hidden]: what enters
 * each layer, and the last norm.  OUT has, for each layer i and all tokens of the sequences,
 *   q.i, k.i, v.i  [tokens][their outputs]   before norms and rotation
 *   attention.i  [tokens][heads * head_dim]  what enters o
 *   middle.i     [tokens][hidden]            the stream after attention
 *   inner.i      [tokens][ffn]               what enters down, before it is rounded
 *   out.i        [tokens][hidden]            the stream after the layer
 * and "logits" [tokens][vocab].  Everything that is not integers is computed in FP32.  An error of
 * one layer is not an input of the next: tools/check_compressed_tensors.py compares with that. */
#include "io/safetensors.h"
#include "quant/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PER_LAYER = 7, MOST_TOKENS = 2048, MOST_SEQUENCES = 64 /* of one batch of a stream */ };

struct run {
    const struct pq_model *model;
    struct pq_stream *stream;
    size_t tokens;
    struct pq_tensor_info *infos; /* [PER_LAYER * layers + 1] */
    const void **data;
    char (*names)[24];
    int n;
};

/* A new tensor of the output, [tokens][width]. */
static float *add(struct run *run, const char *what, int layer, int width) {
    int at = run->n++;
    snprintf(run->names[at], sizeof *run->names, layer < 0 ? "%s" : "%s.%d", what, layer);
    run->infos[at] = (struct pq_tensor_info){
        .name = run->names[at], .dtype = "F32", .rank = 2, .shape = {(int64_t)run->tokens, width}};
    float *data = calloc(run->tokens, (size_t)width * sizeof *data);
    run->data[at] = data;
    if (!data)
        fprintf(stderr, "layers: out of memory\n"), exit(1);
    return data;
}

static void add_copy(struct run *run, const char *what, int layer, int width, const float *from) {
    memcpy(add(run, what, layer, width), from, run->tokens * (size_t)width * sizeof *from);
}

static void keep_row(void *user, enum pq_input input, int r, const float *x, int width) {
    (void)input;
    memcpy((float *)user + (size_t)r * (size_t)width, x, (size_t)width * sizeof *x);
}

static void take_through(struct run *run, int i, const float *x) {
    const struct pq_config *c = &run->model->config;
    const struct pq_layer *layer = &run->model->layers[i];
    struct pq_range all = {0, run->stream->sequences};
    memcpy(run->stream->x, x, run->tokens * (size_t)c->hidden * sizeof *x);
    pq_stream_attention(run->stream, all, layer);
    const struct pq_scratch *scratch = &run->stream->ctx->scratch;
    add_copy(run, "q", i, c->heads * c->head_dim, scratch->q);
    add_copy(run, "k", i, c->kv_heads * c->head_dim, scratch->k);
    add_copy(run, "v", i, c->kv_heads * c->head_dim, scratch->v);
    add_copy(run, "attention", i, c->heads * c->head_dim, run->stream->attention);
    pq_stream_output(run->stream, all, layer);
    add_copy(run, "middle", i, c->hidden, run->stream->x);
    struct pq_observer observer = {keep_row, add(run, "inner", i, c->ffn)};
    pq_stream_look(run->stream, all, layer, PQ_INPUT_DOWN, &observer);
    pq_stream_mlp(run->stream, all, layer);
    add_copy(run, "out", i, c->hidden, run->stream->x);
}

static enum pq_status open_stream(struct run *run, const struct pq_safetensors_tensor *streams,
                                  struct pq_pool *pool, struct pq_err *err) {
    const struct pq_config *c = &run->model->config;
    const int64_t *shape = streams->info.shape;
    if (streams->info.rank != 4 || strcmp(streams->info.dtype, "F32") != 0 ||
        shape[0] != c->layers + 1 || shape[1] < 1 || shape[1] > MOST_SEQUENCES || shape[2] < 1 ||
        shape[2] > MOST_TOKENS / shape[1] || shape[3] != c->hidden)
        return pq_fail(err, PQ_EFORMAT,
                       "streams must be F32 [%d, sequences, length, %d] of %d sequences and %d "
                       "tokens at most",
                       c->layers + 1, c->hidden, MOST_SEQUENCES, MOST_TOKENS);
    int n = (int)shape[1], *lengths = malloc((size_t)n * sizeof *lengths);
    for (int i = 0; lengths && i < n; i++)
        lengths[i] = (int)shape[2];
    run->tokens = (size_t)shape[1] * (size_t)shape[2];
    size_t most = PER_LAYER * (size_t)c->layers + 1;
    run->infos = calloc(most, sizeof *run->infos);
    run->data = calloc(most, sizeof *run->data);
    run->names = calloc(most, sizeof *run->names);
    enum pq_status status =
        lengths && run->infos && run->data && run->names
            ? pq_stream_open(&run->stream, c, PQ_KIND_F32, lengths, n, pool, err)
            : pq_fail(err, PQ_ENOMEM, "out of memory");
    free(lengths);
    return status;
}

static enum pq_status compute(struct run *run, const char *in, const char *out,
                              struct pq_pool *pool, struct pq_err *err) {
    const struct pq_config *c = &run->model->config;
    struct pq_safetensors file;
    PQ_TRY(pq_safetensors_open(&file, in, err));
    enum pq_status status =
        file.n == 1 && strcmp(file.tensors[0].info.name, "streams") == 0
            ? open_stream(run, &file.tensors[0], pool, err)
            : pq_fail(err, PQ_EFORMAT, "%s: holds other tensors than \"streams\"", in);
    if (status == PQ_OK) {
        const float *x = (const float *)file.tensors[0].data;
        size_t layer = run->tokens * (size_t)c->hidden;
        for (int i = 0; i < c->layers; i++)
            take_through(run, i, x + (size_t)i * layer);
        memcpy(run->stream->x, x + (size_t)c->layers * layer, layer * sizeof *x);
        pq_stream_head(run->stream, (struct pq_range){0, run->stream->sequences}, &run->model->head,
                       run->model->norm, add(run, "logits", -1, c->vocab));
        status = pq_tensors_save(out, run->infos, run->data, run->n, err);
    }
    pq_safetensors_close(&file);
    return status;
}

int main(int argc, char **argv) {
    struct pq_checkpoint *ckpt = NULL;
    struct pq_model *model = NULL;
    struct pq_pool *pool = NULL;
    struct pq_model_options options = {PQ_PRECISION_FP32, PQ_ISA_COUNT - 1};
    struct pq_err err;
    struct run run = {0};
    if (argc != 4) {
        fprintf(stderr, "usage: layers DIR IN OUT\n");
        return 2;
    }
    enum pq_status status = pq_pool_open(&pool, 0, &err);
    if (status == PQ_OK)
        status = pq_checkpoint_open(&ckpt, argv[1], &err);
    if (status == PQ_OK)
        status = pq_model_open(&model, ckpt, &options, pool, &err);
    run.model = model;
    if (status == PQ_OK)
        status = compute(&run, argv[2], argv[3], pool, &err);
    if (status != PQ_OK)
        fprintf(stderr, "layers: %s\n", err.text);
    for (int i = 0; i < run.n; i++)
        free((void *)run.data[i]);
    free(run.names);
    free(run.data);
    free(run.infos);
    pq_stream_close(run.stream);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    pq_pool_close(pool);
    return status != PQ_OK;
}
