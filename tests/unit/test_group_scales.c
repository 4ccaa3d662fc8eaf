/* W4A8 in compressed-tensors' form: group scales that come apart again, the same weights as in
 * panq's own form, and files that lie. */
#include "base/half.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "model/group_scales.h"
#include "scratch.h"
#include "tap.h"

#include <float.h>
#include <math.h>

static struct pq_pool *pool;
static struct pq_err err;

/* ---- Scales ---------------------------------------------------------------------------------- */

static uint32_t random_bits(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static int common_divisor(const uint8_t *m, int n) {
    int divisor = m[0];
    for (int i = 1; i < n; i++)
        for (int rest = m[i]; rest != 0;) {
            int next = divisor % rest;
            divisor = rest;
            rest = next;
        }
    return divisor;
}

static void test_round(void) {
    CHECK(pq_group_scale_round(1) == 1 && pq_group_scale_round(0x1p-126f) == 0x1p-126f);
    CHECK(pq_group_scale_round(0x1.00001p0f) == 0x1.00002p0f); /* half way, up */
    CHECK(pq_group_scale_round(0x1.000008p0f) == 1 && pq_group_scale_round(0x1.fffffep0f) == 2);
    uint32_t state = 7;
    for (int i = 0; i < 10000; i++) {
        float x = ldexpf(1 + (float)random_bits(&state) * 0x1p-24f, (int)(i % 200) - 100);
        float y = pq_group_scale_round(x);
        CHECK(fabsf(y - x) <= x * 0x1p-20f && pq_group_scale_round(y) == y);
        for (int m = 1; m <= 15; m++)
            CHECK((double)(y * (float)m) == (double)y * m);
    }
}

static void test_split(void) {
    uint32_t state = 1;
    float scales[40], scale;
    uint8_t want[40], got[40];
    for (int i = 0; i < 20000; i++) {
        int groups = 1 + (int)random_bits(&state) % 40;
        float base =
            pq_group_scale_round(ldexpf(1 + (float)random_bits(&state) * 0x1p-24f, -i % 90));
        for (int g = 0; g < groups; g++) {
            want[g] = (uint8_t)(1 + random_bits(&state) % 15);
            scales[g] = base * (float)want[g];
        }
        int divisor = common_divisor(want, groups);
        CHECK(pq_group_scales_split(scales, groups, &scale, got) && scale == base * (float)divisor);
        for (int g = 0; g < groups; g++)
            CHECK(got[g] * divisor == want[g]);
    }
}

static void test_split_refuses(void) {
    float scale;
    uint8_t m[3];
    const float bad[][3] = {
        {1, 1, 16},    {1, 1.0000001f, 2}, {3, 5, 7.6f},     {0, 1, 1},
        {1, 0, 1},     {-1, -2, -3},       {1, -1, 1},       {NAN, 1, 1},
        {1, NAN, 1},   {INFINITY, 1, 1},   {1, 1, INFINITY}, {1e-45f, 1e-45f, 1e-45f},
        {1e30f, 1, 1}, {1, 1e30f, 1},      {16, 15, 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (pq_group_scales_split(bad[i], 3, &scale, m))
            FAIL("%g, %g, %g came apart", (double)bad[i][0], (double)bad[i][1], (double)bad[i][2]);
    CHECK(pq_group_scales_split((const float[]){FLT_MAX, FLT_MAX}, 2, &scale, m) &&
          scale == FLT_MAX);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static const char MINI[] = "models/pangu-mini";

/* model quantized into scratch/name; *out is open. */
static bool make(struct pq_checkpoint **out, const char *model, const char *name, int group,
                 bool portable) {
    struct pq_quantize_options options = {
        .scheme = PQ_SCHEME_W4A8, .group = group, .portable = portable};
    bool good = pq_quantize(model, scratch_path(name), &options, pool, &err) == PQ_OK &&
                pq_checkpoint_open(out, scratch_path(name), &err) == PQ_OK;
    if (!good)
        printf("# %s: %s\n", name, err.text);
    return good;
}

static const struct pq_tensor *find(const struct pq_checkpoint *ckpt, const char *suffix) {
    char name[100];
    snprintf(name, sizeof name, "model.layers.1.mlp.down_proj.%s", suffix);
    return pq_checkpoint_find(ckpt, name);
}

/* down_proj is [256, 768]: the same codes, scales that are the other form's products. */
static void same_weights(int group) {
    struct pq_checkpoint *own = NULL, *other = NULL;
    char name[2][16];
    snprintf(name[0], sizeof name[0], "own-%d", group);
    snprintf(name[1], sizeof name[1], "other-%d", group);
    CHECK(make(&own, MINI, name[0], group, false) && make(&other, MINI, name[1], group, true));
    CHECK(pq_checkpoint_config(other)->group == group);
    const struct pq_tensor *codes = find(own, "weight_packed"),
                           *words = find(other, "weight_packed");
    CHECK(words->dtype == PQ_I32 && words->info.shape[0] == 256 && words->info.shape[1] == 96);
    CHECK(memcmp(codes->data, words->data, 256 * 384) == 0);
    CHECK(memcmp(find(other, "weight_shape")->data, (const int64_t[]){256, 768}, 16) == 0);
    const struct pq_tensor *multipliers = find(own, "weight_group"),
                           *scales = find(other, "weight_scale");
    CHECK(!multipliers == !group && !find(other, "weight_group"));
    size_t groups = group ? 768 / 32 : 1;
    CHECK(scales->info.shape[0] == 256 && scales->info.shape[1] == (int64_t)groups);
    for (size_t i = 0; i < 256 * groups; i++) {
        float scale, product;
        pq_tensor_to_f32(find(own, "weight_scale"), i / groups, 1, &scale);
        pq_tensor_to_f32(scales, i, 1, &product);
        size_t g = i % groups;
        const uint8_t *row = group ? (const uint8_t *)multipliers->data + i / groups * 12 : NULL;
        int m = row ? row[g / 2] >> (g % 2 * 4) & 15 : 1;
        CHECK(product == (group ? pq_group_scale_round(scale) : scale) * (float)m);
    }
    CHECK(pq_checkpoint_linear_scheme(other, "lm_head") == PQ_SCHEME_FP);
    pq_checkpoint_close(own);
    pq_checkpoint_close(other);
}

static void test_same_weights_group_32(void) {
    same_weights(32);
}

static void test_same_weights_channel(void) {
    same_weights(PQ_GROUP_CHANNEL);
}

/* Groups of 256 keep panq's own form. */
static void test_group_256(void) {
    struct pq_checkpoint *ckpt = NULL;
    CHECK(make(&ckpt, MINI, "256", 256, true));
    CHECK(find(ckpt, "weight_group") && find(ckpt, "weight_packed")->dtype == PQ_U8);
    pq_checkpoint_close(ckpt);
}

static const char FAMILY[] = "tests/golden/families/llama-rope-llama3";

/* Overwrite bytes of a tensor of scratch/name. */
static bool patch(const char *name, const char *tensor, size_t at, const void *bytes, size_t size) {
    struct pq_safetensors st;
    char path[1200];
    long offset = -1;
    snprintf(path, sizeof path, "%s/model.safetensors", scratch_path(name));
    if (pq_safetensors_open(&st, path, &err) != PQ_OK)
        return false;
    for (int i = 0; i < st.n; i++)
        if (strcmp(st.tensors[i].info.name, tensor) == 0)
            offset = (const unsigned char *)st.tensors[i].data - st.map.data;
    pq_safetensors_close(&st);
    FILE *file = fopen(path, "r+b");
    return file && offset >= 0 && fseek(file, offset + (long)at, SEEK_SET) == 0 &&
           fwrite(bytes, 1, size, file) == size && fclose(file) == 0;
}

static enum pq_status open_model(const char *name) {
    struct pq_checkpoint *ckpt = NULL;
    struct pq_model *model = NULL;
    struct pq_model_options options = {PQ_PRECISION_NATIVE, PQ_ISA_COUNT - 1};
    enum pq_status status = pq_checkpoint_open(&ckpt, scratch_path(name), &err);
    if (status == PQ_OK)
        status = pq_model_open(&model, ckpt, &options, pool, &err);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    return status;
}

static void test_lying_files(void) {
    struct pq_checkpoint *ckpt = NULL;
    const char *shape = "model.layers.0.mlp.up_proj.weight_shape";
    const char *scale = "model.layers.1.mlp.down_proj.weight_scale"; /* [32, 2] */
    CHECK(make(&ckpt, FAMILY, "lying", 32, true));
    pq_checkpoint_close(ckpt);
    CHECK(open_model("lying") == PQ_OK);
    CHECK(patch("lying", shape, 0, (const int64_t[]){64, 40}, 16));
    CHECK(open_model("lying") == PQ_EFORMAT);
    CHECK(strstr(err.text, "up_proj.weight_shape says [64, 40], but config.json means [64, 32]"));
    CHECK(patch("lying", shape, 0, (const int64_t[]){64, 32}, 16) && open_model("lying") == PQ_OK);
    CHECK(patch("lying", shape, 0, (const int64_t[]){64 + (1LL << 32), 32}, 16));
    CHECK(open_model("lying") == PQ_EFORMAT);
    CHECK(patch("lying", shape, 0, (const int64_t[]){64, 32}, 16) && open_model("lying") == PQ_OK);
    const float bad[] = {0, -1, NAN, INFINITY, 3.14159274f};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(patch("lying", scale, 4 * 63, &bad[i], 4));
        CHECK(open_model("lying") == PQ_EUNSUPPORTED);
        CHECK(strstr(err.text, "down_proj.weight_scale: the scales of row 31 are not a number"));
    }
}

/* Inputs that do not fill groups or words are refused when quantizing. */
static void test_uneven(void) {
    struct pq_quantize_options options = {.scheme = PQ_SCHEME_W4A8, .group = 32, .portable = true};
    char command[2600];
    snprintf(command, sizeof command,
             "cp -r %s '%s' && sed -i 's/\"intermediate_size\": 64/\"intermediate_size\": 72/' "
             "'%s/config.json'",
             FAMILY, scratch_path("uneven"), scratch_path("uneven"));
    CHECK(system(command) == 0);
    struct pq_tensor_info infos[64];
    static const unsigned char zeros[4 * 96 * 96];
    const void *data[64];
    struct pq_checkpoint *ckpt = NULL;
    int n;
    CHECK_OK(pq_checkpoint_open(&ckpt, FAMILY, &err));
    const struct pq_tensor_info *from = pq_checkpoint_tensors(ckpt, &n);
    for (int i = 0; i < n; i++) {
        infos[i] = from[i];
        data[i] = zeros;
        for (int d = 0; d < infos[i].rank; d++)
            if (strstr(infos[i].name, d == 0 ? "gate_proj" : "down_proj") ||
                (d == 0 && strstr(infos[i].name, "up_proj")))
                infos[i].shape[d] = 72;
    }
    char path[1200];
    snprintf(path, sizeof path, "%s/model.safetensors", scratch_path("uneven"));
    CHECK_OK(pq_tensors_save(path, infos, data, n, &err));
    pq_checkpoint_close(ckpt);
    CHECK(pq_quantize(scratch_path("uneven"), scratch_path("out"), &options, pool, &err) ==
          PQ_EUNSUPPORTED);
    CHECK(strstr(err.text, "down_proj.weight has 72 inputs, not a multiple of 32"));
    CHECK(access(scratch_path("out"), F_OK) != 0);
    options.group = PQ_GROUP_CHANNEL; /* 72 is whole words */
    CHECK_OK(pq_quantize(scratch_path("uneven"), scratch_path("out"), &options, pool, &err));
    CHECK(open_model("out") == PQ_OK);
}

int main(void) {
    scratch_open();
    if (pq_pool_open(&pool, 2, &err) != PQ_OK)
        return 1;
    RUN(test_round);
    RUN(test_split);
    RUN(test_split_refuses);
    RUN(test_same_weights_group_32);
    RUN(test_same_weights_channel);
    RUN(test_group_256);
    RUN(test_lying_files);
    RUN(test_uneven);
    pq_pool_close(pool);
    return tap_done();
}
