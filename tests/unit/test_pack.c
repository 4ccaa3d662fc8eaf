/* Checkpoints in panels: the same model as the rows that they come from, and what is refused. */
#include "io/json.h"
#include "io/safetensors_write.h"
#include "model/checkpoint.h"
#include "scratch.h"
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

static const char MINI[] = "models/pangu-mini";
enum { TOKENS = 24, MOST_VOCAB = 1413 };

static struct pq_pool *pool;
static struct pq_err err;

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static void remove_tree(const char *name) {
    nftw(scratch_path(name), scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static enum pq_status pack(const char *from, const char *to, enum pq_isa isa) {
    struct pq_pack_options options = {.isa = isa};
    return pq_pack(from, to, &options, pool, &err);
}

/* ---- The same model -------------------------------------------------------------------------- */

/* Logits [TOKENS][vocab] of the checkpoint in dir, and the bytes of its weights. */
static enum pq_status run(const char *dir, enum pq_precision precision, enum pq_isa isa,
                          float *logits, size_t *bytes) {
    struct pq_checkpoint *ckpt = NULL;
    struct pq_model *model = NULL;
    struct pq_context *ctx = NULL;
    struct pq_model_options options = {precision, isa};
    struct pq_context_options room = {.sequences = 1, .positions = TOKENS, .batch = TOKENS};
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++)
        ids[i] = 7 * i % 61;
    enum pq_status status = pq_checkpoint_open(&ckpt, dir, &err);
    if (status == PQ_OK)
        status = pq_model_open(&model, ckpt, &options, pool, &err);
    if (status == PQ_OK)
        status = pq_context_open(&ctx, model, pool, &room, &err);
    if (status == PQ_OK) {
        *bytes = pq_model_bytes(model);
        status = pq_forward(ctx, &(struct pq_feed){0, TOKENS, ids, TOKENS}, 1, logits, &err);
    }
    pq_context_close(ctx);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    return status;
}

/* Panels made from `dir` answer as it does, bit for bit, on every ISA that reads them. */
static void same_model(const char *dir) {
    static float rows[TOKENS * MOST_VOCAB], panels[TOKENS * MOST_VOCAB];
    size_t bytes[2];
    remove_tree("packed");
    CHECK_OK(pack(dir, scratch_path("packed"), PQ_ISA_C));
    for (enum pq_isa isa = PQ_ISA_C; isa < PQ_ISA_COUNT; isa++) {
        if (!pq_isa_runs(isa) || isa == PQ_ISA_I8MM)
            continue;
        memset(rows, 1, sizeof rows);
        memset(panels, 1, sizeof panels);
        CHECK_OK(run(dir, PQ_PRECISION_NATIVE, isa, rows, &bytes[0]));
        CHECK_OK(run(scratch_path("packed"), PQ_PRECISION_NATIVE, isa, panels, &bytes[1]));
        if (memcmp(rows, panels, sizeof rows) != 0 || bytes[0] != bytes[1])
            FAIL("%s on %s: %zu and %zu bytes", dir, pq_isa_name(isa), bytes[0], bytes[1]);
    }
}

static void test_bf16(void) {
    same_model(MINI);
}

static void quantized(const char *name, const struct pq_quantize_options *options) {
    CHECK_OK(pq_quantize(MINI, scratch_path(name), options, pool, &err));
    same_model(scratch_path(name));
}

static void test_w8a8(void) {
    quantized("w8", &(struct pq_quantize_options){.scheme = PQ_SCHEME_W8A8});
}

static void test_w4a8(void) {
    quantized("w4", &(struct pq_quantize_options){.scheme = PQ_SCHEME_W4A8, .group = 32});
    quantized("w4-256", &(struct pq_quantize_options){.scheme = PQ_SCHEME_W4A8, .group = 256});
    quantized("w4-channel", &(struct pq_quantize_options){.scheme = PQ_SCHEME_W4A8});
}

static void test_rotated(void) {
    quantized("rotated", &(struct pq_quantize_options){
                             .scheme = PQ_SCHEME_W4A8, .group = 32, .recipe = PQ_RECIPE_ROTATE});
}

static void test_portable(void) {
    quantized("portable-8",
              &(struct pq_quantize_options){.scheme = PQ_SCHEME_W8A8, .portable = true});
    quantized("portable-4", &(struct pq_quantize_options){
                                .scheme = PQ_SCHEME_W4A8, .group = 32, .portable = true});
}

static void test_families(void) {
    static const char *const names[] = {"llama-heads", "llama-fours-tied", "llama-bias",
                                        "qwen2-untied", "qwen3-tied"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char dir[64];
        snprintf(dir, sizeof dir, "tests/golden/families/%s", names[i]);
        same_model(dir);
    }
}

/* The 4-bit model with some linears of the 8-bit one: a gate and what it gates differ. */
static bool write_mixed(const char *dir) {
    static const char *const eight[] = {"model.layers.0.mlp.up_proj.",
                                        "model.layers.1.mlp.gate_proj.",
                                        "model.layers.1.self_attn.k_proj."};
    struct pq_checkpoint *from[2] = {NULL, NULL};
    static struct pq_tensor_info infos[400];
    static const void *data[400];
    int n = 0;
    bool good = pq_checkpoint_open(&from[0], scratch_path("w4"), &err) == PQ_OK &&
                pq_checkpoint_open(&from[1], scratch_path("w8"), &err) == PQ_OK;
    for (int f = 0; f < 2 && good; f++) {
        int count;
        const struct pq_tensor_info *info = pq_checkpoint_tensors(from[f], &count);
        for (int i = 0; i < count && n < 400; i++) {
            bool is_eight = false;
            for (size_t e = 0; e < sizeof eight / sizeof *eight; e++)
                is_eight |= strncmp(info[i].name, eight[e], strlen(eight[e])) == 0;
            if (is_eight != (f == 1))
                continue;
            infos[n] = info[i];
            data[n++] = pq_checkpoint_find(from[f], info[i].name)->data;
        }
    }
    char path[1400], copy[3000];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    snprintf(copy, sizeof copy, "cp -r '%s' '%s'", scratch_path("w4"), dir);
    good = good && system(copy) == 0 && pq_tensors_save(path, infos, data, n, &err) == PQ_OK;
    pq_checkpoint_close(from[0]);
    pq_checkpoint_close(from[1]);
    return good;
}

static void test_mixed(void) {
    CHECK(write_mixed(scratch_path("mixed")));
    same_model(scratch_path("mixed"));
}

static void test_fp32(void) {
    static float rows[TOKENS * MOST_VOCAB], panels[TOKENS * MOST_VOCAB];
    size_t bytes;
    remove_tree("packed");
    CHECK_OK(pack(scratch_path("w8"), scratch_path("packed"), PQ_ISA_C));
    CHECK_OK(run(scratch_path("w8"), PQ_PRECISION_FP32, PQ_ISA_C, rows, &bytes));
    CHECK_OK(run(scratch_path("packed"), PQ_PRECISION_FP32, PQ_ISA_C, panels, &bytes));
    CHECK(memcmp(rows, panels, sizeof rows) == 0);
    remove_tree("packed");
    CHECK_OK(pack(MINI, scratch_path("packed"), PQ_ISA_C));
    CHECK(run(scratch_path("packed"), PQ_PRECISION_FP32, PQ_ISA_C, panels, &bytes) ==
          PQ_EUNSUPPORTED);
    CHECK(strstr(err.text, "are BF16, which the precision fp32 cannot take"));
}

/* ---- The directory --------------------------------------------------------------------------- */

static void test_what_is_there(void) {
    struct pq_checkpoint *ckpt;
    int n;
    remove_tree("packed");
    CHECK_OK(pack(scratch_path("w4"), scratch_path("packed"), PQ_ISA_COUNT - 1));
    CHECK(exists(scratch_path("packed/tokenizer.model")) &&
          !exists(scratch_path("packed.partial")));
    CHECK_OK(pq_checkpoint_open(&ckpt, scratch_path("packed"), &err));
    const struct pq_config *c = pq_checkpoint_config(ckpt);
    CHECK(c->panels != PQ_PANELS_NONE && c->scheme == PQ_SCHEME_W4A8 && c->group == 32);
    CHECK(pq_checkpoint_linear_scheme(ckpt, "model.layers.1.mlp.up_proj") == PQ_SCHEME_W4A8);
    CHECK(pq_checkpoint_linear_scheme(ckpt, "lm_head") == PQ_SCHEME_W8A8);
    const struct pq_tensor_info *info = pq_checkpoint_tensors(ckpt, &n);
    for (int i = 0; i < n; i++)
        CHECK(!strstr(info[i].name, "_proj"));
    CHECK((uintptr_t)pq_checkpoint_find(ckpt, "model.layers.1.panels")->data % 64 == 0);
    pq_checkpoint_close(ckpt);
}

/* What a killed run left does not come into the result of the next. */
static void test_takes_over(void) {
    CHECK(mkdir(scratch_path("late.partial"), 0777) == 0);
    scratch_text("late.partial/merges.txt", "of another checkpoint");
    scratch_text("late.partial/unfinished-stamp.txt", "");
    scratch_text("late.partial/model.safetensors", "cut short");
    CHECK_OK(pack(MINI, scratch_path("late"), PQ_ISA_C));
    CHECK(exists(scratch_path("late/tokenizer.model")) && !exists(scratch_path("late/merges.txt")));
    CHECK(!exists(scratch_path("late/unfinished-stamp.txt")));
    CHECK(!exists(scratch_path("late.partial")));
}

static void test_sources_that_are_refused(void) {
    struct pq_quantize_options w8 = {.scheme = PQ_SCHEME_W8A8};
    CHECK(pack(scratch_path("packed"), scratch_path("again"), PQ_ISA_C) == PQ_EUNSUPPORTED);
    CHECK(strstr(err.text, "holds panels already") && !exists(scratch_path("again")));
    CHECK(pack(MINI, scratch_path("w8"), PQ_ISA_C) == PQ_EINVAL && strstr(err.text, "exists"));
    CHECK(pack(scratch_path("nowhere"), scratch_path("again"), PQ_ISA_C) == PQ_EIO);
    CHECK_OK(pack(MINI, scratch_path("packed-bf16"), PQ_ISA_C));
    CHECK(pq_quantize(scratch_path("packed-bf16"), scratch_path("again"), &w8, pool, &err) ==
          PQ_EUNSUPPORTED);
    CHECK(strstr(err.text, "holds panels; the source must be") && !exists(scratch_path("again")));
}

static bool go_on(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)what;
    return done < total / 2 && ++*(int *)user;
}

static void test_cancelled(void) {
    int said = 0;
    struct pq_pack_options options = {.isa = PQ_ISA_C, .progress = go_on, .user = &said};
    CHECK(pq_pack(MINI, scratch_path("out"), &options, pool, &err) == PQ_ECANCELLED && said > 0);
    CHECK(!exists(scratch_path("out")) && !exists(scratch_path("out.partial")));
}

/* A limit on the size of files stands for a full disk. */
static void test_no_room(void) {
    struct rlimit old, small;
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t size = 100; size < 6000000; size = size * 20) {
        small = (struct rlimit){size, old.rlim_max};
        CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
        enum pq_status status = pack(MINI, scratch_path("out"), PQ_ISA_C);
        CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
        CHECK(status == PQ_EIO && strstr(err.text, strerror(EFBIG)));
        CHECK(!exists(scratch_path("out")) && !exists(scratch_path("out.partial")));
    }
}

/* ---- Panels that are refused ----------------------------------------------------------------- */

/* The checkpoint "packed" with one key of config.json, or NULL, as value says. */
static void write_config(const char *value) {
    json_t *root;
    if (pq_json_load(&root, scratch_path("packed/config.json"), &err) != PQ_OK)
        return;
    json_object_set_new(root, "panq_panels", json_loads(value, 0, NULL));
    json_dump_file(root, scratch_path("packed/config.json"), 0);
    json_decref(root);
}

static enum pq_status open_packed(void) {
    struct pq_checkpoint *ckpt = NULL;
    struct pq_model *model = NULL;
    struct pq_model_options options = {PQ_PRECISION_NATIVE, PQ_ISA_C};
    enum pq_status status = pq_checkpoint_open(&ckpt, scratch_path("packed"), &err);
    if (status == PQ_OK)
        status = pq_model_open(&model, ckpt, &options, pool, &err);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    return status;
}

static void test_other_orders(void) {
    remove_tree("packed");
    CHECK_OK(pack(scratch_path("w4"), scratch_path("packed"), PQ_ISA_C));
    write_config("{\"version\": 1, \"order\": \"pairs\"}");
    CHECK(open_packed() == PQ_EUNSUPPORTED);
    CHECK(strstr(err.text, "holds panels of pairs, but the kernels of c read units"));
    write_config("{\"version\": 1, \"order\": \"none\"}");
    CHECK(open_packed() == PQ_EUNSUPPORTED && strstr(err.text, "panq_panels.order"));
    write_config("{\"version\": 2, \"order\": \"units\"}");
    CHECK(open_packed() == PQ_EUNSUPPORTED && strstr(err.text, "panq_panels.version"));
    write_config("{\"version\": 1}");
    CHECK(open_packed() == PQ_EFORMAT && strstr(err.text, "order"));
    write_config("{\"version\": 1, \"order\": \"units\"}");
    CHECK_OK(open_packed());
}

/* Write "packed" anew with another tensor `name`: of `bytes`, or NULL, and without it where bytes
 * is 0; behind one of `first` bytes.  Those that follow keep their data. */
static bool write_other(const char *name, int64_t bytes, const void *data, int64_t first) {
    static struct pq_tensor_info infos[400];
    static const void *datas[400];
    static const unsigned char zeros[1 << 20];
    struct pq_checkpoint *from;
    int n, m = 0;
    char path[1400];
    remove_tree("other");
    if (pack(scratch_path("w4"), scratch_path("other"), PQ_ISA_C) != PQ_OK ||
        pq_checkpoint_open(&from, scratch_path("other"), &err) != PQ_OK)
        return false;
    const struct pq_tensor_info *info = pq_checkpoint_tensors(from, &n);
    if (first) {
        infos[0] = (struct pq_tensor_info){
            .name = "model.layers.9.schemes", .dtype = "U8", .rank = 1, .shape = {first}};
        datas[m++] = zeros;
    }
    for (int i = 0; i < n; i++) {
        bool other = strcmp(info[i].name, name) == 0;
        if (other && bytes == 0)
            continue;
        infos[m] = info[i];
        datas[m] = pq_checkpoint_find(from, info[i].name)->data;
        if (other) {
            infos[m].shape[0] = bytes;
            datas[m] = data ? data : zeros;
        }
        m++;
    }
    snprintf(path, sizeof path, "%s", scratch_path("packed/model.safetensors"));
    bool good = pq_tensors_save(path, infos, datas, m, &err) == PQ_OK;
    pq_checkpoint_close(from);
    return good;
}

static void test_other_tensors(void) {
    static const unsigned char schemes[7] = {2, 2, 2, 3, 2, 2, 2};
    static const unsigned char larger[7] = {2, 2, 2, 1, 2, 2, 2};
    CHECK(write_other("model.layers.1.panels", 0, NULL, 0));
    CHECK(open_packed() == PQ_EFORMAT && strstr(err.text, "model.layers.1.panels is missing"));
    CHECK(write_other("lm_head.schemes", 0, NULL, 0));
    CHECK(open_packed() == PQ_EFORMAT && strstr(err.text, "lm_head.schemes is missing"));
    CHECK(write_other("model.layers.1.panels", 64, NULL, 0));
    CHECK(open_packed() == PQ_EFORMAT && strstr(err.text, "model.layers.1.panels has 64 bytes"));
    CHECK(write_other("model.layers.1.schemes", 6, NULL, 0));
    CHECK(open_packed() == PQ_EFORMAT && strstr(err.text, "[6], but config.json means [7]"));
    CHECK(write_other("model.layers.1.schemes", 7, schemes, 0));
    CHECK(open_packed() == PQ_EFORMAT &&
          strstr(err.text, "scheme 3, but config.json allows 0 to 2"));
    CHECK(write_other("model.layers.1.schemes", 7, larger, 0));
    CHECK(open_packed() == PQ_EFORMAT && strstr(err.text, "and the schemes mean"));
    CHECK(write_other("", 0, NULL, 32));
    CHECK(open_packed() == PQ_EFORMAT && strstr(err.text, "multiple of 64 bytes"));
    CHECK(write_other("", 0, NULL, 64));
    CHECK(open_packed() == PQ_EUNSUPPORTED && strstr(err.text, "has no place"));
}

int main(void) {
    scratch_open();
    if (pq_pool_open(&pool, 2, &err) != PQ_OK) {
        printf("not ok 1 - %s\n", err.text);
        return 1;
    }
    RUN(test_bf16);
    RUN(test_w8a8);
    RUN(test_w4a8);
    RUN(test_rotated);
    RUN(test_portable);
    RUN(test_families);
    RUN(test_mixed);
    RUN(test_fp32);
    RUN(test_what_is_there);
    RUN(test_takes_over);
    RUN(test_sources_that_are_refused);
    RUN(test_cancelled);
    RUN(test_no_room);
    RUN(test_other_orders);
    RUN(test_other_tensors);
    pq_pool_close(pool);
    return tap_done();
}
