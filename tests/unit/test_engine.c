/* The forward pass against an independent FP32 implementation (PyTorch, tools/mini/golden.py), and
 * against itself: ragged batches, chunks, threads and ISAs must not change a result. */
#include "io/safetensors.h"
#include "panq.h"
#include "scratch.h"
#include "tap.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define MINI "models/pangu-mini"

static struct pq_err err;
static struct pq_checkpoint *ckpt;
static struct pq_pool *pool;
static struct pq_safetensors golden;

static const void *golden_data(const char *kind, int i, int *n) {
    char name[32];
    snprintf(name, sizeof name, "%s.%d", kind, i);
    for (int t = 0; t < golden.n; t++)
        if (strcmp(golden.tensors[t].info.name, name) == 0) {
            *n = (int)golden.tensors[t].info.shape[0];
            return golden.tensors[t].data;
        }
    return NULL;
}

/* Plain C's tiles are compared with all others in the tests of kernels, too. */
static bool is_tried(enum pq_isa isa) {
    return pq_isa_runs(isa) && !(SANITIZED && isa == PQ_ISA_C);
}

static struct pq_model *open_model_of(const struct pq_checkpoint *from, enum pq_precision precision,
                                      enum pq_isa isa) {
    struct pq_model *model = NULL;
    struct pq_model_options options = {precision, isa};
    if (pq_model_open(&model, from, &options, pool, &err) != PQ_OK)
        printf("# %s\n", err.text);
    return model;
}

static struct pq_model *open_model(enum pq_precision precision, enum pq_isa isa) {
    return open_model_of(ckpt, precision, isa);
}

static struct pq_context *open_context_of(const struct pq_model *model, struct pq_pool *threads,
                                          int sequences, int batch, enum pq_kv_format kv) {
    struct pq_context *ctx = NULL;
    struct pq_context_options options = {sequences, 1024, batch, kv};
    if (pq_context_open(&ctx, model, threads, &options, &err) != PQ_OK)
        printf("# %s\n", err.text);
    return ctx;
}

static struct pq_context *open_context(const struct pq_model *model, struct pq_pool *threads,
                                       int sequences, int batch) {
    return open_context_of(model, threads, sequences, batch, PQ_KV_NATIVE);
}

/* ---- Against the golden logits --------------------------------------------------------------- */

struct distance {
    double max, kl_sum;
    int rows;
};

static double kl(const float *p, const float *q, int n) {
    double top_p = p[0], top_q = q[0], sum_p = 0, sum_q = 0, kl_sum = 0;
    for (int i = 1; i < n; i++) {
        top_p = fmax(top_p, p[i]);
        top_q = fmax(top_q, q[i]);
    }
    for (int i = 0; i < n; i++) {
        sum_p += exp(p[i] - top_p);
        sum_q += exp(q[i] - top_q);
    }
    for (int i = 0; i < n; i++) {
        double lp = p[i] - top_p - log(sum_p), lq = q[i] - top_q - log(sum_q);
        kl_sum += exp(lp) * (lp - lq);
    }
    return kl_sum;
}

static void compare(struct pq_context *ctx, int vocab, struct distance *d) {
    int n = 0, n_rows = 0, rows_again = 0;
    for (int i = 0;; i++) {
        const int32_t *ids = golden_data("ids", i, &n), *rows = golden_data("rows", i, &n_rows);
        const float *want = golden_data("logits", i, &rows_again);
        if (!ids)
            break;
        float *logits = malloc((size_t)n * (size_t)vocab * sizeof *logits);
        struct pq_feed feed = {0, n, ids, n};
        CHECK_OK(pq_forward(ctx, &feed, 1, logits, &err));
        pq_sequence_truncate(ctx, 0, 0);
        for (int r = 0; r < n_rows; r++) {
            const float *a = want + (size_t)r * (size_t)vocab;
            const float *b = logits + (size_t)rows[r] * (size_t)vocab;
            for (int c = 0; c < vocab; c++)
                d->max = fmax(d->max, fabs(a[c] - b[c]));
            d->kl_sum += kl(a, b, vocab);
            d->rows++;
        }
        free(logits);
    }
    CHECK(d->rows > 80);
}

static void against_golden(enum pq_precision precision, enum pq_kv_format kv, double most,
                           double most_kl) {
    for (enum pq_isa isa = PQ_ISA_C; isa < PQ_ISA_COUNT; isa++) {
        if (!is_tried(isa))
            continue;
        struct pq_model *model = open_model(precision, isa);
        CHECK(model);
        struct pq_context *ctx = open_context_of(model, pool, 1, 256, kv);
        CHECK(ctx);
        struct distance d = {0, 0, 0};
        compare(ctx, pq_model_config(model)->vocab, &d);
        printf("# %s%s %s: max |difference| %.2e, mean KL %.2e over %d positions\n",
               precision == PQ_PRECISION_FP32 ? "fp32" : "bf16",
               kv == PQ_KV_INT8 ? " int8 cache" : "", pq_isa_name(isa), d.max, d.kl_sum / d.rows,
               d.rows);
        CHECK(d.max < most && d.kl_sum / d.rows < most_kl);
        pq_context_close(ctx);
        pq_model_close(model);
    }
}

static void test_fp32_logits_match_golden(void) {
    against_golden(PQ_PRECISION_FP32, PQ_KV_NATIVE, 1e-3, 1e-8);
}

static void test_bf16_logits_are_near_golden(void) {
    against_golden(PQ_PRECISION_NATIVE, PQ_KV_NATIVE, 0.15, 1e-4);
}

/* In int8 codes: the same arithmetic but for keys and values, whose error shows beside FP32. */
static void test_int8_cache_is_near_golden(void) {
    against_golden(PQ_PRECISION_FP32, PQ_KV_INT8, 0.2, 1e-4);
    against_golden(PQ_PRECISION_NATIVE, PQ_KV_INT8, 0.25, 1e-4);
}

static size_t kv_bytes(const struct pq_model *model, enum pq_kv_format kv) {
    struct pq_context *ctx = open_context_of(model, pool, 1, 16, kv);
    size_t bytes = ctx ? pq_context_kv_bytes(ctx) : 0;
    pq_context_close(ctx);
    return bytes;
}

/* A scale is 4 bytes for 64 of pangu-mini's codes: 17/32 of BF16. */
static void test_int8_cache_is_half_as_large(void) {
    struct pq_model *model = open_model(PQ_PRECISION_NATIVE, PQ_ISA_COUNT - 1);
    CHECK(model);
    size_t native = kv_bytes(model, PQ_KV_NATIVE), codes = kv_bytes(model, PQ_KV_INT8);
    CHECK(native > 0 && codes * 32 == native * 17);
    pq_model_close(model);
}

/* ---- Greedy replies -------------------------------------------------------------------------- */

/* Greedy ids after prompt [n]; returns how many, at most `most`; ends at the end of turn. */
static int reply_of(struct pq_context *ctx, const struct pq_config *c, const int32_t *prompt, int n,
                    int32_t *out, int most) {
    float logits[2048];
    struct pq_feed feed = {0, n, prompt, 1};
    int made = 0;
    pq_sequence_truncate(ctx, 0, 0);
    while (made < most) {
        if (pq_forward(ctx, &feed, 1, logits, &err) != PQ_OK)
            return -1;
        int best = 0;
        for (int i = 1; i < c->vocab; i++)
            best = logits[i] > logits[best] ? i : best;
        out[made++] = best;
        if (best == c->eos[0])
            break;
        feed = (struct pq_feed){0, 1, &out[made - 1], 1};
    }
    return made;
}

static int ids_of(json_t *array, int32_t *ids) {
    int n = (int)json_array_size(array);
    for (int i = 0; i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(array, (size_t)i));
    return n;
}

/* Token for token; a reply may part from the golden one only if the golden run's two best logits
 * were nearer to each other than twice the bound of the logits' test. */
static void replies_match(enum pq_precision precision, double bound) {
    struct pq_model *model = open_model(precision, PQ_ISA_COUNT - 1);
    CHECK(model);
    struct pq_context *ctx = open_context(model, pool, 1, 512);
    FILE *f = fopen("tests/golden/replies.jsonl", "r");
    CHECK(ctx && f);
    json_t *entry;
    int same = 0, all = 0;
    while ((entry = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
        int32_t prompt[1024], want[1024], got[1024];
        int n = ids_of(json_object_get(entry, "prompt_ids"), prompt);
        int n_want = ids_of(json_object_get(entry, "reply_ids"), want);
        double margin = json_real_value(json_object_get(entry, "margin"));
        int n_got = reply_of(ctx, pq_model_config(model), prompt, n, got, n_want);
        bool equal = n_got == n_want && memcmp(got, want, (size_t)n_want * sizeof *got) == 0;
        json_decref(entry);
        all++;
        same += equal;
        if (!equal && margin >= 2 * bound)
            FAIL("reply %d differs although its least margin is %g", all, margin);
    }
    printf("# %d of %d replies match token for token\n", same, all);
    CHECK(all == 60 && same >= 55);
    fclose(f);
    pq_context_close(ctx);
    pq_model_close(model);
}

static void test_bf16_replies_match_golden(void) {
    replies_match(PQ_PRECISION_NATIVE, 0.15);
}

static void test_fp32_replies_match_golden(void) {
    replies_match(PQ_PRECISION_FP32, 1e-3);
}

/* ---- Against itself -------------------------------------------------------------------------- */

enum { TOKENS = SANITIZED ? 130 : 300, SHORT = 45, LONG = 1000, LAST = 12 };
static int32_t text[LONG];

/* Logits of all tokens of text [n], fed in chunks of `chunk`. */
static float *logits_in_chunks(struct pq_context *ctx, int sequence, int n, int chunk) {
    size_t vocab = 1413;
    float *logits = malloc((size_t)n * vocab * sizeof *logits);
    pq_sequence_truncate(ctx, sequence, 0);
    for (int at = 0; at < n; at += chunk) {
        int now = n - at < chunk ? n - at : chunk;
        struct pq_feed feed = {sequence, now, text + at, now};
        if (pq_forward(ctx, &feed, 1, logits + (size_t)at * vocab, &err) != PQ_OK)
            printf("# %s\n", err.text);
    }
    return logits;
}

static void self_consistent(const struct pq_checkpoint *from, enum pq_precision precision,
                            enum pq_isa isa, enum pq_kv_format kv) {
    size_t vocab = 1413, bytes = TOKENS * vocab * sizeof(float);
    struct pq_model *model = open_model_of(from, precision, isa);
    CHECK(model);
    struct pq_context *ctx = open_context_of(model, pool, 3, 512, kv);
    CHECK(ctx);
    float *whole = logits_in_chunks(ctx, 0, TOKENS, TOKENS);
    for (int chunk = 1; chunk < TOKENS; chunk = chunk * 5 + 2) {
        float *cut = logits_in_chunks(ctx, 1, TOKENS, chunk);
        if (memcmp(whole, cut, bytes))
            FAIL("chunks of %d change the logits", chunk);
        free(cut);
    }
    /* Two decoding sequences and a prompt in one call: slots 0 and 1 hold the text less a token. */
    float *mixed = malloc((size_t)(SHORT + 2) * vocab * sizeof *mixed);
    pq_sequence_truncate(ctx, 0, TOKENS - 1);
    pq_sequence_truncate(ctx, 1, 100);
    struct pq_feed feeds[] = {
        {1, 1, text + 100, 1}, {2, SHORT, text, SHORT}, {0, 1, text + TOKENS - 1, 1}};
    CHECK_OK(pq_forward(ctx, feeds, 3, mixed, &err));
    CHECK(memcmp(mixed, whole + 100 * vocab, vocab * 4) == 0);
    CHECK(memcmp(mixed + vocab, whole, SHORT * vocab * 4) == 0);
    CHECK(memcmp(mixed + (SHORT + 1) * vocab, whole + (TOKENS - 1) * vocab, vocab * 4) == 0);
    CHECK(pq_sequence_length(ctx, 0) == TOKENS && pq_sequence_length(ctx, 1) == 101);
    pq_context_close(ctx);

    for (int threads = 1; threads <= 5; threads += 2) {
        struct pq_pool *other;
        CHECK_OK(pq_pool_open(&other, threads, &err));
        ctx = open_context_of(model, other, 1, 512, kv);
        float *again = logits_in_chunks(ctx, 0, TOKENS, 128);
        if (memcmp(whole, again, bytes))
            FAIL("%d threads change the logits", threads);
        free(again);
        pq_context_close(ctx);
        pq_pool_close(other);
    }
    free(whole);
    free(mixed);
    pq_model_close(model);
}

static void test_batches_and_threads_do_not_matter_bf16(void) {
    for (enum pq_isa isa = PQ_ISA_C; isa < PQ_ISA_COUNT; isa++)
        if (is_tried(isa))
            self_consistent(ckpt, PQ_PRECISION_NATIVE, isa, PQ_KV_NATIVE);
}

static void test_batches_and_threads_do_not_matter_fp32(void) {
    self_consistent(ckpt, PQ_PRECISION_FP32, PQ_ISA_COUNT - 1, PQ_KV_NATIVE);
}

/* A past of several spans, whose parts are summed on different threads where there are few tokens:
 * the last ones one, two and four at a time, on 1, 2 and 4 threads, against all in one call. */
static void long_pasts(enum pq_precision precision, enum pq_kv_format kv) {
    size_t vocab = 1413, last = (size_t)(LONG - LAST) * vocab;
    struct pq_model *model = open_model(precision, PQ_ISA_COUNT - 1);
    CHECK(model);
    struct pq_context *ctx = open_context_of(model, pool, 1, LONG, kv);
    float *whole = logits_in_chunks(ctx, 0, LONG, LONG);
    pq_context_close(ctx);
    for (int threads = 1; threads <= 5; threads += threads) {
        struct pq_pool *other;
        CHECK_OK(pq_pool_open(&other, threads, &err));
        ctx = open_context_of(model, other, 2, LONG, kv);
        float *first = logits_in_chunks(ctx, 1, LONG - LAST, 400);
        CHECK(memcmp(first, whole, last * 4) == 0);
        free(first);
        for (int chunk = 1; chunk <= 5; chunk += chunk) {
            float logits[5 * 1413];
            pq_sequence_truncate(ctx, 1, LONG - LAST);
            for (int at = LONG - LAST; at < LONG; at += chunk) {
                struct pq_feed feed = {1, chunk, text + at, chunk};
                CHECK_OK(pq_forward(ctx, &feed, 1, logits, &err));
                if (memcmp(logits, whole + (size_t)at * vocab, (size_t)chunk * vocab * 4))
                    FAIL("%d threads, %d tokens at %d: other logits", threads, chunk, at);
            }
        }
        pq_context_close(ctx);
        pq_pool_close(other);
    }
    free(whole);
    pq_model_close(model);
}

static void test_batches_and_threads_do_not_matter_int8_cache(void) {
    for (enum pq_isa isa = PQ_ISA_C; isa < PQ_ISA_COUNT; isa++)
        if (is_tried(isa))
            self_consistent(ckpt, PQ_PRECISION_NATIVE, isa, PQ_KV_INT8);
}

static void test_long_pasts_do_not_matter(void) {
    long_pasts(PQ_PRECISION_NATIVE, PQ_KV_NATIVE);
    long_pasts(PQ_PRECISION_NATIVE, PQ_KV_INT8);
    if (!SANITIZED)
        long_pasts(PQ_PRECISION_FP32, PQ_KV_NATIVE);
}

static void same_on_every_isa(const struct pq_checkpoint *from, enum pq_kv_format kv) {
    float *first = NULL;
    for (enum pq_isa isa = PQ_ISA_C; isa < PQ_ISA_COUNT; isa++) {
        if (!is_tried(isa))
            continue;
        struct pq_model *model = open_model_of(from, PQ_PRECISION_FP32, isa);
        struct pq_context *ctx = open_context_of(model, pool, 1, 512, kv);
        float *logits = logits_in_chunks(ctx, 0, SHORT, SHORT);
        if (first && memcmp(first, logits, SHORT * 1413 * 4))
            FAIL("%s differs from plain C", pq_isa_name(isa));
        pq_context_close(ctx);
        pq_model_close(model);
        if (first)
            free(logits);
        else
            first = logits;
    }
    free(first);
}

static void test_fp32_is_the_same_on_every_isa(void) {
    same_on_every_isa(ckpt, PQ_KV_NATIVE);
    same_on_every_isa(ckpt, PQ_KV_INT8);
}

/* ---- Quantized ------------------------------------------------------------------------------- */

/* pangu-mini in each form that panq writes: as consistent as BF16, the same on every ISA where
 * nothing but integers is summed in BF16's place, and near the golden logits. */
static void quantized(enum pq_scheme scheme, int group, double most_kl) {
    struct pq_quantize_options options = {.scheme = scheme, .group = group};
    struct pq_checkpoint *made = NULL;
    char name[32];
    snprintf(name, sizeof name, "%s-%d", pq_scheme_name(scheme), group);
    CHECK_OK(pq_quantize(MINI, scratch_path(name), &options, pool, &err));
    CHECK_OK(pq_checkpoint_open(&made, scratch_path(name), &err));
    self_consistent(made, PQ_PRECISION_NATIVE, PQ_ISA_COUNT - 1, PQ_KV_NATIVE);
    same_on_every_isa(made, PQ_KV_NATIVE);
    struct pq_model *model = open_model_of(made, PQ_PRECISION_NATIVE, PQ_ISA_COUNT - 1);
    struct pq_context *ctx = open_context(model, pool, 1, 256);
    struct distance d = {0, 0, 0};
    compare(ctx, 1413, &d);
    printf("# %s group %d: mean KL %.2e over %d positions\n", pq_scheme_name(scheme), group,
           d.kl_sum / d.rows, d.rows);
    CHECK(d.kl_sum / d.rows < most_kl);
    pq_context_close(ctx);
    pq_model_close(model);
    pq_checkpoint_close(made);
}

static void test_w8a8(void) {
    quantized(PQ_SCHEME_W8A8, PQ_GROUP_CHANNEL, 5e-4);
}

static void test_w4a8_group_32(void) {
    quantized(PQ_SCHEME_W4A8, 32, 1e-2);
}

static void test_w4a8_group_256(void) {
    quantized(PQ_SCHEME_W4A8, 256, 1.2e-2);
}

static void test_w4a8_channel(void) {
    quantized(PQ_SCHEME_W4A8, PQ_GROUP_CHANNEL, 1.6e-2);
}

static void test_bad_batches_are_refused(void) {
    struct pq_model *model = open_model(PQ_PRECISION_NATIVE, PQ_ISA_COUNT - 1);
    struct pq_context *ctx = open_context(model, pool, 2, 8);
    int32_t ids[16] = {1, 2, 3}, bad[1] = {1413}, negative[1] = {-1};
    float logits[1413];
    struct pq_feed good = {0, 3, ids, 1};
    struct pq_feed twice[] = {good, good};
    struct pq_feed slot = {2, 1, ids, 0}, none = {0, 0, ids, 0}, many = {0, 9, ids, 0};
    struct pq_feed outside = {0, 1, bad, 0}, below = {0, 1, negative, 0}, over = {0, 1, ids, 2};
    CHECK(pq_forward(ctx, &slot, 1, NULL, &err) == PQ_EINVAL && strstr(err.text, "not 2"));
    CHECK(pq_forward(ctx, &none, 1, NULL, &err) == PQ_EINVAL);
    CHECK(pq_forward(ctx, &many, 1, NULL, &err) == PQ_ERANGE && strstr(err.text, "9"));
    CHECK(pq_forward(ctx, &outside, 1, NULL, &err) == PQ_EINVAL && strstr(err.text, "1413"));
    CHECK(pq_forward(ctx, &below, 1, NULL, &err) == PQ_EINVAL);
    CHECK(pq_forward(ctx, &over, 1, logits, &err) == PQ_EINVAL);
    CHECK(pq_forward(ctx, twice, 2, logits, &err) == PQ_EINVAL);
    CHECK(pq_forward(ctx, &good, 1, NULL, &err) == PQ_EINVAL);
    CHECK(pq_sequence_length(ctx, 0) == 0);
    for (int i = 0; i < 1024; i += 8) {
        struct pq_feed fill = {1, 8, ids, 0};
        CHECK_OK(pq_forward(ctx, &fill, 1, NULL, &err));
    }
    struct pq_feed full = {1, 1, ids, 0};
    CHECK(pq_forward(ctx, &full, 1, NULL, &err) == PQ_ERANGE && strstr(err.text, "1024 of 1024"));
    pq_context_close(ctx);
    pq_model_close(model);
}

int main(void) {
    scratch_open();
    if (pq_pool_open(&pool, 2, &err) != PQ_OK || pq_checkpoint_open(&ckpt, MINI, &err) != PQ_OK ||
        pq_safetensors_open(&golden, "tests/golden/logits.safetensors", &err) != PQ_OK) {
        printf("not ok 1 - %s\n", err.text);
        return 1;
    }
    for (int i = 0; i < LONG; i++)
        text[i] = i == 0 ? 1 : 35 + i * 37 % 1300;
    if (!SANITIZED) {
        RUN(test_fp32_logits_match_golden);
        RUN(test_bf16_logits_are_near_golden);
        RUN(test_int8_cache_is_near_golden);
        RUN(test_fp32_replies_match_golden);
        RUN(test_bf16_replies_match_golden);
    }
    RUN(test_int8_cache_is_half_as_large);
    RUN(test_batches_and_threads_do_not_matter_bf16);
    RUN(test_batches_and_threads_do_not_matter_fp32);
    RUN(test_batches_and_threads_do_not_matter_int8_cache);
    RUN(test_long_pasts_do_not_matter);
    RUN(test_fp32_is_the_same_on_every_isa);
    RUN(test_w8a8);
    RUN(test_w4a8_group_32);
    RUN(test_w4a8_group_256);
    RUN(test_w4a8_channel);
    RUN(test_bad_batches_are_refused);
    pq_safetensors_close(&golden);
    pq_checkpoint_close(ckpt);
    pq_pool_close(pool);
    return tap_done();
}
