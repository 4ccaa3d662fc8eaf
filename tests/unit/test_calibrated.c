/* Calibrated quantization of pangu-mini from end to end, and what promotion and resuming make of
 * it. */
#include "panq.h"

#include "base/map.h"
#include "quant/recipe.h"
#include "quant/source.h"
#include "tap.h"
#include "scratch.h"

#include <string.h>

#define MINI "models/pangu-mini"
#define TINY "tests/golden/families/qwen2-tied" /* random weights, biases, a tied head */

enum { TRACES = 30, LENGTH = 64, HELD_OUT = 6, TINY_VOCAB = 64 };

static struct pq_err err;
static struct pq_trace trace[TRACES];
static struct pq_traces traces = {.trace = trace, .n = TRACES - HELD_OUT};
static int32_t tiny_ids[4][20];
static struct pq_trace tiny_trace[4];
static struct pq_traces tiny_traces = {.trace = tiny_trace, .n = 4};

/* Texts that the model was made for; the last HELD_OUT are not calibrated with. */
static enum pq_status make_traces(void) {
    struct pq_tokenizer *tok;
    struct pq_map map;
    int n = 0;
    enum pq_status status = pq_tokenizer_open(&tok, MINI, &err);
    if (status != PQ_OK)
        return status;
    status = pq_map_open(&map, MINI "/mini-long.jsonl", &err);
    if (status == PQ_OK) {
        status = pq_encode(tok, (const char *)map.data, map.size, false, &traces.ids, &n, &err);
        pq_map_close(&map);
    }
    for (int i = 0; i < TRACES; i++)
        trace[i] = (struct pq_trace){.mode = i % 3 ? PQ_TRACE_NO : PQ_TRACE_SLOW,
                                     .ids = traces.ids + i * 200,
                                     .n = LENGTH - i % 5,
                                     .prompt = 1,
                                     .answer = 1};
    pq_tokenizer_close(tok);
    return status;
}

static bool same_weights(const char *a, const char *b) {
    struct pq_map x = {0}, y = {0};
    char path[2][300];
    snprintf(path[0], sizeof path[0], "%s/model.safetensors", scratch_path(a));
    snprintf(path[1], sizeof path[1], "%s/model.safetensors", scratch_path(b));
    bool same = pq_map_open(&x, path[0], &err) == PQ_OK &&
                pq_map_open(&y, path[1], &err) == PQ_OK && x.size == y.size &&
                memcmp(x.data, y.data, x.size) == 0;
    pq_map_close(&x);
    pq_map_close(&y);
    return same;
}

static struct pq_quantize_options options_of(enum pq_scheme scheme, enum pq_recipe_name recipe) {
    return (struct pq_quantize_options){
        .scheme = scheme, .group = 32, .recipe = recipe, .calibration = &traces};
}

static enum pq_status quantize_from(const char *dir, const char *out,
                                    const struct pq_quantize_options *options, int threads) {
    struct pq_pool *pool;
    enum pq_status status = pq_pool_open(&pool, threads, &err);
    if (status == PQ_OK)
        status = pq_quantize(dir, out, options, pool, &err);
    pq_pool_close(pool);
    return status;
}

static enum pq_status quantize(const char *out, const struct pq_quantize_options *options,
                               int threads) {
    return quantize_from(MINI, out, options, threads);
}

/* The recipe best, of the tiny model on random ids. */
static struct pq_quantize_options tiny_options(enum pq_scheme scheme) {
    struct pq_quantize_options o = options_of(scheme, PQ_RECIPE_BEST);
    for (int i = 0; i < 4; i++) {
        for (int t = 0; t < 20; t++)
            tiny_ids[i][t] = (i * 37 + t * t * 11) % TINY_VOCAB;
        tiny_trace[i] = (struct pq_trace){
            .mode = PQ_TRACE_TEXT, .ids = tiny_ids[i], .n = 20 - i, .prompt = 0, .answer = 0};
    }
    o.calibration = &tiny_traces;
    return o;
}

/* ---- Fidelity -------------------------------------------------------------------------------- */

struct opened {
    struct pq_checkpoint *ckpt;
    struct pq_model *model;
    struct pq_context *ctx;
};

static enum pq_status open_model(struct opened *m, const char *dir, struct pq_pool *pool) {
    struct pq_model_options o = {.isa = PQ_ISA_COUNT - 1};
    struct pq_context_options c = {.sequences = 1, .positions = LENGTH, .batch = LENGTH};
    enum pq_status status = pq_checkpoint_open(&m->ckpt, dir, &err);
    if (status == PQ_OK)
        status = pq_model_open(&m->model, m->ckpt, &o, pool, &err);
    return status == PQ_OK ? pq_context_open(&m->ctx, m->model, pool, &c, &err) : status;
}

static void close_model(struct opened *m) {
    pq_context_close(m->ctx);
    pq_model_close(m->model);
    pq_checkpoint_close(m->ckpt);
}

static enum pq_status logits_of(struct opened *m, const struct pq_trace *t, float *logits) {
    struct pq_feed feed = {.n = t->n, .tokens = t->ids, .n_logits = t->n};
    pq_sequence_truncate(m->ctx, 0, 0);
    return pq_forward(m->ctx, &feed, 1, logits, &err);
}

/* Mean KL to the FP model over the held-out texts; negative: it failed. */
static double divergence(const char *dir) {
    enum { VOCAB = 1413 };
    static float fp[LENGTH * VOCAB], q[LENGTH * VOCAB];
    struct pq_divergence d[LENGTH];
    struct opened a = {0}, b = {0};
    struct pq_pool *pool;
    double sum = 0;
    int tokens = 0;
    enum pq_status status = pq_pool_open(&pool, 2, &err);
    if (status == PQ_OK)
        status = open_model(&a, MINI, pool);
    if (status == PQ_OK)
        status = open_model(&b, dir, pool);
    for (int i = TRACES - HELD_OUT; i < TRACES && status == PQ_OK; i++) {
        status = logits_of(&a, &trace[i], fp);
        if (status == PQ_OK)
            status = logits_of(&b, &trace[i], q);
        if (status == PQ_OK)
            status = pq_diverge(d, fp, q, trace[i].n, VOCAB, NULL, pool, &err);
        for (int t = 1; t < trace[i].n && status == PQ_OK; t++, tokens++)
            sum += d[t].kl;
    }
    close_model(&a);
    close_model(&b);
    pq_pool_close(pool);
    return status == PQ_OK ? sum / tokens : -1;
}

static double divergence_of(const char *name, const struct pq_quantize_options *options) {
    if (quantize(scratch_path(name), options, 2) != PQ_OK)
        return -1;
    double kl = divergence(scratch_path(name));
    printf("# %s: mean KL %.6f\n", name, kl);
    return kl;
}

/* What the recipe promises: less is lost on texts that it has not seen. */
static void test_best_loses_less(void) {
    struct pq_quantize_options rtn = options_of(PQ_SCHEME_W4A8, PQ_RECIPE_RTN);
    struct pq_quantize_options best = options_of(PQ_SCHEME_W4A8, PQ_RECIPE_BEST);
    double of_rtn = divergence_of("rtn4", &rtn), of_best = divergence_of("best4", &best);
    CHECK(of_rtn > 0 && of_best > 0 && of_best < 0.6 * of_rtn);
}

static void test_best_loses_less_in_8_bits(void) {
    struct pq_quantize_options rtn = options_of(PQ_SCHEME_W8A8, PQ_RECIPE_RTN);
    struct pq_quantize_options best = options_of(PQ_SCHEME_W8A8, PQ_RECIPE_BEST);
    double of_rtn = divergence_of("rtn8", &rtn), of_best = divergence_of("best8", &best);
    CHECK(of_rtn > 0 && of_best > 0 && of_best < of_rtn);
}

/* It is the rounding that gains: pangu-mini has no outliers for the other steps. */
static void test_without(void) {
    struct pq_quantize_options o = options_of(PQ_SCHEME_W4A8, PQ_RECIPE_BEST);
    double all = divergence(scratch_path("best4"));
    o.without = PQ_STEP_GPTQ | PQ_STEP_REFINE;
    CHECK(divergence_of("without-rounding", &o) > 1.5 * all);
    o.without = PQ_STEP_GPTAQ;
    CHECK(divergence_of("without-gptaq", &o) > 1.3 * all);
}

/* Each one alone changes the file. */
static void test_steps(void) {
    for (unsigned step = 0; step < 6; step++) {
        struct pq_quantize_options o = tiny_options(PQ_SCHEME_W4A8);
        char name[32];
        o.without = 1u << step;
        snprintf(name, sizeof name, "tiny-without-%u", step);
        CHECK_OK(quantize_from(TINY, scratch_path(name), &o, 1));
        o.without = 0;
        if (step == 0)
            CHECK_OK(quantize_from(TINY, scratch_path("tiny"), &o, 1));
        if (same_weights(name, "tiny"))
            FAIL("the same without %s", name);
    }
}

/* ---- Reproducible and resumable -------------------------------------------------------------- */

static void test_threads_change_nothing(void) {
    struct pq_quantize_options tiny = tiny_options(PQ_SCHEME_W4A8);
    CHECK_OK(quantize_from(TINY, scratch_path("tiny-three"), &tiny, 3));
    CHECK(same_weights("tiny", "tiny-three"));
    tiny.recipe = PQ_RECIPE_SMOOTH;
    CHECK_OK(quantize_from(TINY, scratch_path("tiny-smooth"), &tiny, 1));
    CHECK_OK(quantize_from(TINY, scratch_path("tiny-smooth-three"), &tiny, 3));
    CHECK(same_weights("tiny-smooth", "tiny-smooth-three") && !same_weights("tiny-smooth", "tiny"));
}

static void test_threads_change_nothing_of_pangu_mini(void) {
    struct pq_quantize_options best = options_of(PQ_SCHEME_W4A8, PQ_RECIPE_BEST);
    CHECK_OK(quantize(scratch_path("three"), &best, 3));
    CHECK(same_weights("best4", "three"));
}

/* Stops when the linear is done. */
static bool stop_at(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)done, (void)total;
    return strcmp(what, user) != 0;
}

static void check_resume(enum pq_scheme scheme, enum pq_recipe_name recipe, int group,
                         bool portable, double budget) {
    struct pq_quantize_options o = tiny_options(scheme);
    o.recipe = recipe;
    o.group = group;
    o.portable = portable;
    o.budget_bits = budget;
    static int times;
    char whole[32], resumed[32];
    snprintf(whole, sizeof whole, "whole-%d", times);
    snprintf(resumed, sizeof resumed, "resumed-%d", times++);
    CHECK_OK(quantize_from(TINY, scratch_path(whole), &o, 2));
    o.progress = stop_at;
    o.user = "model.layers.1.mlp.up_proj.weight";
    CHECK(quantize_from(TINY, scratch_path(resumed), &o, 2) == PQ_ECANCELLED);
    o.progress = NULL;
    CHECK_OK(quantize_from(TINY, scratch_path(resumed), &o, 2));
    if (!same_weights(whole, resumed))
        FAIL("w%da8, group %d%s: resumed otherwise", scheme == PQ_SCHEME_W4A8 ? 4 : 8, group,
             portable ? ", portable" : "");
}

/* A stopped run ends as one that was not: every stored form is read back exactly. */
static void test_resume(void) {
    check_resume(PQ_SCHEME_W4A8, PQ_RECIPE_BEST, 32, false, 5);
    check_resume(PQ_SCHEME_W4A8, PQ_RECIPE_BEST, PQ_GROUP_CHANNEL, false, 0);
    check_resume(PQ_SCHEME_W4A8, PQ_RECIPE_BEST, 32, true, 0);
    check_resume(PQ_SCHEME_W8A8, PQ_RECIPE_BEST, 32, false, 0);
    check_resume(PQ_SCHEME_W4A8, PQ_RECIPE_SMOOTH, 32, true, 0);
}

/* ---- The report ------------------------------------------------------------------------------ */

/* Two of the tiny model's traces begin with BOS, 1; layer by layer, four inputs are looked at. */
static void test_report(void) {
    struct pq_quantize_options o = tiny_options(PQ_SCHEME_W4A8);
    struct pq_calibration_report r = {.tokens = -1}, again;
    o.report = &r;
    o.calibration = NULL;
    o.recipe = PQ_RECIPE_RTN;
    CHECK_OK(quantize_from(TINY, scratch_path("unreported"), &o, 1));
    CHECK(r.tokens == 0 && r.inputs == 0 && !*r.worst);
    o = tiny_options(PQ_SCHEME_W4A8);
    o.report = &r;
    tiny_ids[1][0] = tiny_ids[3][0] = 1;
    CHECK_OK(quantize_from(TINY, scratch_path("reported"), &o, 1));
    CHECK(r.tokens == 20 + 19 + 18 + 17 && r.bos == 2 && r.massive == 0);
    CHECK(r.inputs % 4 == 0 && r.rows == r.inputs * r.tokens);
    CHECK(r.masked_share > 0 && r.worst_share >= r.masked_share && r.worst_share < 1);
    CHECK(strncmp(r.worst, "layers.", 7) == 0 && r.loss > 0 && r.loss < 0.1 && r.nearest == 0);
    o.without = PQ_STEP_REFINE;
    o.report = &again;
    CHECK_OK(quantize_from(TINY, scratch_path("reported-worse"), &o, 1));
    CHECK(again.loss > r.loss && again.bos == 2);
}

/* ---- Promotion ------------------------------------------------------------------------------- */

static void test_budget(void) {
    struct pq_quantize_options o = options_of(PQ_SCHEME_W4A8, PQ_RECIPE_BEST);
    struct pq_checkpoint *ckpt;
    double bits = 0, weights = 0;
    int promoted = 0;
    o.budget_bits = 5;
    CHECK(divergence_of("budget", &o) < divergence(scratch_path("best4")));
    CHECK_OK(pq_checkpoint_open(&ckpt, scratch_path("budget"), &err));
    const struct pq_config *c = pq_checkpoint_config(ckpt);
    for (int i = 0; i < c->layers * PQ_LINEARS; i++) {
        enum pq_linear_name which = (enum pq_linear_name)(i % PQ_LINEARS);
        struct pq_linear_shape shape = pq_linear_shape_of(c, which);
        struct pq_name name = pq_linear_tensor(i / PQ_LINEARS, which, ".weight");
        name.s[strlen(name.s) - strlen(".weight")] = 0;
        bool w8 = pq_checkpoint_linear_scheme(ckpt, name.s) == PQ_SCHEME_W8A8;
        promoted += w8;
        weights += (double)shape.n * shape.k;
        bits += (double)shape.n * shape.k * (w8 ? 8 : 4.125);
    }
    printf("# %d linears promoted, %.3f bits a weight\n", promoted, bits / weights);
    CHECK(promoted > 0 && bits / weights <= 5 && bits / weights > 4.8);
    pq_checkpoint_close(ckpt);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static void test_refusals(void) {
    struct pq_quantize_options o = options_of(PQ_SCHEME_W4A8, PQ_RECIPE_BEST);
    o.calibration = NULL;
    CHECK(quantize(scratch_path("no"), &o, 1) == PQ_EINVAL && strstr(err.text, "traces"));
    o = options_of(PQ_SCHEME_W8A8, PQ_RECIPE_BEST);
    o.budget_bits = 4.5;
    CHECK(quantize(scratch_path("no"), &o, 1) == PQ_EINVAL && strstr(err.text, "4.5"));
    o = options_of(PQ_SCHEME_W4A8, PQ_RECIPE_BEST);
    o.budget_bits = 4.1; /* groups of 32 take more */
    CHECK(quantize(scratch_path("no"), &o, 1) == PQ_EINVAL && strstr(err.text, "4.125"));
    o = options_of(PQ_SCHEME_W4A8, PQ_RECIPE_BEST);
    o.mode_weight[PQ_TRACE_TEXT] = 1; /* there is no such trace */
    CHECK(quantize(scratch_path("no"), &o, 1) == PQ_EINVAL && strstr(err.text, "weight"));
    CHECK(access(scratch_path("no"), F_OK) != 0);
}

int main(void) {
    scratch_open();
    if (make_traces() != PQ_OK) {
        printf("# %s\n", err.text);
        return 1;
    }
    if (!SANITIZED) { /* they see all of it in the tiny model */
        RUN(test_best_loses_less);
        RUN(test_best_loses_less_in_8_bits);
        RUN(test_without);
        RUN(test_threads_change_nothing_of_pangu_mini);
        RUN(test_budget);
    }
    RUN(test_steps);
    RUN(test_threads_change_nothing);
    RUN(test_resume);
    RUN(test_report);
    RUN(test_refusals);
    free(traces.ids);
    return tap_done();
}
