/* forward.c - the transformer, read top to bottom.
 *
 * Every family is Llama with more or fewer biases and, in Qwen3, a norm over each head of q and k:
 *   x += o(attention(rope(norm(q(n1))), rope(norm(k(n1))), v(n1))),  n1 = rmsnorm(x)
 *   x += down(silu(gate(n2)) * up(n2)),                              n2 = rmsnorm(x)
 * The residual stream x is FP32; a linear's input is rounded once, to what its weights meet. */
#include "model/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the steps of one forward call share. */
struct pass {
    struct pq_context *ctx;
    const struct pq_model *model;
    const struct pq_elementwise *e;
    struct pq_scratch *s;
    int m;                       /* tokens */
    struct pq_rows integers, fp; /* the current input, in the kinds that its linears want */
    bool want_integers, want_fp;
    /* What makes row r of the current input: */
    const float *gamma; /* the norm of x, or */
    const float *rows;  /* [m][width] as it is, or, with both NULL, silu(gate) * up */
    const int *pick;    /* row r is the norm of x's row pick[r]; NULL: of row r */
    int width;
};

/* ---- Inputs of linears ----------------------------------------------------------------------- */

static void input_row(const struct pass *p, int r, unsigned char *scratch) {
    float *row = (float *)scratch, *temp = row + pq_round_up(p->width, PQ_BLOCK);
    const float *x = row;
    if (p->gamma) {
        size_t from = (size_t)(p->pick ? p->pick[r] : r);
        p->e->rmsnorm(row, p->s->x + from * (size_t)p->width, p->gamma, p->width,
                      p->model->config.norm_eps);
    } else if (p->rows) {
        x = p->rows + (size_t)r * (size_t)p->width;
    } else {
        size_t at = (size_t)r * (size_t)p->width;
        p->e->silu_mul(row, p->s->gate + at, p->s->up + at, p->width);
    }
    if (p->want_integers)
        pq_rows_set(&p->integers, p->e, r, x, p->width, temp);
    if (p->want_fp)
        pq_rows_set(&p->fp, p->e, r, x, p->width, temp);
}

/* A task is a tile of rows: its rows share cache lines, which two cores would fight for. */
static void input_task(void *arg, int tile, int thread) {
    const struct pass *p = arg;
    for (int r = tile * PQ_MR; r < (tile + 1) * PQ_MR && r < p->fp.m; r++)
        input_row(p, r, p->s->thread[thread]);
}

static bool takes_integers(const struct pq_linear *linear) {
    return linear->kind == PQ_KIND_I8 || linear->kind == PQ_KIND_I4;
}

/* products [n] of one input of m rows, which pass's gamma, rows and pick describe. */
static void linears(struct pass *p, int m, const struct pq_product *products, int n) {
    struct pq_product integers[3], fp[3];
    int n_integers = 0, n_fp = 0;
    for (int i = 0; i < n; i++)
        if (takes_integers(products[i].linear))
            integers[n_integers++] = products[i];
        else
            fp[n_fp++] = products[i];
    p->width = products[0].linear->k;
    p->want_integers = n_integers > 0;
    p->want_fp = n_fp > 0;
    pq_rows_place(&p->integers, PQ_KIND_I8, m, p->width, p->s->integer_rows);
    pq_rows_place(&p->fp, p->model->fp, m, p->width, p->s->fp_rows);
    pq_pool_run(p->ctx->pool, (m + PQ_MR - 1) / PQ_MR, input_task, p);
    void *const *scratch = (void *const *)p->s->thread;
    pq_multiply(p->ctx->pool, p->model->ops, &p->integers, integers, n_integers, scratch);
    pq_multiply(p->ctx->pool, p->model->ops, &p->fp, fp, n_fp, scratch);
}

static void linears_of_norm(struct pass *p, const float *gamma, const int *pick, int m,
                            const struct pq_product *products, int n) {
    p->gamma = gamma;
    p->pick = pick;
    linears(p, m, products, n);
    p->gamma = NULL;
}

static struct pq_product product(const struct pq_linear *linear, float *y, bool add) {
    return (struct pq_product){linear, y, (size_t)linear->n, add};
}

/* ---- The blocks ------------------------------------------------------------------------------ */

static void attention_block(struct pass *p, int index, int n_chunks) {
    struct pq_scratch *s = p->s;
    const struct pq_layer *layer = &p->model->layers[index];
    struct pq_product qkv[] = {product(&layer->q, s->q, false), product(&layer->k, s->k, false),
                               product(&layer->v, s->v, false)};
    linears_of_norm(p, layer->attention_norm, NULL, p->m, qkv, 3);
    struct pq_attention a = {.ops = p->model->ops,
                             .kv = &p->ctx->kv,
                             .chunks = s->chunks,
                             .n = n_chunks,
                             .layer = index,
                             .heads = p->model->config.heads,
                             .q_norm = layer->q_norm,
                             .k_norm = layer->k_norm,
                             .norm_eps = p->model->config.norm_eps,
                             .cos = s->cos,
                             .sin = s->sin,
                             .q = s->q,
                             .k = s->k,
                             .v = s->v,
                             .out = s->attention,
                             .first_task = s->first_task,
                             .scratch = s->thread};
    pq_attention_append(p->ctx->pool, &a);
    pq_attention_run(p->ctx->pool, &a);
    struct pq_product o = product(&layer->o, s->x, true);
    p->rows = s->attention;
    linears(p, p->m, &o, 1);
    p->rows = NULL;
}

static void mlp_block(struct pass *p, int index) {
    const struct pq_layer *layer = &p->model->layers[index];
    struct pq_product up[] = {product(&layer->gate, p->s->gate, false),
                              product(&layer->up, p->s->up, false)};
    linears_of_norm(p, layer->mlp_norm, NULL, p->m, up, 2);
    struct pq_product down = product(&layer->down, p->s->x, true);
    linears(p, p->m, &down, 1);
}

/* The token's embedding, and the cosines and sines of its position's angles, in FP32 as the
 * published code computes them. */
static void embed_task(void *arg, int r, int thread) {
    (void)thread;
    const struct pass *p = arg;
    const struct pq_config *c = &p->model->config;
    pq_model_embed(p->model, p->s->tokens[r], p->s->x + (size_t)r * (size_t)c->hidden);
    int half = c->head_dim / 2;
    for (int i = 0; i < half; i++) {
        float angle = (float)p->s->positions[r] * p->model->frequencies[i];
        p->s->cos[(size_t)r * (size_t)half + (size_t)i] = cosf(angle);
        p->s->sin[(size_t)r * (size_t)half + (size_t)i] = sinf(angle);
    }
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
static int lay_out(struct pass *p, const struct pq_feed *feeds, int n) {
    struct pq_scratch *s = p->s;
    int wanted = 0;
    for (int i = 0; i < n; i++) {
        int position = p->ctx->length[feeds[i].sequence];
        s->chunks[i] = (struct pq_chunk){feeds[i].sequence, feeds[i].n, position, p->m};
        for (int t = 0; t < feeds[i].n; t++) {
            s->tokens[p->m] = feeds[i].tokens[t];
            s->positions[p->m] = position + t;
            if (t >= feeds[i].n - feeds[i].n_logits)
                s->wanted[wanted++] = p->m;
            p->m++;
        }
    }
    return wanted;
}

enum pq_status pq_forward(struct pq_context *ctx, const struct pq_feed *feeds, int n, float *logits,
                          struct pq_err *err) {
    PQ_TRY(check_batch(ctx, feeds, n, err));
    const struct pq_model *model = ctx->model;
    struct pass p = {.ctx = ctx, .model = model, .e = model->ops->e, .s = &ctx->scratch};
    int wanted = lay_out(&p, feeds, n);
    if (wanted > 0 && !logits)
        return pq_fail(err, PQ_EINVAL, "logits of %d tokens are wanted, but nowhere to put them",
                       wanted);
    pq_pool_run(ctx->pool, p.m, embed_task, &p);
    for (int i = 0; i < model->config.layers; i++) {
        attention_block(&p, i, n);
        mlp_block(&p, i);
    }
    if (wanted > 0) {
        struct pq_product head = product(&model->head, logits, false);
        linears_of_norm(&p, model->norm, ctx->scratch.wanted, wanted, &head, 1);
    }
    for (int i = 0; i < n; i++)
        ctx->length[feeds[i].sequence] += feeds[i].n;
    return PQ_OK;
}
