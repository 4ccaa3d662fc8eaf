/* Every switch of every family, on tiny checkpoints with random weights: logits against
 * transformers' (tools/golden_families.py), and what quantization makes of them. */
#include "io/safetensors.h"
#include "panq.h"
#include "scratch.h"
#include "tap.h"

#include <math.h>

static const char *const names[] = {
    "llama-heads",       "llama-pairs", "llama-fours-tied", "llama-bias", "llama-rope-llama3",
    "llama-rope-linear", "qwen2-tied",  "qwen2-untied",     "qwen3-tied", "qwen3-bias",
};
enum { NAMES = sizeof names / sizeof *names, TOKENS = 40, VOCAB = 64 };

static struct pq_pool *pool;
static struct pq_err err;

/* A file of tests/golden/families/NAME, or the directory itself; valid until the next call. */
static const char *golden(const char *name, const char *file) {
    static char path[256];
    snprintf(path, sizeof path, "tests/golden/families/%s%s%s", name, file ? "/" : "",
             file ? file : "");
    return path;
}

/* ---- Logits and their distance --------------------------------------------------------------- */

static const void *tensor(const struct pq_safetensors *st, const char *name) {
    for (int i = 0; i < st->n; i++)
        if (strcmp(st->tensors[i].info.name, name) == 0)
            return st->tensors[i].data;
    return NULL;
}

/* Logits [TOKENS][VOCAB] of the checkpoint in dir, its prompt fed in two chunks. */
static bool logits_of(const char *dir, const int32_t *ids, enum pq_precision precision,
                      enum pq_isa isa, float *logits) {
    struct pq_checkpoint *ckpt = NULL;
    struct pq_model *model = NULL;
    struct pq_context *ctx = NULL;
    struct pq_model_options options = {precision, isa};
    struct pq_context_options room = {.sequences = 1, .positions = TOKENS, .batch = TOKENS};
    struct pq_feed feeds[] = {{0, 33, ids, 33}, {0, TOKENS - 33, ids + 33, TOKENS - 33}};
    bool good = pq_checkpoint_open(&ckpt, dir, &err) == PQ_OK &&
                pq_model_open(&model, ckpt, &options, pool, &err) == PQ_OK &&
                pq_context_open(&ctx, model, pool, &room, &err) == PQ_OK &&
                pq_forward(ctx, &feeds[0], 1, logits, &err) == PQ_OK &&
                pq_forward(ctx, &feeds[1], 1, logits + (size_t)33 * VOCAB, &err) == PQ_OK;
    pq_context_close(ctx);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    if (!good)
        printf("# %s: %s\n", dir, err.text);
    return good;
}

struct distance {
    double max, kl; /* largest difference of a logit; mean over the positions */
};

static double log_sum_exp(const float *x) {
    double top = x[0], sum = 0;
    for (int i = 1; i < VOCAB; i++)
        top = fmax(top, x[i]);
    for (int i = 0; i < VOCAB; i++)
        sum += exp(x[i] - top);
    return top + log(sum);
}

static struct distance distance(const float *want, const float *got) {
    struct distance d = {0, 0};
    for (int t = 0; t < TOKENS; t++, want += VOCAB, got += VOCAB) {
        double p = log_sum_exp(want), q = log_sum_exp(got);
        for (int i = 0; i < VOCAB; i++) {
            d.max = fmax(d.max, fabs((double)want[i] - got[i]));
            d.kl += exp(want[i] - p) * ((want[i] - p) - (got[i] - q)) / TOKENS;
        }
    }
    return d;
}

/* The distance of dir's logits from the golden ones of the family `name`; NaN: failed. */
static struct distance against_golden(const char *name, const char *dir,
                                      enum pq_precision precision, enum pq_isa isa) {
    static float logits[TOKENS * VOCAB];
    struct pq_safetensors st;
    struct distance d = {NAN, NAN};
    if (pq_safetensors_open(&st, golden(name, "logits.safetensors"), &err) != PQ_OK) {
        printf("# %s\n", err.text);
        return d;
    }
    char path[1200];
    snprintf(path, sizeof path, "%s", dir ? dir : golden(name, NULL));
    if (logits_of(path, tensor(&st, "ids"), precision, isa, logits))
        d = distance(tensor(&st, "logits"), logits);
    pq_safetensors_close(&st);
    return d;
}

static void all_near(enum pq_precision precision, enum pq_isa isa, double most, double most_kl) {
    for (int i = 0; i < NAMES; i++) {
        struct distance d = against_golden(names[i], NULL, precision, isa);
        printf("# %-18s %s %s: max |difference| %.1e, mean KL %.1e\n", names[i],
               precision == PQ_PRECISION_FP32 ? "fp32" : "bf16", pq_isa_name(isa), d.max, d.kl);
        if (!(d.max <= most && d.kl <= most_kl))
            FAIL("%s is too far", names[i]);
    }
}

static void test_fp32(void) {
    all_near(PQ_PRECISION_FP32, pq_isa_best(), 1e-4, 1e-9);
}

static void test_fp32_plain_c(void) {
    all_near(PQ_PRECISION_FP32, PQ_ISA_C, 1e-4, 1e-9);
}

static void test_bf16(void) {
    all_near(PQ_PRECISION_NATIVE, pq_isa_best(), 0.5, 1e-3);
}

static void test_bf16_plain_c(void) {
    all_near(PQ_PRECISION_NATIVE, PQ_ISA_C, 0.5, 1e-3);
}

int main(void) {
    scratch_open();
    if (pq_pool_open(&pool, 2, &err) != PQ_OK)
        return 1;
    RUN(test_fp32);
    RUN(test_fp32_plain_c);
    RUN(test_bf16);
    RUN(test_bf16_plain_c);
    pq_pool_close(pool);
    return tap_done();
}
