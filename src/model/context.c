#include "model/context.h"

#include "model/rope.h"

#include <stdlib.h>
#include <string.h>

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Inputs of the widest linear. */
static int widest_input(const struct pq_config *c) {
    int mlp = c->ffn > c->hidden ? c->ffn : c->hidden, attention = c->heads * c->head_dim;
    return attention > mlp ? attention : mlp;
}

/* What a task needs at most: a row of floats and a part of a tile in the forms that are multiplied,
 * an unpacked panel, or a tile of attention. */
static size_t thread_bytes(const struct pq_model *model) {
    const struct pq_config *c = &model->config;
    int widest = widest_input(c);
    size_t rows = pq_arena_piece((size_t)widest * sizeof(float)) +
                  pq_rows_scratch(PQ_KIND_I8, widest) + pq_rows_scratch(model->fp, widest);
    size_t panels =
        larger(pq_multiply_scratch(widest, false), pq_multiply_scratch(c->hidden, true));
    return larger(larger(rows, panels), pq_attention_scratch(c->head_dim));
}

/* Places everything in the arena; where it has no memory yet, only adds up. */
static size_t place(struct pq_context *ctx, bool placing) {
    const struct pq_config *c = &ctx->model->config;
    struct pq_scratch *s = &ctx->scratch;
    size_t m = (size_t)ctx->options.batch, sequences = (size_t)ctx->options.sequences;
    size_t d = (size_t)c->head_dim, q = m * (size_t)c->heads * d, kv = m * (size_t)c->kv_heads * d;
    size_t ffn = m * (size_t)c->ffn, threads = (size_t)pq_pool_threads(ctx->pool);
    int widest = widest_input(c);
    float *shared = NULL;
    /* With more tokens than threads there is a task for every thread as it is. */
    s->partial_tokens = threads > m ? (int)m : (int)threads;
    struct {
        void *to;
        size_t bytes;
    } pieces[] = {
        {&s->x, m * (size_t)c->hidden * sizeof(float)},
        {&shared, larger(2 * q + 2 * kv, ffn) * sizeof(float)},
        {&s->angles, (size_t)ctx->options.positions * d * sizeof(float)},
        {&s->partial,
         pq_attention_partial(s->partial_tokens, c->heads, c->head_dim, ctx->options.positions)},
        {&s->integer_rows, pq_rows_bytes(PQ_KIND_I8, ctx->options.batch, widest)},
        {&s->fp_rows, pq_rows_bytes(ctx->model->fp, ctx->options.batch, widest)},
        {&s->tokens, m * sizeof *s->tokens},
        {&s->wanted, m * sizeof *s->wanted},
        {&s->chunks, sequences * sizeof *s->chunks},
        {&s->first_task, (sequences + 1) * sizeof *s->first_task},
        {&s->thread, threads * sizeof *s->thread},
        {&ctx->profile_times, (size_t)(PQ_OPERATORS * c->layers) * sizeof *ctx->profile_times},
        {&ctx->length, sequences * sizeof *ctx->length},
    };
    size_t bytes = 0, each = pq_arena_piece(thread_bytes(ctx->model));
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        bytes += pq_arena_piece(pieces[i].bytes);
        if (placing) {
            void *at = pq_arena_take(&ctx->arena, pieces[i].bytes);
            memcpy(pieces[i].to, &at, sizeof at);
        }
    }
    if (placing) {
        s->q = s->mlp = shared;
        s->k = s->q + q;
        s->v = s->k + kv;
        s->attention = s->v + kv;
        for (size_t t = 0; t < threads; t++)
            s->thread[t] = pq_arena_take(&ctx->arena, each);
    }
    return bytes + threads * each;
}

static enum pq_status check_options(const struct pq_context_options *o, const struct pq_config *c,
                                    struct pq_err *err) {
    if (o->sequences < 1 || o->sequences > 65536)
        return pq_fail(err, PQ_EINVAL, "sequences must be 1 to 65536, not %d", o->sequences);
    if (o->batch < 1 || o->batch > 65536)
        return pq_fail(err, PQ_EINVAL, "batch must be 1 to 65536 tokens, not %d", o->batch);
    if (o->positions < 1 || o->positions > c->max_positions)
        return pq_fail(err, PQ_ERANGE, "positions must be 1 to %d, the model's limit, not %d",
                       c->max_positions, o->positions);
    return PQ_OK;
}

enum pq_status pq_context_open(struct pq_context **out, const struct pq_model *model,
                               struct pq_pool *pool, const struct pq_context_options *options,
                               struct pq_err *err) {
    const struct pq_config *c = &model->config;
    PQ_TRY(check_options(options, c, err));
    struct pq_context *ctx = calloc(1, sizeof *ctx);
    if (!ctx)
        return pq_fail(err, PQ_ENOMEM, "out of memory for a context");
    ctx->model = model;
    ctx->pool = pool;
    ctx->options = *options;
    enum pq_status status = pq_arena_open(&ctx->arena, place(ctx, false), false, "scratch", err);
    if (status == PQ_OK)
        status = pq_kv_open(&ctx->kv, model->ops,
                            options->kv == PQ_KV_INT8 ? PQ_KIND_I8 : model->fp, c->layers,
                            options->sequences, c->kv_heads, c->head_dim, options->positions, err);
    if (status != PQ_OK) {
        pq_context_close(ctx);
        return status;
    }
    place(ctx, true);
    *out = ctx;
    return PQ_OK;
}

void pq_context_close(struct pq_context *ctx) {
    if (!ctx)
        return;
    pq_kv_close(&ctx->kv);
    pq_arena_close(&ctx->arena);
    free(ctx);
}

/* A task is a few positions: the first chunk of a prompt asks for hundreds. */
enum { REACH = 64 };

static void reach_task(void *arg, int task, int thread) {
    (void)thread;
    struct pq_context *ctx = arg;
    int d = ctx->model->config.head_dim, from = ctx->reached + task * REACH;
    for (int p = from; p < from + REACH && p < ctx->options.positions; p++)
        pq_rope_angles(ctx->model->frequencies, d, p, ctx->scratch.angles + (size_t)p * (size_t)d);
}

void pq_context_reach(struct pq_context *ctx, int positions) {
    if (positions <= ctx->reached)
        return;
    int tasks = (positions - ctx->reached + REACH - 1) / REACH;
    pq_pool_run(ctx->pool, tasks, reach_task, ctx);
    ctx->reached += tasks * REACH;
}

size_t pq_context_kv_bytes(const struct pq_context *ctx) {
    return ctx->kv.arena.used;
}

size_t pq_context_position_bytes(const struct pq_context *ctx) {
    const struct pq_kv *kv = &ctx->kv;
    return kv->block_bytes / PQ_KV_BLOCK * (size_t)kv->heads * (size_t)kv->layers;
}

size_t pq_context_scratch_bytes(const struct pq_context *ctx) {
    return ctx->arena.used;
}

int pq_sequence_length(const struct pq_context *ctx, int sequence) {
    return ctx->length[sequence];
}

void pq_sequence_truncate(struct pq_context *ctx, int sequence, int length) {
    if (length >= 0 && length < ctx->length[sequence])
        ctx->length[sequence] = length;
}

void pq_context_watch(struct pq_context *ctx, pq_watch_fn *fn, void *user) {
    ctx->watch = fn;
    ctx->watch_user = user;
}
