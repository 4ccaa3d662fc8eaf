#include "quant/stream.h"

#include "model/rope.h"

#include <stdlib.h>
#include <string.h>

enum {
    BATCH_TOKENS = 2048, /* enough for the products' full speed; longer only for longer sequences */
    BATCH_SEQUENCES = 64,
};

/* ---- Opening --------------------------------------------------------------------------------- */

static enum pq_status allocate(struct pq_stream *s, const int *lengths, struct pq_err *err) {
    const struct pq_config *c = &s->model.config;
    s->first = malloc(((size_t)s->sequences + 1) * sizeof *s->first);
    s->model.frequencies = malloc((size_t)c->head_dim / 2 * sizeof *s->model.frequencies);
    if (!s->first || !s->model.frequencies)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d calibration sequences", s->sequences);
    s->first[0] = 0;
    for (int i = 0; i < s->sequences; i++)
        if (__builtin_add_overflow(s->first[i], lengths[i], &s->first[i + 1]))
            return pq_fail(err, PQ_ERANGE, "more than 2^31 calibration tokens");
    size_t tokens = (size_t)s->first[s->sequences];
    s->x = calloc(tokens, (size_t)c->hidden * sizeof *s->x);
    s->attention = calloc(tokens, (size_t)(c->heads * c->head_dim) * sizeof *s->attention);
    if (!s->x || !s->attention)
        return pq_fail(err, PQ_ENOMEM, "out of memory for the streams of %zu calibration tokens",
                       tokens);
    pq_rope_frequencies(&c->rope, c->head_dim, s->model.frequencies);
    return PQ_OK;
}

static enum pq_status open_context(struct pq_stream *s, const int *lengths, struct pq_pool *pool,
                                   struct pq_err *err) {
    int longest = 1;
    for (int i = 0; i < s->sequences; i++)
        longest = lengths[i] > longest ? lengths[i] : longest;
    struct pq_context_options o = {.sequences = BATCH_SEQUENCES,
                                   .positions = longest,
                                   .batch = longest > BATCH_TOKENS ? longest : BATCH_TOKENS};
    return pq_context_open(&s->ctx, &s->model, pool, &o, err);
}

enum pq_status pq_stream_open(struct pq_stream **out, const struct pq_config *config,
                              enum pq_kind fp, const int *lengths, int n, struct pq_pool *pool,
                              struct pq_err *err) {
    struct pq_stream *s = calloc(1, sizeof *s);
    if (!s)
        return pq_fail(err, PQ_ENOMEM, "out of memory for calibration");
    s->sequences = n;
    s->model.config = *config;
    s->model.config.layers = 1;
    s->model.ops = pq_ops_get(PQ_ISA_COUNT - 1);
    s->model.fp = fp;
    enum pq_status status = allocate(s, lengths, err);
    if (status == PQ_OK)
        status = pq_model_open_rotations(&s->model, err);
    if (status == PQ_OK)
        status = open_context(s, lengths, pool, err);
    if (status == PQ_OK)
        *out = s;
    else
        pq_stream_close(s);
    return status;
}

void pq_stream_close(struct pq_stream *s) {
    if (!s)
        return;
    pq_context_close(s->ctx);
    pq_model_close_rotations(&s->model);
    free(s->model.frequencies);
    free(s->attention);
    free(s->x);
    free(s->first);
    free(s);
}

/* ---- Batches --------------------------------------------------------------------------------- */

struct pq_range pq_stream_batch(const struct pq_stream *s, struct pq_range range) {
    int n = 1, room = s->ctx->options.batch;
    const int *first = s->first + range.first;
    while (n < BATCH_SEQUENCES && n < range.n && first[n + 1] - first[0] <= room)
        n++;
    return (struct pq_range){range.first, n};
}

/* One call's tokens: the sequences from their beginnings. */
static struct pq_pass lay_out(struct pq_stream *s, struct pq_range batch) {
    struct pq_scratch *scratch = &s->ctx->scratch;
    struct pq_pass pass = {.ctx = s->ctx,
                           .model = &s->model,
                           .e = s->model.ops->e,
                           .s = scratch,
                           .m = s->first[batch.first + batch.n] - s->first[batch.first],
                           .n_chunks = batch.n};
    for (int i = 0; i < batch.n; i++) {
        int row = s->first[batch.first + i] - s->first[batch.first];
        int n = s->first[batch.first + i + 1] - s->first[batch.first + i];
        scratch->chunks[i] = (struct pq_chunk){.sequence = i, .n = n, .position = 0, .row = row};
        pq_context_reach(s->ctx, n);
    }
    return pass;
}

/* What is done with a batch whose x is in the scratch. */
struct work {
    const struct pq_layer *layer;
    enum pq_input input;
    const struct pq_observer *observer;
    float *logits; /* of the tokens from `token` on */
    size_t token;
};

typedef void step_fn(struct pq_stream *s, const struct pq_pass *pass, const struct work *work,
                     size_t token);

static void run(struct pq_stream *s, struct pq_range range, step_fn *step,
                const struct work *work) {
    size_t width = (size_t)s->model.config.hidden;
    while (range.n > 0) {
        struct pq_range batch = pq_stream_batch(s, range);
        struct pq_pass pass = lay_out(s, batch);
        size_t token = (size_t)s->first[batch.first],
               bytes = (size_t)pass.m * width * sizeof(float);
        memcpy(pass.s->x, s->x + token * width, bytes);
        step(s, &pass, work, token);
        memcpy(s->x + token * width, pass.s->x, bytes);
        range = (struct pq_range){batch.first + batch.n, range.n - batch.n};
    }
}

static size_t attention_bytes(const struct pq_stream *s, const struct pq_pass *pass) {
    const struct pq_config *c = &s->model.config;
    return (size_t)pass->m * (size_t)(c->heads * c->head_dim) * sizeof(float);
}

static float *attention_at(const struct pq_stream *s, size_t token) {
    const struct pq_config *c = &s->model.config;
    return s->attention + token * (size_t)(c->heads * c->head_dim);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static void attention(struct pq_stream *s, const struct pq_pass *pass, const struct work *work,
                      size_t token) {
    pq_pass_attention(pass, work->layer, 0);
    memcpy(attention_at(s, token), pass->s->attention, attention_bytes(s, pass));
}

static void output(struct pq_stream *s, const struct pq_pass *pass, const struct work *work,
                   size_t token) {
    memcpy(pass->s->attention, attention_at(s, token), attention_bytes(s, pass));
    pq_pass_output(pass, work->layer);
}

static void mlp(struct pq_stream *s, const struct pq_pass *pass, const struct work *work,
                size_t token) {
    (void)s, (void)token;
    pq_pass_gate_up(pass, work->layer);
    pq_pass_down(pass, work->layer);
}

static void head(struct pq_stream *s, const struct pq_pass *pass, const struct work *work,
                 size_t token) {
    for (int r = 0; r < pass->m; r++)
        pass->s->wanted[r] = r;
    pq_pass_head(pass, pass->s->wanted, pass->m,
                 work->logits + (token - work->token) * (size_t)s->model.config.vocab);
}

/* An observer of one batch for an observer of all tokens. */
struct shifted {
    const struct pq_observer *observer;
    int token; /* of the batch's first row */
};

static void shift_row(void *user, enum pq_input input, int r, const float *x, int width) {
    const struct shifted *s = user;
    s->observer->row(s->observer->user, input, s->token + r, x, width);
}

static void look(struct pq_stream *s, const struct pq_pass *pass, const struct work *work,
                 size_t token) {
    struct shifted shifted = {work->observer, (int)token};
    struct pq_observer observer = {shift_row, &shifted};
    struct pq_pass seen = *pass;
    if (work->input == PQ_INPUT_O)
        memcpy(pass->s->attention, attention_at(s, token), attention_bytes(s, pass));
    if (work->input == PQ_INPUT_DOWN)
        pq_pass_gate_up(pass, work->layer);
    seen.observer = &observer;
    pq_pass_look(&seen, work->layer, work->input);
}

void pq_stream_attention(struct pq_stream *stream, struct pq_range range,
                         const struct pq_layer *layer) {
    run(stream, range, attention, &(struct work){.layer = layer});
}

void pq_stream_output(struct pq_stream *stream, struct pq_range range,
                      const struct pq_layer *layer) {
    run(stream, range, output, &(struct work){.layer = layer});
}

void pq_stream_mlp(struct pq_stream *stream, struct pq_range range, const struct pq_layer *layer) {
    run(stream, range, mlp, &(struct work){.layer = layer});
}

void pq_stream_pass(struct pq_stream *stream, enum pq_input input, const struct pq_layer *layer) {
    struct pq_range all = {0, stream->sequences};
    if (input == PQ_INPUT_QKV)
        pq_stream_attention(stream, all, layer);
    else if (input == PQ_INPUT_O)
        pq_stream_output(stream, all, layer);
    else if (input == PQ_INPUT_DOWN)
        pq_stream_mlp(stream, all, layer);
}

void pq_stream_head(struct pq_stream *stream, struct pq_range range, const struct pq_linear *linear,
                    float *norm, float *logits) {
    stream->model.head = *linear;
    stream->model.norm = norm;
    struct work work = {.logits = logits, .token = (size_t)stream->first[range.first]};
    run(stream, range, head, &work);
}

void pq_stream_look(struct pq_stream *stream, struct pq_range range, const struct pq_layer *layer,
                    enum pq_input input, const struct pq_observer *observer) {
    struct work work = {.layer = layer, .input = input, .observer = observer};
    run(stream, range, look, &work);
}
