/* A model taken a step at a time gives what the forward pass gives, and a linear in memory is the
 * one that the loader makes. */
#include "quant/stream.h"

#include "quant/rounded.h"
#include "tap.h"

#include <string.h>

enum { SEQUENCES = 3, MOST = 40 };

static const int lengths[SEQUENCES] = {7, MOST, 1};
static struct pq_err err;
static struct pq_pool *pool;
static struct pq_checkpoint *ckpt;
static struct pq_model *model;

static int32_t id_of(int sequence, int t) {
    return 50 + (sequence * 131 + t * 17) % 900;
}

/* Everything through all layers, by steps. */
static void take_steps(struct pq_stream *s, struct pq_range range) {
    for (int i = 0; i < model->config.layers; i++) {
        pq_stream_attention(s, range, &model->layers[i]);
        pq_stream_output(s, range, &model->layers[i]);
        pq_stream_mlp(s, range, &model->layers[i]);
    }
}

static struct pq_stream *open_stream(void) {
    struct pq_stream *s = NULL;
    if (pq_stream_open(&s, &model->config, model->fp, lengths, SEQUENCES, pool, &err) != PQ_OK)
        return NULL;
    for (int i = 0; i < SEQUENCES; i++)
        for (int t = 0; t < lengths[i]; t++)
            pq_model_embed(model, id_of(i, t),
                           s->x + (size_t)(s->first[i] + t) * (size_t)model->config.hidden);
    return s;
}

static void test_steps_equal_forward(void) {
    struct pq_context *ctx;
    struct pq_context_options o = {.sequences = 1, .positions = MOST, .batch = MOST};
    struct pq_stream *s = open_stream();
    size_t vocab = (size_t)model->config.vocab;
    CHECK(s);
    CHECK_OK(pq_context_open(&ctx, model, pool, &o, &err));
    take_steps(s, (struct pq_range){0, SEQUENCES});
    float *want = malloc(MOST * vocab * sizeof *want), *got = malloc(MOST * vocab * sizeof *got);
    for (int i = 0; i < SEQUENCES; i++) {
        int32_t ids[MOST];
        for (int t = 0; t < lengths[i]; t++)
            ids[t] = id_of(i, t);
        struct pq_feed feed = {.n = lengths[i], .tokens = ids, .n_logits = lengths[i]};
        pq_sequence_truncate(ctx, 0, 0);
        CHECK_OK(pq_forward(ctx, &feed, 1, want, &err));
        pq_stream_head(s, (struct pq_range){i, 1}, &model->head, model->norm, got);
        CHECK(memcmp(want, got, (size_t)lengths[i] * vocab * sizeof *want) == 0);
    }
    free(want);
    free(got);
    pq_context_close(ctx);
    pq_stream_close(s);
}

/* A range leaves the other sequences alone. */
static void test_range(void) {
    struct pq_stream *s = open_stream(), *all = open_stream();
    size_t hidden = (size_t)model->config.hidden, row = hidden * sizeof(float);
    CHECK(s && all);
    size_t from = (size_t)s->first[1], to = (size_t)s->first[2], end = (size_t)s->first[3];
    take_steps(s, (struct pq_range){1, 1});
    CHECK(memcmp(s->x, all->x, from * row) == 0);
    CHECK(memcmp(s->x + to * hidden, all->x + to * hidden, (end - to) * row) == 0);
    take_steps(all, (struct pq_range){0, SEQUENCES});
    CHECK(memcmp(s->x + from * hidden, all->x + from * hidden, (to - from) * row) == 0);
    pq_stream_close(s);
    pq_stream_close(all);
}

struct seen {
    int rows[MOST + 8];
    int width, input;
};

static void see(void *user, enum pq_input input, int r, const float *x, int width) {
    struct seen *seen = user;
    seen->rows[r] += x[0] == x[0];
    seen->width = width;
    seen->input = (int)input;
}

static void test_look(void) {
    struct pq_stream *s = open_stream();
    const int widths[] = {model->config.hidden, model->config.heads * model->config.head_dim,
                          model->config.hidden, model->config.ffn};
    CHECK(s);
    pq_stream_attention(s, (struct pq_range){0, SEQUENCES}, &model->layers[0]);
    for (int input = PQ_INPUT_QKV; input <= PQ_INPUT_DOWN; input++) {
        struct seen seen = {.width = 0};
        struct pq_observer observer = {see, &seen};
        pq_stream_look(s, (struct pq_range){1, 2}, &model->layers[0], (enum pq_input)input,
                       &observer);
        CHECK(seen.width == widths[input] && seen.input == input);
        for (int t = 0; t < MOST + 8; t++)
            CHECK(seen.rows[t] == (t >= lengths[0]));
    }
    pq_stream_close(s);
}

/* The loader's panels of W8 and W4 checkpoints against those made from codes in memory. */
static void check_rounded(enum pq_scheme scheme, int group) {
    enum { N = 45, K = 70 };
    struct pq_rounded r;
    CHECK_OK(pq_rounded_open(&r, scheme, N, K, group, &err));
    float bias[N], x[K], want[N], got[N];
    for (int i = 0; i < N; i++) {
        r.scale[i] = 0.5f + (float)i;
        bias[i] = (float)(i * i);
        for (int g = 0; g < r.groups; g++)
            r.multiplier[i * r.groups + g] = (uint8_t)(1 + (i + g) % 15);
        for (int j = 0; j < K; j++)
            r.q[i * K + j] = (int8_t)((i * 31 + j * 7) % 16 - 8);
    }
    for (int j = 0; j < K; j++)
        x[j] = j == 3 ? 127 : (float)(j % 19 - 9); /* whole numbers: nothing is rounded */
    for (int i = 0; i < N; i++) {
        int64_t sum = 0;
        for (int j = 0; j < K; j++) {
            int m = r.groups ? r.multiplier[i * r.groups + j / group] : 1;
            sum += (int64_t)x[j] * m * r.q[i * K + j];
        }
        want[i] = (float)sum * r.scale[i] + bias[i];
    }
    struct pq_linear linear;
    struct pq_inputs inputs;
    const struct pq_ops *ops = pq_ops_get(PQ_ISA_COUNT - 1);
    CHECK_OK(pq_linear_from_rounded(&linear, ops, &r, bias, pool, &err));
    void *memory = aligned_alloc(64, (pq_rows_bytes(linear.kind, 1, K) + 63) / 64 * 64);
    void *scratch[8];
    for (int t = 0; t < pq_pool_threads(pool); t++)
        scratch[t] = malloc(pq_rows_scratch(PQ_KIND_I8, K) + pq_multiply_scratch(K, false));
    pq_rows_place(&inputs.integers, ops, linear.kind, 1, K, memory);
    pq_rows_set(&inputs.integers, 0, 0, x, K, scratch[0]);
    pq_rows_put(&inputs.integers, 0, 1, scratch[0]);
    struct pq_product product = {.linear = &linear, .y = got, .ldy = N};
    pq_multiply(pool, ops, &inputs, &product, 1, scratch);
    for (int i = 0; i < N; i++)
        CHECK(want[i] == got[i]);
    for (int t = 0; t < pq_pool_threads(pool); t++)
        free(scratch[t]);
    free(memory);
    pq_linear_release(&linear);
    pq_rounded_close(&r);
}

static void test_rounded(void) {
    check_rounded(PQ_SCHEME_W8A8, PQ_GROUP_CHANNEL);
    check_rounded(PQ_SCHEME_W4A8, 32);
    check_rounded(PQ_SCHEME_W4A8, PQ_GROUP_CHANNEL);
}

static void test_floats(void) {
    enum { N = 3, K = 40 };
    static float w[N][K];
    for (int j = 0; j < K; j++)
        w[1][j] = (float)j + 1.0f / 512;
    struct pq_linear f32, bf16;
    CHECK_OK(pq_linear_from_floats(&f32, pq_ops_get(PQ_ISA_C), PQ_KIND_F32, &w[0][0], N, K, NULL,
                                   pool, &err));
    CHECK_OK(pq_linear_from_floats(&bf16, pq_ops_get(PQ_ISA_C), PQ_KIND_BF16, &w[0][0], N, K, NULL,
                                   pool, &err));
    for (int j = 0; j < K; j++) {
        float value;
        uint16_t half;
        const unsigned char *floats = pq_linear_panel(&f32, 0).weights;
        const unsigned char *halves = pq_linear_panel(&bf16, 0).weights;
        memcpy(&value, floats + ((size_t)j * PQ_NR + 1) * 4, sizeof value);
        memcpy(&half, halves + ((size_t)(j / 2) * PQ_NR + 1) * 4 + j % 2 * 2, sizeof half);
        CHECK(value == w[1][j]);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(&value, &bits, sizeof value);
        CHECK(value - w[1][j] <= 0.126f && w[1][j] - value <= 0.126f);
    }
    pq_linear_release(&f32);
    pq_linear_release(&bf16);
}

int main(void) {
    struct pq_model_options o = {.precision = PQ_PRECISION_NATIVE, .isa = PQ_ISA_COUNT - 1};
    if (pq_pool_open(&pool, 2, &err) != PQ_OK ||
        pq_checkpoint_open(&ckpt, "models/pangu-mini", &err) != PQ_OK ||
        pq_model_open(&model, ckpt, &o, pool, &err) != PQ_OK) {
        printf("# %s\n", err.text);
        return 1;
    }
    RUN(test_steps_equal_forward);
    RUN(test_range);
    RUN(test_look);
    RUN(test_rounded);
    RUN(test_floats);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    pq_pool_close(pool);
    return tap_done();
}
