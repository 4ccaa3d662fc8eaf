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

/* ---- Each switch is seen --------------------------------------------------------------------- */

/* The family's files in a directory whose config.json has `key` (dotted) changed to `value`, or
 * without it where that is NULL. */
static const char *changed(const char *name, const char *key, const char *value) {
    static char path[1024];
    char weights[1200];
    json_t *root = json_load_file(golden(name, "config.json"), 0, NULL), *at = root;
    for (const char *dot; (dot = strchr(key, '.')); key = dot + 1)
        at = json_object_getn(at, key, (size_t)(dot - key));
    if (value)
        json_object_set_new(at, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(at, key);
    json_dump_file(root, scratch_path("config.json"), 0);
    json_decref(root);
    remove(scratch_path("model.safetensors"));
    if (!realpath(golden(name, "model.safetensors"), weights) ||
        symlink(weights, scratch_path("model.safetensors")) != 0)
        perror(name);
    snprintf(path, sizeof path, "%s", scratch_dir);
    return path;
}

/* A config that says something else gives other logits: the golden files would notice. */
static void test_switches_matter(void) {
    static const struct {
        const char *name, *key, *value;
    } changes[] = {
        {"llama-pairs", "rope_theta", "10000.0"},
        {"llama-rope-linear", "rope_scaling.factor", "2.0"},
        {"llama-rope-linear", "rope_scaling", NULL},
        {"llama-rope-llama3", "rope_scaling", NULL},
        {"llama-rope-llama3", "rope_scaling.factor", "4.0"},
        {"llama-rope-llama3", "rope_scaling.low_freq_factor", "1.5"},
        {"llama-rope-llama3", "rope_scaling.high_freq_factor", "8.0"},
        {"llama-rope-llama3", "rope_scaling.original_max_position_embeddings", "64"},
        {"qwen3-bias", "rope_parameters.factor", "4.0"},
        {"qwen3-bias", "rms_norm_eps", "0.1"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const char *dir = changed(changes[i].name, changes[i].key, changes[i].value);
        struct distance d =
            against_golden(changes[i].name, dir, PQ_PRECISION_FP32, PQ_ISA_COUNT - 1);
        printf("# %s with another %s: %.1e\n", changes[i].name, changes[i].key, d.max);
        CHECK(d.max > 1e-2);
    }
}

/* A config that leaves a tensor without a place, or wants one that is not there, is refused. */
static void test_tensors_of_families(void) {
    static const struct {
        const char *name, *key, *value, *words;
    } changes[] = {
        {"llama-bias", "attention_bias", "false", "_proj.bias, BF16 "},
        {"llama-pairs", "attention_bias", "true", "q_proj.bias is missing"},
        {"llama-pairs", "tie_word_embeddings", "true", NULL},
        {"qwen2-tied", "tie_word_embeddings", "false", "lm_head.weight is missing"},
        {"qwen2-untied", "num_key_value_heads", "2", "k_proj.weight has shape [32, 32]"},
        {"qwen3-tied", "head_dim", "16", "q_proj.weight has shape [64, 32]"},
        {"qwen3-bias", "num_hidden_layers", "1", "model.layers.1."},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct pq_checkpoint *ckpt = NULL;
        const char *dir = changed(changes[i].name, changes[i].key, changes[i].value);
        enum pq_status status = pq_checkpoint_open(&ckpt, dir, &err);
        bool refused = status != PQ_OK && changes[i].words && strstr(err.text, changes[i].words);
        pq_checkpoint_close(ckpt);
        if (changes[i].words ? !refused : status != PQ_OK)
            FAIL("%s with %s: %s", changes[i].name, changes[i].key, err.text);
    }
    /* As one family's tensors under another's name. */
    const char *dir = changed("qwen3-tied", "architectures", NULL);
    json_t *root = json_load_file(scratch_path("config.json"), 0, NULL);
    json_object_set_new(root, "model_type", json_string("qwen2"));
    json_dump_file(root, scratch_path("config.json"), 0);
    json_decref(root);
    struct pq_checkpoint *ckpt = NULL;
    CHECK(pq_checkpoint_open(&ckpt, dir, &err) == PQ_EFORMAT && strstr(err.text, "q_proj.bias"));
}

static void test_stop_tokens(void) {
    struct pq_checkpoint *ckpt = NULL;
    CHECK_OK(pq_checkpoint_open(&ckpt, golden("llama-rope-llama3", NULL), &err));
    const struct pq_config *c = pq_checkpoint_config(ckpt);
    CHECK(c->n_eos == 2 && c->eos[0] == 2 && c->eos[1] == 3);
    pq_checkpoint_close(ckpt);
    const char *dir = changed("llama-rope-llama3", "eos_token_id", "2");
    scratch_text("generation_config.json", "{\"eos_token_id\": [7, 2]}");
    CHECK_OK(pq_checkpoint_open(&ckpt, dir, &err));
    c = pq_checkpoint_config(ckpt);
    CHECK(c->n_eos == 2 && c->eos[0] == 2 && c->eos[1] == 7);
    pq_checkpoint_close(ckpt);
    remove(scratch_path("generation_config.json"));
}

/* ---- The engine's promises, with QK norm ----------------------------------------------------- */

/* qwen3's logits are the same on every ISA in FP32, and for any chunks and threads in BF16. */
static void test_exactness(void) {
    float first[TOKENS * VOCAB], again[TOKENS * VOCAB];
    struct pq_safetensors st;
    char dir[256];
    snprintf(dir, sizeof dir, "%s", golden("qwen3-bias", NULL));
    CHECK_OK(pq_safetensors_open(&st, golden("qwen3-bias", "logits.safetensors"), &err));
    const int32_t *ids = tensor(&st, "ids");
    CHECK(logits_of(dir, ids, PQ_PRECISION_FP32, PQ_ISA_C, first));
    for (enum pq_isa isa = PQ_ISA_C + 1; isa < PQ_ISA_COUNT; isa++) {
        if (!pq_isa_runs(isa))
            continue;
        CHECK(logits_of(dir, ids, PQ_PRECISION_FP32, isa, again));
        CHECK(memcmp(first, again, sizeof first) == 0);
    }
    CHECK(logits_of(dir, ids, PQ_PRECISION_NATIVE, PQ_ISA_COUNT - 1, first));
    struct pq_checkpoint *ckpt;
    CHECK_OK(pq_checkpoint_open(&ckpt, dir, &err));
    for (int threads = 1; threads <= 3; threads += 2) {
        struct pq_pool *own;
        struct pq_model *model;
        struct pq_context *ctx;
        struct pq_model_options options = {PQ_PRECISION_NATIVE, PQ_ISA_COUNT - 1};
        struct pq_context_options room = {.sequences = 1, .positions = TOKENS, .batch = 7};
        CHECK_OK(pq_pool_open(&own, threads, &err));
        CHECK_OK(pq_model_open(&model, ckpt, &options, own, &err));
        CHECK_OK(pq_context_open(&ctx, model, own, &room, &err));
        for (int at = 0; at < TOKENS; at += 3 + threads) {
            int n = TOKENS - at < 3 + threads ? TOKENS - at : 3 + threads;
            struct pq_feed feed = {0, n, ids + at, n};
            CHECK_OK(pq_forward(ctx, &feed, 1, again + (size_t)at * VOCAB, &err));
        }
        CHECK(memcmp(first, again, sizeof first) == 0);
        pq_context_close(ctx);
        pq_model_close(model);
        pq_pool_close(own);
    }
    pq_checkpoint_close(ckpt);
    pq_safetensors_close(&st);
}

/* ---- Quantized ------------------------------------------------------------------------------- */

/* Gaussian weights over 32 and 64 inputs are the worst case of 4 bits; what is tested is that every
 * family's every part survives: a forgotten bias, norm or tied head moves logits by several. */

static void quantized(const struct pq_quantize_options *options, double most_kl) {
    for (int i = 0; i < NAMES; i++) {
        char out[1200], from[256];
        snprintf(out, sizeof out, "%s", scratch_path(pq_scheme_name(options->scheme)));
        snprintf(from, sizeof from, "%s", golden(names[i], NULL));
        char command[1300];
        snprintf(command, sizeof command, "rm -rf '%s'", out);
        CHECK(system(command) == 0);
        CHECK_OK(pq_quantize(from, out, options, pool, &err));
        struct distance best = against_golden(names[i], out, PQ_PRECISION_NATIVE, PQ_ISA_COUNT - 1);
        struct distance plain = against_golden(names[i], out, PQ_PRECISION_NATIVE, PQ_ISA_C);
        printf("# %-18s %s%s group %d%s: max |difference| %.1e, mean KL %.1e, in plain C %.1e\n",
               names[i], pq_scheme_name(options->scheme),
               options->recipe == PQ_RECIPE_ROTATE ? " rotated" : "", options->group,
               options->portable ? " portable" : "", best.max, best.kl, plain.kl);
        if (!(best.kl <= most_kl && plain.kl <= most_kl))
            FAIL("%s is too far", names[i]);
    }
}

static void test_w8a8(void) {
    quantized(&(struct pq_quantize_options){.scheme = PQ_SCHEME_W8A8}, 5e-3);
    quantized(&(struct pq_quantize_options){.scheme = PQ_SCHEME_W8A8, .portable = true}, 5e-3);
}

static void test_w4a8(void) {
    quantized(&(struct pq_quantize_options){.scheme = PQ_SCHEME_W4A8, .group = 32}, 0.4);
    quantized(&(struct pq_quantize_options){.scheme = PQ_SCHEME_W4A8}, 0.4);
}

static void test_w4a8_portable(void) {
    quantized(
        &(struct pq_quantize_options){.scheme = PQ_SCHEME_W4A8, .group = 32, .portable = true},
        0.4);
    quantized(&(struct pq_quantize_options){.scheme = PQ_SCHEME_W4A8, .portable = true}, 0.4);
}

static void test_rotated(void) {
    struct pq_quantize_options w8 = {.scheme = PQ_SCHEME_W8A8, .recipe = PQ_RECIPE_ROTATE};
    struct pq_quantize_options w4 = {
        .scheme = PQ_SCHEME_W4A8, .group = 32, .recipe = PQ_RECIPE_ROTATE};
    quantized(&w8, 5e-3);
    quantized(&w4, 0.4);
    w8.portable = w4.portable = true;
    quantized(&w8, 5e-3);
    quantized(&w4, 0.4);
}

/* ---- Files of tensors ------------------------------------------------------------------------ */

static void test_tensors_save(void) {
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const int32_t ids[2] = {7, 8};
    struct pq_tensor_info infos[] = {
        {.name = "x", .dtype = "F32", .rank = 2, .shape = {3, 2}},
        {.name = "ids", .dtype = "I32", .rank = 1, .shape = {2}},
    };
    const void *data[] = {x, ids};
    char path[1200];
    snprintf(path, sizeof path, "%s", scratch_text("saved", "what was there"));
    CHECK_OK(pq_tensors_save(path, infos, data, 2, &err));
    struct pq_safetensors st;
    CHECK_OK(pq_safetensors_open(&st, path, &err));
    CHECK(st.n == 2 && memcmp(tensor(&st, "x"), x, sizeof x) == 0);
    CHECK(memcmp(tensor(&st, "ids"), ids, sizeof ids) == 0);
    CHECK(st.tensors[0].info.rank == 2 && st.tensors[0].info.shape[0] == 3);
    pq_safetensors_close(&st);
    /* What fails leaves the file as it was. */
    infos[1].name = "x";
    CHECK(pq_tensors_save(path, infos, data, 2, &err) == PQ_EINVAL && strstr(err.text, "twice"));
    infos[1].name = "ids";
    infos[1].dtype = "I9";
    CHECK(pq_tensors_save(path, infos, data, 2, &err) == PQ_EINVAL && strstr(err.text, "I9"));
    CHECK_OK(pq_safetensors_open(&st, path, &err));
    pq_safetensors_close(&st);
    CHECK(access(scratch_path("saved.partial"), F_OK) != 0);
}

int main(void) {
    scratch_open();
    if (pq_pool_open(&pool, 2, &err) != PQ_OK)
        return 1;
    RUN(test_fp32);
    RUN(test_fp32_plain_c);
    RUN(test_bf16);
    RUN(test_bf16_plain_c);
    RUN(test_switches_matter);
    RUN(test_tensors_of_families);
    RUN(test_stop_tokens);
    RUN(test_exactness);
    RUN(test_w8a8);
    RUN(test_w4a8);
    RUN(test_w4a8_portable);
    RUN(test_rotated);
    RUN(test_tensors_save);
    pq_pool_close(pool);
    return tap_done();
}
