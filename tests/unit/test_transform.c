/* Transforms leave the function as it was: logits of whole transformed checkpoints, written in
 * FP32, against those of their sources, whose tensors are random, with biases and gammas
 * far from 0 and 1. */
#include "io/json.h"
#include "io/safetensors.h"
#include "quant/transform.h"
#include "scratch.h"
#include "tap.h"

#include <math.h>

enum { TOKENS = 24, VOCAB = 64, HIDDEN = 32, FFN = 64, LAYERS = 2, HEAD_DIM = 32, MOST = 64 };
/* 12 x 16 and 20 x 16: their matrices are not symmetric, so that every direction counts. */
enum { ODD_HIDDEN = 192, ODD_FFN = 320 };

/* Biases everywhere but on o or everywhere, QK norms, tied and untied, 1, 2 and 4 query heads to a
 * KV head. */
static const char *const names[] = {"llama-heads", "llama-bias",   "llama-fours-tied",
                                    "qwen2-tied",  "qwen2-untied", "qwen3-tied",
                                    "qwen3-bias",  "llama-pairs"};
enum { NAMES = sizeof names / sizeof *names };

static struct pq_pool *pool;
static struct pq_err err;
static uint32_t state;

static float uniform(float low, float high) {
    state = state * 1664525u + 1013904223u;
    return low + (high - low) * (float)(state >> 8) * 0x1p-24f;
}

/* ---- Checkpoints in FP32 --------------------------------------------------------------------- */

struct tensors {
    struct pq_tensor_info info[MOST];
    char name[MOST][96];
    float *data[MOST];
    int n;
};

static float *add(struct tensors *t, const struct pq_tensor_info *info, const char *name) {
    int i = t->n++;
    snprintf(t->name[i], sizeof t->name[i], "%s", name);
    t->info[i] = *info;
    t->info[i].name = t->name[i];
    t->info[i].dtype = "F32";
    size_t n = (size_t)(info->rank == 2 ? info->shape[0] * info->shape[1] : info->shape[0]);
    t->data[i] = malloc(n * sizeof(float));
    return t->data[i];
}

static void release(struct tensors *t) {
    for (int i = 0; i < t->n; i++)
        free(t->data[i]);
    t->n = 0;
}

static float *data_of(const struct tensors *t, const char *name) {
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->name[i], name) == 0)
            return t->data[i];
    return NULL;
}

/* config.json of the directory `from` with other keys, and the tensors, into scratch/`to`. */
static bool save(const struct tensors *t, const char *from, const char *to, json_t *changes) {
    char path[1300];
    mkdir(scratch_path(to), 0755);
    snprintf(path, sizeof path, "%s/config.json", from);
    json_t *config = json_load_file(path, 0, NULL);
    json_object_update(config, changes);
    snprintf(path, sizeof path, "%s/config.json", scratch_path(to));
    bool good = json_dump_file(config, path, 0) == 0;
    json_decref(config);
    json_decref(changes);
    snprintf(path, sizeof path, "%s/model.safetensors", scratch_path(to));
    return good &&
           pq_tensors_save(path, t->info, (const void *const *)t->data, t->n, &err) == PQ_OK;
}

/* The tensor's shape in a model of other sizes. */
static struct pq_tensor_info resized(struct pq_tensor_info info, int hidden, int ffn) {
    bool inner = strstr(info.name, "q_norm") || strstr(info.name, "k_norm");
    bool writes = strstr(info.name, "o_proj") || strstr(info.name, "down_proj");
    if (info.rank == 2)
        info.shape[1] = !strstr(info.name, "layers") || !writes ? hidden : info.shape[1];
    if (writes || (info.rank == 1 && !inner && !strstr(info.name, "_proj")))
        info.shape[0] = hidden;
    if (strstr(info.name, "down_proj"))
        info.shape[1] = ffn;
    if (strstr(info.name, "gate_proj") || strstr(info.name, "up_proj"))
        info.shape[0] = ffn;
    return info;
}

/* The family's checkpoint, of these sizes, in scratch/source with random tensors. */
static bool make_source(const char *name, int hidden, int ffn) {
    char from[256];
    struct pq_checkpoint *ckpt;
    static struct tensors t;
    int n;
    snprintf(from, sizeof from, "tests/golden/families/%s", name);
    if (pq_checkpoint_open(&ckpt, from, &err) != PQ_OK)
        return false;
    const struct pq_tensor_info *infos = pq_checkpoint_tensors(ckpt, &n);
    for (int i = 0; i < n; i++) {
        struct pq_tensor_info info = resized(infos[i], hidden, ffn);
        float *x = add(&t, &info, info.name);
        bool norm = info.rank == 1 && !strstr(info.name, ".bias");
        size_t count = (size_t)(info.shape[0] * (info.rank == 1 ? 1 : info.shape[1]));
        float range = info.rank == 1 ? 1 : sqrtf(3.0f / (float)info.shape[1]);
        for (size_t j = 0; j < count; j++)
            x[j] = norm ? uniform(0.3f, 2) : uniform(-range, range);
    }
    pq_checkpoint_close(ckpt);
    bool good = save(&t, from, "source",
                     json_pack("{s:i, s:i, s:i}", "hidden_size", hidden, "intermediate_size", ffn,
                               "head_dim", HEAD_DIM));
    release(&t);
    return good;
}

static void take(struct tensors *t, const struct pq_transform *transform, const char *name) {
    const struct pq_tensor *source = pq_transform_source(transform, name);
    float *x = add(t, &source->info, name);
    struct pq_transformed m;
    double temp[ODD_FFN];
    if (source->info.rank == 1) {
        pq_transformed_vector(transform, name, x, &err);
        return;
    }
    if (pq_transformed_open(&m, transform, name, pool, &err) != PQ_OK)
        return;
    for (int row = 0; row < m.n; row++)
        pq_transformed_row(&m, row, x + (size_t)row * (size_t)m.k, temp);
    pq_transformed_close(&m);
}

/* What a test breaks in the transformed tensors; NULL: nothing. */
typedef void spoil_fn(struct tensors *out, const struct pq_transform *t);

/* scratch/source transformed into scratch/result. */
static bool transform(const struct pq_transform_options *options, spoil_fn *spoil) {
    struct pq_checkpoint *ckpt;
    struct pq_transform t;
    static struct tensors out;
    int n;
    if (pq_checkpoint_open(&ckpt, scratch_path("source"), &err) != PQ_OK ||
        pq_transform_open(&t, ckpt, options, &err) != PQ_OK)
        return false;
    const struct pq_tensor_info *infos = pq_checkpoint_tensors(ckpt, &n);
    for (int i = 0; i < n; i++)
        take(&out, &t, infos[i].name);
    if (options->untie)
        take(&out, &t, "lm_head.weight");
    if (spoil)
        spoil(&out, &t);
    json_t *online = json_pack("[s*, s*]", options->rotate_down ? "down_proj" : NULL,
                               pq_transform_rotates_head(&t) ? "lm_head" : NULL);
    json_t *changes = json_pack("{s:{s:s, s:s, s:i, s:o}}", "quantization_config", "quant_method",
                                "panq", "format", "w8a8", "version", 1, "online_hadamard", online);
    if (options->untie)
        json_object_set_new(changes, "tie_word_embeddings", json_false());
    bool good = save(&out, scratch_path("source"), "result", changes);
    release(&out);
    pq_transform_close(&t);
    pq_checkpoint_close(ckpt);
    return good;
}

/* ---- Logits ---------------------------------------------------------------------------------- */

static bool logits_of(const char *dir, float *logits) {
    struct pq_checkpoint *ckpt = NULL;
    struct pq_model *model = NULL;
    struct pq_context *ctx = NULL;
    struct pq_model_options options = {PQ_PRECISION_FP32, PQ_ISA_COUNT - 1};
    struct pq_context_options room = {.sequences = 1, .positions = TOKENS, .batch = TOKENS};
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        ids[i] = i * 37 % VOCAB;
    struct pq_feed feed = {0, TOKENS, ids, TOKENS};
    bool good = pq_checkpoint_open(&ckpt, scratch_path(dir), &err) == PQ_OK &&
                pq_model_open(&model, ckpt, &options, pool, &err) == PQ_OK &&
                pq_context_open(&ctx, model, pool, &room, &err) == PQ_OK &&
                pq_forward(ctx, &feed, 1, logits, &err) == PQ_OK;
    pq_context_close(ctx);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    return good;
}

/* The largest change of a logit, relative to the largest logit; NaN: failed, as err says. */
static double change(const struct pq_transform_options *options, spoil_fn *spoil) {
    static float before[TOKENS * VOCAB], after[TOKENS * VOCAB];
    double most = 0, largest = 0;
    if (!logits_of("source", before) || !transform(options, spoil) || !logits_of("result", after)) {
        printf("# %s\n", err.text);
        return NAN;
    }
    for (int i = 0; i < TOKENS * VOCAB; i++) {
        most = fmax(most, fabs((double)before[i] - (double)after[i]));
        largest = fmax(largest, fabs((double)before[i]));
    }
    return most / largest;
}

/* ---- Identities ------------------------------------------------------------------------------ */

static const struct pq_transform_options all = {
    .rotate_stream = true, .rotate_heads = true, .rotate_down = true, .seed = 3};

static void rotations(int hidden, int ffn) {
    for (int i = 0; i < NAMES; i++) {
        bool tied = strstr(names[i], "-tied");
        const struct pq_transform_options options[] = {
            {.rotate_stream = true, .seed = 1},
            {.rotate_heads = true},
            {.rotate_down = true},
            all,
            {.rotate_stream = true, .rotate_heads = true, .untie = tied},
        };
        CHECK(make_source(names[i], hidden, ffn));
        for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
            double d = change(&options[o], NULL);
            printf("# %-16s %d %d%s%s%s%s: %.1e\n", names[i], hidden, ffn,
                   options[o].rotate_stream ? " R1" : "", options[o].rotate_heads ? " R2" : "",
                   options[o].rotate_down ? " R4" : "", options[o].untie ? " untied" : "", d);
            CHECK(d < 1e-4);
        }
    }
}

static void test_rotations(void) {
    rotations(HIDDEN, FFN);
}

static void test_matrices_that_are_not_symmetric(void) {
    rotations(ODD_HIDDEN, ODD_FFN);
}

static float qkv[HIDDEN], o[2 * HEAD_DIM], mlp[HIDDEN], down[FFN];

static struct pq_scales *draw_scales(bool powers) {
    static struct pq_scales layers[LAYERS];
    struct {
        float *s;
        int n;
    } all_of[] = {{qkv, HIDDEN}, {o, 2 * HEAD_DIM}, {mlp, HIDDEN}, {down, FFN}};
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < all_of[i].n; j++)
            all_of[i].s[j] = powers ? ldexpf(1, (int)uniform(-6, 6)) : uniform(0.05f, 20);
    for (int i = 0; i < LAYERS; i++)
        layers[i] = (struct pq_scales){qkv, o, mlp, down};
    return layers;
}

static void test_scales(void) {
    for (int i = 0; i < NAMES; i++) {
        CHECK(make_source(names[i], HIDDEN, FFN));
        struct pq_transform_options alone = {.scales = draw_scales(false)}, rotated = all;
        rotated.scales = alone.scales;
        double a = change(&alone, NULL), b = change(&rotated, NULL);
        printf("# %-16s scales %.1e, rotated %.1e\n", names[i], a, b);
        CHECK(a < 1e-4 && b < 1e-4);
    }
}

static void test_powers_of_two_are_exact(void) {
    for (int i = 0; i < NAMES; i++) {
        CHECK(make_source(names[i], HIDDEN, FFN));
        CHECK(change(&(struct pq_transform_options){.scales = draw_scales(true)}, NULL) == 0);
        CHECK(change(&(struct pq_transform_options){0}, NULL) == 0);
    }
}

/* ---- What must not go unnoticed -------------------------------------------------------------- */

static void restore(struct tensors *out, const struct pq_transform *t, const char *name) {
    const struct pq_tensor *from = pq_checkpoint_find(t->ckpt, name);
    pq_tensor_to_f32(from, 0, (size_t)from->info.shape[0], data_of(out, name));
}

static void forget_v_bias(struct tensors *out, const struct pq_transform *t) {
    restore(out, t, "model.layers.1.self_attn.v_proj.bias");
}

static void forget_o_bias(struct tensors *out, const struct pq_transform *t) {
    restore(out, t, "model.layers.0.self_attn.o_proj.bias");
}

static void forget_gamma(struct tensors *out, const struct pq_transform *t) {
    restore(out, t, "model.layers.0.input_layernorm.weight");
}

/* (E - mean) Q = E Q - mean (1 Q), as is right where norms subtract means, which these do not. */
static void subtract_mean(struct tensors *out, const struct pq_transform *t) {
    const struct pq_tensor *source = pq_checkpoint_find(t->ckpt, "model.embed_tokens.weight");
    float *e = data_of(out, "model.embed_tokens.weight"), row[HIDDEN];
    double ones[HIDDEN];
    memcpy(ones, t->signs, sizeof ones);
    t->e->hadamard64(ones, ones, &t->stream, false);
    for (size_t r = 0; r < VOCAB; r++) {
        double mean = 0;
        pq_tensor_to_f32(source, r * HIDDEN, HIDDEN, row);
        for (int i = 0; i < HIDDEN; i++)
            mean += (double)row[i] / HIDDEN;
        for (size_t i = 0; i < HIDDEN; i++)
            e[r * HIDDEN + i] -= (float)(mean * ones[i]);
    }
}

static void test_forgotten(void) {
    CHECK(make_source("qwen3-bias", HIDDEN, FFN));
    CHECK(change(&all, NULL) < 1e-4);
    CHECK(change(&all, forget_v_bias) > 1e-2);
    CHECK(change(&all, forget_o_bias) > 1e-2);
    CHECK(change(&all, forget_gamma) > 1e-2);
    CHECK(change(&all, subtract_mean) > 1e-2);
    CHECK(make_source("qwen2-tied", HIDDEN, FFN));
    CHECK(change(&all, forget_v_bias) > 1e-2);
}

/* ---- The rest -------------------------------------------------------------------------------- */

/* Another seed, other weights; the same, the same bits for one thread and for three. */
static void test_seed_and_threads(void) {
    struct pq_pool *pools[2];
    struct pq_checkpoint *ckpt;
    static float w[3][HIDDEN * FFN];
    double temp[FFN];
    CHECK(make_source("qwen3-bias", HIDDEN, FFN));
    CHECK_OK(pq_checkpoint_open(&ckpt, scratch_path("source"), &err));
    CHECK_OK(pq_pool_open(&pools[0], 1, &err));
    CHECK_OK(pq_pool_open(&pools[1], 3, &err));
    for (int i = 0; i < 3; i++) {
        struct pq_transform t;
        struct pq_transformed m;
        struct pq_transform_options options = all;
        options.seed += i == 2;
        CHECK_OK(pq_transform_open(&t, ckpt, &options, &err));
        CHECK_OK(
            pq_transformed_open(&m, &t, "model.layers.0.mlp.down_proj.weight", pools[i % 2], &err));
        for (int row = 0; row < m.n; row++)
            pq_transformed_row(&m, row, w[i] + row * FFN, temp);
        pq_transformed_close(&m);
        pq_transform_close(&t);
    }
    CHECK(memcmp(w[0], w[1], sizeof w[0]) == 0 && memcmp(w[0], w[2], sizeof w[0]) != 0);
    pq_checkpoint_close(ckpt);
    pq_pool_close(pools[0]);
    pq_pool_close(pools[1]);
}

int main(void) {
    scratch_open();
    if (pq_pool_open(&pool, 2, &err) != PQ_OK)
        return 1;
    RUN(test_rotations);
    RUN(test_matrices_that_are_not_symmetric);
    RUN(test_scales);
    RUN(test_powers_of_two_are_exact);
    RUN(test_forgotten);
    RUN(test_seed_and_threads);
    pq_pool_close(pool);
    return tap_done();
}
