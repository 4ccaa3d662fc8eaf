/* What operators cost: their work adds up to the model's, their time is within the whole, and
 * nothing that is computed changes. */
#include "panq.h"
#include "tap.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum { TOKENS = 48 };

static struct pq_err err;
static struct pq_checkpoint *ckpt;
static struct pq_pool *pool;
static struct pq_model *model;
static const struct pq_config *config;
static int32_t ids[TOKENS + 1];
static float logits[2][8192];

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool near(double a, double b) {
    return fabs(a - b) <= 1e-9 * fabs(b);
}

/* A prompt of TOKENS in chunks of `chunk`, profiled, and a decoded token after it, which is not. */
static enum pq_status prefill_of(struct pq_profile *profile, int chunk, enum pq_kv_format kv,
                                 float *out) {
    struct pq_context_options options = {
        .sequences = 1, .positions = 128, .batch = TOKENS, .kv = kv};
    struct pq_context *ctx = NULL;
    enum pq_status status = pq_context_open(&ctx, model, pool, &options, &err);
    if (status != PQ_OK)
        return status;
    pq_context_profile(ctx, profile);
    for (int at = 0; at < TOKENS && status == PQ_OK; at += chunk) {
        struct pq_feed feed = {0, chunk, ids + at, at + chunk == TOKENS};
        status = pq_forward(ctx, &feed, 1, out, &err);
    }
    pq_context_profile(ctx, NULL);
    if (status == PQ_OK)
        status = pq_forward(ctx, &(struct pq_feed){0, 1, ids + TOKENS, 1}, 1, out, &err);
    pq_context_close(ctx);
    return status;
}

static enum pq_status prefill(struct pq_profile *profile, int chunk, float *out) {
    return prefill_of(profile, chunk, PQ_KV_NATIVE, out);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void test_the_work_is_the_models(void) {
    struct pq_profile p = {0};
    CHECK_OK(prefill(&p, TOKENS, logits[0]));
    double body = 0, heads = (double)config->layers * config->heads * config->head_dim;
    for (enum pq_operator op = 0; op < PQ_OP_HEAD; op++)
        body += op == PQ_OP_ATTENTION ? 0 : p.cost[op].fp_ops;
    CHECK(near(body, 2 * TOKENS * pq_model_token_macs(model)));
    CHECK(near(p.cost[PQ_OP_HEAD].fp_ops, 2.0 * config->vocab * config->hidden));
    CHECK(near(p.cost[PQ_OP_ATTENTION].fp_ops, 4 * heads * (TOKENS * (TOKENS + 1) / 2)));
    double weights = 0;
    for (enum pq_operator op = 0; op < PQ_OPERATORS; op++) {
        CHECK(p.cost[op].int8_ops == 0);
        CHECK(p.cost[op].bytes > 0);
        weights += op == PQ_OP_QKV || op == PQ_OP_O || op == PQ_OP_GATE_UP || op == PQ_OP_DOWN ||
                           op == PQ_OP_HEAD
                       ? p.cost[op].bytes
                       : 0;
    }
    CHECK(weights > (double)pq_model_token_bytes(model));
}

/* Keys in 8 bits are multiplied so, values are widened. */
static void test_the_work_of_a_cache_in_8_bits(void) {
    struct pq_profile p = {0};
    CHECK_OK(prefill_of(&p, TOKENS, PQ_KV_INT8, logits[0]));
    double heads = (double)config->layers * config->heads * config->head_dim;
    CHECK(near(p.cost[PQ_OP_ATTENTION].fp_ops, 2 * heads * (TOKENS * (TOKENS + 1) / 2)));
    CHECK(p.cost[PQ_OP_ATTENTION].int8_ops == p.cost[PQ_OP_ATTENTION].fp_ops);
}

static void test_chunks_do_the_same_work_and_read_weights_again(void) {
    struct pq_profile whole = {0}, halves = {0};
    CHECK_OK(prefill(&whole, TOKENS, logits[0]));
    CHECK_OK(prefill(&halves, TOKENS / 2, logits[0]));
    for (enum pq_operator op = 0; op < PQ_OPERATORS; op++)
        CHECK(near(halves.cost[op].fp_ops, whole.cost[op].fp_ops));
    double more = halves.cost[PQ_OP_DOWN].bytes - whole.cost[PQ_OP_DOWN].bytes;
    CHECK(more >= 2.0 * config->layers * config->hidden * config->ffn);
    CHECK(halves.cost[PQ_OP_HEAD].bytes == whole.cost[PQ_OP_HEAD].bytes);
}

static void test_the_parts_are_within_the_whole(void) {
    struct pq_profile p = {0};
    double start = seconds(), sum = 0;
    CHECK_OK(prefill(&p, TOKENS, logits[0]));
    double whole = seconds() - start;
    for (enum pq_operator op = 0; op < PQ_OPERATORS; op++) {
        CHECK(p.cost[op].seconds > 0);
        sum += p.cost[op].seconds;
    }
    CHECK(sum < whole);
}

/* A median of positive times is at most twice their mean; one alone is its own. */
static void test_the_typical_is_of_medians(void) {
    struct pq_profile p = {0};
    CHECK_OK(prefill(&p, TOKENS, logits[0]));
    for (enum pq_operator op = 0; op < PQ_OPERATORS; op++)
        CHECK(p.cost[op].typical > 0 && p.cost[op].typical <= 2 * p.cost[op].seconds);
    CHECK(p.cost[PQ_OP_EMBED].typical == p.cost[PQ_OP_EMBED].seconds);
    CHECK(p.cost[PQ_OP_HEAD].typical == p.cost[PQ_OP_HEAD].seconds);
}

static void test_nothing_changes(void) {
    struct pq_profile p = {0};
    size_t bytes = (size_t)config->vocab * sizeof(float);
    CHECK(bytes <= sizeof logits[0]);
    CHECK_OK(prefill(NULL, TOKENS, logits[0]));
    CHECK_OK(prefill(&p, TOKENS, logits[1]));
    CHECK(memcmp(logits[0], logits[1], bytes) == 0);
}

static void test_every_operator_has_its_name(void) {
    for (enum pq_operator op = 0; op < PQ_OPERATORS; op++)
        for (enum pq_operator other = 0; other < op; other++)
            CHECK(strcmp(pq_operator_name(op), pq_operator_name(other)) != 0);
}

int main(void) {
    struct pq_model_options options = {.isa = PQ_ISA_COUNT - 1};
    if (pq_pool_open(&pool, 2, &err) != PQ_OK ||
        pq_checkpoint_open(&ckpt, "models/pangu-mini", &err) != PQ_OK ||
        pq_model_open(&model, ckpt, &options, pool, &err) != PQ_OK) {
        printf("not ok 1 - %s\n", err.text);
        return 1;
    }
    config = pq_checkpoint_config(ckpt);
    for (int i = 0; i < TOKENS + 1; i++)
        ids[i] = i == 0 ? 1 : 35 + i * 37 % 1300;
    RUN(test_the_work_is_the_models);
    RUN(test_the_work_of_a_cache_in_8_bits);
    RUN(test_chunks_do_the_same_work_and_read_weights_again);
    RUN(test_the_parts_are_within_the_whole);
    RUN(test_the_typical_is_of_medians);
    RUN(test_nothing_changes);
    RUN(test_every_operator_has_its_name);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    pq_pool_close(pool);
    return tap_done();
}
