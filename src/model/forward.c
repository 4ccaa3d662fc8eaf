/* forward.c - a ragged batch through the whole model: checked, laid out, embedded, layer by layer
 * (layer.h), and out through the head. */
#include "model/profile.h"

static void embed_task(void *arg, int r, int thread) {
    (void)thread;
    const struct pq_pass *p = arg;
    size_t hidden = (size_t)p->model->config.hidden;
    pq_model_embed(p->model, p->s->tokens[r], p->s->x + (size_t)r * hidden);
}

/* ---- The batch ------------------------------------------------------------------------------- */

static enum pq_status check_feed(const struct pq_context *ctx, const struct pq_feed *f, int index,
                                 struct pq_err *err) {
    const struct pq_config *c = &ctx->model->config;
    if (f->sequence < 0 || f->sequence >= ctx->options.sequences)
        return pq_fail(err, PQ_EINVAL, "feed %d: sequence must be 0 to %d, not %d", index,
                       ctx->options.sequences - 1, f->sequence);
    if (f->n < 1 || f->n_logits < 0 || f->n_logits > f->n)
        return pq_fail(err, PQ_EINVAL, "feed %d: %d tokens with %d logits wanted", index, f->n,
                       f->n_logits);
    if (f->n > ctx->options.positions - ctx->length[f->sequence])
        return pq_fail(err, PQ_ERANGE,
                       "the context of sequence %d is full: %d of %d positions are taken and %d "
                       "more were given",
                       f->sequence, ctx->length[f->sequence], ctx->options.positions, f->n);
    for (int i = 0; i < f->n; i++)
        if (f->tokens[i] < 0 || f->tokens[i] >= c->vocab)
            return pq_fail(err, PQ_EINVAL, "feed %d: token %d is %d, outside 0 to %d", index, i,
                           f->tokens[i], c->vocab - 1);
    return PQ_OK;
}

static enum pq_status check_batch(const struct pq_context *ctx, const struct pq_feed *feeds, int n,
                                  struct pq_err *err) {
    int64_t tokens = 0;
    if (n < 1 || n > ctx->options.sequences)
        return pq_fail(err, PQ_EINVAL, "a batch takes 1 to %d feeds, not %d",
                       ctx->options.sequences, n);
    for (int i = 0; i < n; i++) {
        PQ_TRY(check_feed(ctx, &feeds[i], i, err));
        tokens += feeds[i].n;
        for (int j = 0; j < i; j++)
            if (feeds[j].sequence == feeds[i].sequence)
                return pq_fail(err, PQ_EINVAL, "feeds %d and %d are both of sequence %d", j, i,
                               feeds[i].sequence);
    }
    if (tokens > ctx->options.batch)
        return pq_fail(err, PQ_ERANGE, "a batch takes at most %d tokens, not %lld",
                       ctx->options.batch, (long long)tokens);
    return PQ_OK;
}

/* Lay the feeds out one after the other; returns how many rows want logits. */
static int lay_out(struct pq_pass *p, const struct pq_feed *feeds, int n) {
    struct pq_scratch *s = p->s;
    int wanted = 0;
    for (int i = 0; i < n; i++) {
        int position = p->ctx->length[feeds[i].sequence];
        s->chunks[i] = (struct pq_chunk){feeds[i].sequence, feeds[i].n, position, p->m};
        pq_context_reach(p->ctx, position + feeds[i].n);
        for (int t = 0; t < feeds[i].n; t++) {
            s->tokens[p->m] = feeds[i].tokens[t];
            if (t >= feeds[i].n - feeds[i].n_logits)
                s->wanted[wanted++] = p->m;
            p->m++;
        }
    }
    return wanted;
}

static void show_stream(const struct pq_pass *p, int point) {
    if (p->ctx->watch)
        p->ctx->watch(p->ctx->watch_user, point, p->s->x, p->m);
}

enum pq_status pq_forward(struct pq_context *ctx, const struct pq_feed *feeds, int n, float *logits,
                          struct pq_err *err) {
    PQ_TRY(check_batch(ctx, feeds, n, err));
    const struct pq_model *model = ctx->model;
    struct pq_pass p = {
        .ctx = ctx, .model = model, .e = model->ops->e, .s = &ctx->scratch, .n_chunks = n};
    int wanted = lay_out(&p, feeds, n);
    if (wanted > 0 && !logits)
        return pq_fail(err, PQ_EINVAL, "logits of %d tokens are wanted, but nowhere to put them",
                       wanted);
    pq_profile_count(&p, wanted);
    pq_profile_begin(ctx);
    pq_pool_run(ctx->pool, p.m, embed_task, &p);
    pq_profile_end(ctx, PQ_OP_EMBED);
    show_stream(&p, 0);
    for (int i = 0; i < model->config.layers; i++) {
        const struct pq_layer *layer = &model->layers[i];
        pq_pass_attention(&p, layer, i);
        pq_pass_output(&p, layer);
        show_stream(&p, 2 * i + 1);
        pq_pass_gate_up(&p, layer);
        pq_pass_down(&p, layer);
        show_stream(&p, 2 * i + 2);
    }
    if (wanted > 0)
        pq_pass_head(&p, ctx->scratch.wanted, wanted, logits);
    pq_profile_finish(ctx);
    for (int i = 0; i < n; i++)
        ctx->length[feeds[i].sequence] += feeds[i].n;
    return PQ_OK;
}
