#include "panq.h"

#include "base/half.h"
#include "base/map.h"
#include "io/json.h"
#include "io/safetensors_write.h"
#include "model/checkpoint.h"
#include "quant/rtn.h"

#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MINI[] = "models/pangu-mini";
static char root[64]; /* of all temporary files */
static struct pq_err err;

/* root/name, of which a few are alive at a time. */
static const char *at(const char *name) {
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static void remove_tree(const char *name) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", at(name));
    if (system(command) != 0)
        printf("# cannot remove %s\n", name);
}

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static bool put(const char *dir, const char *name, const char *text) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    return file && fputs(text, file) >= 0 && fclose(file) == 0;
}

static bool same_file(const char *dir, const char *other, const char *name) {
    struct pq_map a = {0}, b = {0};
    char path[2][300];
    snprintf(path[0], sizeof path[0], "%s/%s", dir, name);
    snprintf(path[1], sizeof path[1], "%s/%s", other, name);
    bool same = pq_map_open(&a, path[0], NULL) == PQ_OK &&
                pq_map_open(&b, path[1], NULL) == PQ_OK && a.size == b.size &&
                memcmp(a.data, b.data, a.size) == 0;
    pq_map_close(&a);
    pq_map_close(&b);
    return same;
}

static enum pq_status quantize(const char *from, const char *to,
                               const struct pq_quantize_options *options, int threads) {
    struct pq_pool *pool;
    enum pq_status status = pq_pool_open(&pool, threads, &err);
    if (status != PQ_OK)
        return status;
    status = pq_quantize(from, to, options, pool, &err);
    pq_pool_close(pool);
    return status;
}

static const struct pq_quantize_options W8 = {.scheme = PQ_SCHEME_W8A8};
static const struct pq_quantize_options W8_PORTABLE = {.scheme = PQ_SCHEME_W8A8, .portable = true};
static const struct pq_quantize_options W4 = {.scheme = PQ_SCHEME_W4A8, .group = 32};
static const struct pq_quantize_options W4_256 = {.scheme = PQ_SCHEME_W4A8, .group = 256};
static const struct pq_quantize_options W4_CHANNEL = {.scheme = PQ_SCHEME_W4A8};

/* ---- A result against its source ------------------------------------------------------------- */

static const struct pq_tensor *find(const struct pq_checkpoint *ckpt, const char *linear,
                                    const char *suffix) {
    char name[300];
    snprintf(name, sizeof name, "%s%s", linear, suffix);
    return pq_checkpoint_find(ckpt, name);
}

static int nibble(const void *data, size_t i) {
    uint8_t byte = ((const uint8_t *)data)[i / 2];
    return i % 2 ? byte >> 4 : byte & 15;
}

static float scale_of(const struct pq_checkpoint *ckpt, const char *linear, size_t row) {
    float scale;
    pq_tensor_to_f32(find(ckpt, linear, ".weight_scale"), row, 1, &scale);
    return scale;
}

/* Row `row` of the linear is what the row quantizers make of the source's. */
static bool row_is_right(const struct pq_checkpoint *from, const struct pq_checkpoint *to,
                         const char *linear, int row, int k) {
    static float w[32001];
    static int8_t q[32001];
    static uint8_t m[32001];
    pq_tensor_to_f32(find(from, linear, ".weight"), (size_t)row * (size_t)k, (size_t)k, w);
    if (pq_checkpoint_linear_scheme(to, linear) == PQ_SCHEME_W8A8) {
        const int8_t *data = find(to, linear, ".weight")->data;
        return pq_rtn_w8(w, NULL, k, q) == scale_of(to, linear, (size_t)row) &&
               memcmp(q, data + row * k, (size_t)k) == 0;
    }
    int group = pq_checkpoint_config(to)->group, groups = group ? (k + group - 1) / group : 0;
    const struct pq_tensor *packed = find(to, linear, ".weight_packed");
    const struct pq_tensor *multipliers = find(to, linear, ".weight_group");
    if (pq_rtn_w4(w, NULL, k, group, q, m) != scale_of(to, linear, (size_t)row) || !packed ||
        !multipliers != !group)
        return false;
    const uint8_t *codes = (const uint8_t *)packed->data + row * ((k + 1) / 2);
    for (int j = 0; j < k; j++)
        if (nibble(codes, (size_t)j) != q[j] + 8)
            return false;
    for (int g = 0; g < groups; g++) {
        const uint8_t *own = (const uint8_t *)multipliers->data + row * ((groups + 1) / 2);
        if (nibble(own, (size_t)g) != m[g])
            return false;
    }
    return k % 2 == 0 || codes[k / 2] >> 4 == 8;
}

static bool same_tensor(const struct pq_tensor *a, const struct pq_tensor *b) {
    return a && b && a->dtype == b->dtype && a->info.rank == b->info.rank &&
           memcmp(a->info.shape, b->info.shape, sizeof a->info.shape) == 0 &&
           memcmp(a->data, b->data, a->info.bytes) == 0;
}

/* Compare all tensors: the layers' linears are stored as `body` says, lm_head or the tied embedding
 * as `head` does, and the rest is as it was. */
static void compare(const char *source, const char *result, enum pq_scheme body,
                    enum pq_scheme head) {
    struct pq_checkpoint *from, *to;
    CHECK_OK(pq_checkpoint_open(&from, source, &err));
    CHECK_OK(pq_checkpoint_open(&to, result, &err));
    CHECK(pq_checkpoint_config(to)->scheme == body);
    CHECK(pq_checkpoint_config(to)->vocab == pq_checkpoint_config(from)->vocab);
    CHECK(pq_checkpoint_config(to)->norm_eps == pq_checkpoint_config(from)->norm_eps);
    bool tied = pq_checkpoint_config(from)->tied;
    int n, n_to, linears = 0, extra = 0;
    const struct pq_tensor_info *infos = pq_checkpoint_tensors(from, &n);
    for (int i = 0; i < n; i++) {
        char linear[200];
        const char *name = infos[i].name;
        snprintf(linear, sizeof linear, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
        bool is_head = !strcmp(linear, tied ? "model.embed_tokens" : "lm_head");
        enum pq_scheme want = strstr(name, "_proj.weight") ? body : is_head ? head : PQ_SCHEME_FP;
        if (want == PQ_SCHEME_FP) {
            CHECK(same_tensor(pq_checkpoint_find(from, name), pq_checkpoint_find(to, name)));
            continue;
        }
        linears++;
        CHECK(pq_checkpoint_linear_scheme(to, linear) == want);
        extra += 1 + (want == PQ_SCHEME_W4A8 && pq_checkpoint_config(to)->group != 0);
        for (int row = 0; row < infos[i].shape[0]; row += row < 40 ? 1 : 37) {
            if (!row_is_right(from, to, linear, row, (int)infos[i].shape[1]))
                FAIL("%s, row %d", linear, row);
        }
    }
    pq_checkpoint_tensors(to, &n_to);
    CHECK(n_to == n + extra);
    CHECK(linears == 7 * pq_checkpoint_config(from)->layers + (head != PQ_SCHEME_FP));
    pq_checkpoint_close(from);
    pq_checkpoint_close(to);
}

/* Quantize and compare, and leave the result in root/out. */
static void round_trip(const char *source, const struct pq_quantize_options *options) {
    remove_tree("out");
    CHECK_OK(quantize(source, at("out"), options, 2));
    CHECK(!exists(at("out.partial")));
    compare(source, at("out"), options->scheme, options->portable ? PQ_SCHEME_FP : PQ_SCHEME_W8A8);
}

#define ROUND_TRIP(source, options)                                                                \
    do {                                                                                           \
        round_trip(source, options);                                                               \
        if (tap_failed_now)                                                                        \
            return;                                                                                \
    } while (0)

static void test_w8a8(void) {
    ROUND_TRIP(MINI, &W8);
    ROUND_TRIP(MINI, &W8_PORTABLE);
}

static void test_w4a8(void) {
    ROUND_TRIP(MINI, &W4);
    ROUND_TRIP(MINI, &W4_256);
    ROUND_TRIP(MINI, &W4_CHANNEL);
}

/* ---- What the files say ---------------------------------------------------------------------- */

static void test_quantization_config(void) {
    static const char want[] =
        "{\"config_groups\":{\"group_0\":{\"input_activations\":{\"dynamic\":true,\"num_bits\":8,"
        "\"strategy\":\"token\",\"symmetric\":true,\"type\":\"int\"},\"targets\":[\"Linear\"],"
        "\"weights\":{\"dynamic\":false,\"num_bits\":8,\"strategy\":\"channel\","
        "\"symmetric\":true,\"type\":\"int\"}}},\"format\":\"int-quantized\","
        "\"ignore\":[\"lm_head\"],\"quant_method\":\"compressed-tensors\","
        "\"quantization_status\":\"compressed\"}";
    json_t *source, *result;
    ROUND_TRIP(MINI, &W8_PORTABLE);
    CHECK_OK(pq_json_load(&source, "models/pangu-mini/config.json", &err));
    CHECK_OK(pq_json_load(&result, at("out/config.json"), &err));
    json_t *added = json_object_get(result, "quantization_config");
    char *text = json_dumps(added, JSON_COMPACT | JSON_SORT_KEYS);
    if (!text || strcmp(text, want) != 0)
        FAIL("%s", text);
    free(text);
    json_object_del(result, "quantization_config");
    CHECK(json_equal(source, result));
    json_decref(source);
    json_decref(result);
    ROUND_TRIP(MINI, &W8);
    CHECK_OK(pq_json_load(&result, at("out/config.json"), &err));
    added = json_object_get(result, "quantization_config");
    CHECK(json_array_size(json_object_get(added, "ignore")) == 0);
    json_decref(result);
}

static void test_metadata(void) {
    ROUND_TRIP(MINI, &W4);
    FILE *file = fopen(at("out/model.safetensors"), "rb");
    char header[400] = "";
    CHECK(file && fread(header, 1, sizeof header - 1, file) == sizeof header - 1);
    fclose(file);
    CHECK(strstr(header + 8, "\"__metadata__\":{\"format\":\"pt\",\"panq\":\"" PQ_VERSION
                             "\",\"recipe\":\"w4a8 rtn group 32\"}"));
}

/* out/config.json's `key` as JSON, sorted; the source is `from`. */
static char *said(const char *from, const struct pq_quantize_options *options, const char *key) {
    json_t *config;
    remove_tree("out");
    if (quantize(from, at("out"), options, 2) != PQ_OK ||
        pq_json_load(&config, at("out/config.json"), &err) != PQ_OK)
        return strdup(err.text);
    char *text =
        json_dumps(json_object_get(config, key), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    json_decref(config);
    return text;
}

/* What a rotated checkpoint says of itself; a portable one is untied and needs no word. */
static void test_rotated(void) {
    static const char untied[] = "tests/golden/families/qwen2-untied",
                      tied[] = "tests/golden/families/qwen2-tied";
    struct pq_quantize_options w8 = W8, w4 = W4, portable = W8_PORTABLE;
    w8.recipe = w4.recipe = portable.recipe = PQ_RECIPE_ROTATE;
    w8.seed = 5;
    const struct {
        const char *from, *key, *want;
        const struct pq_quantize_options *options;
    } cases[] = {
        {untied, "quantization_config",
         "{\"format\":\"w8a8\",\"online_hadamard\":[\"down_proj\"],\"quant_method\":\"panq\","
         "\"version\":1}",
         &w8},
        {tied, "quantization_config",
         "{\"format\":\"w4a8\",\"group_size\":32,\"online_hadamard\":[\"down_proj\",\"lm_head\"],"
         "\"quant_method\":\"panq\",\"version\":1}",
         &w4},
        {tied, "tie_word_embeddings", "true", &w4},
        {tied, "tie_word_embeddings", "false", &portable},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = said(cases[i].from, cases[i].options, cases[i].key);
        if (strcmp(text, cases[i].want) != 0)
            FAIL("%s: %s", cases[i].from, text);
        free(text);
    }
    struct pq_checkpoint *ckpt;
    CHECK_OK(pq_checkpoint_open(&ckpt, at("out"), &err));
    const struct pq_tensor *head = pq_checkpoint_find(ckpt, "lm_head.weight");
    CHECK(head && head->dtype == PQ_BF16 && !pq_checkpoint_config(ckpt)->rotates_down);
    pq_checkpoint_close(ckpt);
    free(said(MINI, &w8, "quantization_config"));
    char header[400] = "";
    FILE *file = fopen(at("out/model.safetensors"), "rb");
    CHECK(file && fread(header, 1, sizeof header - 1, file) == sizeof header - 1);
    fclose(file);
    CHECK(strstr(header + 8, "\"recipe\":\"w8a8 rotate seed 5 equalize\""));
}

/* A tiny model of odd sizes, to be written as each test wants it. */
struct tiny {
    const char *dtype;
    bool tied, sharded;
    int ffn;
    float first; /* the first weight of layer 1's up_proj */
};

static uint32_t random_state;

static float next_weight(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return (float)((int32_t)random_state >> 16) * 0x1p-18f;
}

/* FP32 to binary16, cut off; below its normal numbers zero. */
static uint16_t to_f16(float x) {
    uint32_t bits = pq_f32_bits(x), sign = bits >> 16 & 0x8000;
    int exponent = (int)(bits >> 23 & 255) - 112;
    return (uint16_t)(exponent <= 0 ? sign : sign | (uint32_t)exponent << 10 | (bits >> 13 & 1023));
}

static enum pq_status append(struct pq_writer *writer, const struct tiny *tiny, const char *name,
                             int count) {
    for (int i = 0; i < count; i++) {
        float x = next_weight();
        if (i == 0 && !strcmp(name, "model.layers.1.mlp.up_proj.weight"))
            x = tiny->first;
        uint16_t half = 0;
        if (!strcmp(tiny->dtype, "BF16"))
            half = pq_f32_to_bf16(x);
        else if (!strcmp(tiny->dtype, "F16"))
            half = to_f16(x);
        bool full = !strcmp(tiny->dtype, "F32");
        PQ_TRY(pq_writer_append(writer, full ? (void *)&x : &half, full ? 4 : 2, &err));
    }
    return PQ_OK;
}

/* FFN stands for a tiny model's own. */
enum { VOCAB = 33, HIDDEN = 36, FFN = -1, LAYERS = 2 };

static int size_of(const struct tiny *tiny, int size) {
    return size == FFN ? tiny->ffn : size;
}

static const struct {
    const char *name;
    int n, k;
} layer_tensors[] = {
    {"input_layernorm.weight", HIDDEN, 0},           {"post_attention_layernorm.weight", HIDDEN, 0},
    {"self_attn.q_proj.weight", HIDDEN, HIDDEN},     {"self_attn.q_proj.bias", HIDDEN, 0},
    {"self_attn.k_proj.weight", HIDDEN / 2, HIDDEN}, {"self_attn.k_proj.bias", HIDDEN / 2, 0},
    {"self_attn.v_proj.weight", HIDDEN / 2, HIDDEN}, {"self_attn.v_proj.bias", HIDDEN / 2, 0},
    {"self_attn.o_proj.weight", HIDDEN, HIDDEN},     {"self_attn.o_proj.bias", HIDDEN, 0},
    {"mlp.gate_proj.weight", FFN, HIDDEN},           {"mlp.up_proj.weight", FFN, HIDDEN},
    {"mlp.down_proj.weight", HIDDEN, FFN},
};

struct plan {
    char name[100];
    int n, k;
};

static int plan_tiny(const struct tiny *tiny, struct plan *plan) {
    int count = 0;
    plan[count++] = (struct plan){"model.embed_tokens.weight", VOCAB, HIDDEN};
    for (int layer = 0; layer < LAYERS; layer++)
        for (size_t i = 0; i < sizeof layer_tensors / sizeof layer_tensors[0]; i++) {
            struct plan *p = &plan[count++];
            *p = (struct plan){.n = size_of(tiny, layer_tensors[i].n),
                               .k = size_of(tiny, layer_tensors[i].k)};
            snprintf(p->name, sizeof p->name, "model.layers.%d.%s", layer, layer_tensors[i].name);
        }
    plan[count++] = (struct plan){"model.norm.weight", HIDDEN, 0};
    if (!tiny->tied)
        plan[count++] = (struct plan){"lm_head.weight", VOCAB, HIDDEN};
    return count;
}

static enum pq_status write_shard(const char *path, const struct tiny *tiny,
                                  const struct plan *plan, int from, int to) {
    struct pq_writer *writer;
    PQ_TRY(pq_writer_open(&writer, path, &err));
    enum pq_status status = PQ_OK;
    for (int i = from; status == PQ_OK && i < to; i++)
        status = pq_writer_declare(writer, plan[i].name, tiny->dtype, plan[i].k ? 2 : 1,
                                   (int64_t[2]){plan[i].n, plan[i].k}, &err);
    if (status == PQ_OK)
        status = pq_writer_begin(writer, &err);
    for (int i = from; status == PQ_OK && i < to; i++)
        status = append(writer, tiny, plan[i].name, plan[i].n * (plan[i].k ? plan[i].k : 1));
    if (status == PQ_OK)
        status = pq_writer_end(writer, &err);
    pq_writer_close(writer);
    return status;
}

/* Writes root/tiny. */
static enum pq_status make_tiny(const struct tiny *tiny) {
    static struct plan plan[64];
    char config[600], path[300];
    const char *dir = at("tiny");
    remove_tree("tiny");
    random_state = 1;
    snprintf(config, sizeof config,
             "{\"architectures\": [\"PanguEmbeddedForCausalLM\"], \"model_type\": "
             "\"PanguEmbedded\", \"bias\": true, \"hidden_act\": \"silu\", \"vocab_size\": %d, "
             "\"hidden_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": %d, "
             "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"rope_theta\": 1e4, "
             "\"rms_norm_eps\": 1.2345e-05, \"max_position_embeddings\": 64, "
             "\"tie_word_embeddings\": %s}",
             VOCAB, HIDDEN, tiny->ffn, LAYERS, tiny->tied ? "true" : "false");
    if (mkdir(dir, 0777) != 0 || !put(dir, "config.json", config))
        return PQ_EIO;
    int n = plan_tiny(tiny, plan);
    if (!tiny->sharded) {
        snprintf(path, sizeof path, "%s/model.safetensors", dir);
        return write_shard(path, tiny, plan, 0, n);
    }
    json_t *map = json_object();
    for (int i = 0; i < n; i++)
        json_object_set_new(map, plan[i].name,
                            json_string(i < 9 ? "a-1.safetensors" : "a-2.safetensors"));
    char *text = json_dumps(map, 0), *index = NULL;
    json_decref(map);
    if (!text || asprintf(&index, "{\"weight_map\": %s}", text) < 0 ||
        !put(dir, "model.safetensors.index.json", index))
        return PQ_EIO;
    free(text);
    free(index);
    snprintf(path, sizeof path, "%s/a-1.safetensors", dir);
    PQ_TRY(write_shard(path, tiny, plan, 0, 9));
    snprintf(path, sizeof path, "%s/a-2.safetensors", dir);
    return write_shard(path, tiny, plan, 9, n);
}

static void test_sources(void) {
    static const struct tiny sources[] = {
        {.dtype = "BF16", .ffn = 67},
        {.dtype = "F16", .ffn = 67},
        {.dtype = "F32", .ffn = 67},
        {.dtype = "BF16", .ffn = 67, .tied = true},
        {.dtype = "F32", .ffn = 67, .sharded = true},
        {.dtype = "BF16", .ffn = 67, .tied = true, .sharded = true},
    };
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        CHECK_OK(make_tiny(&sources[i]));
        ROUND_TRIP(at("tiny"), &W8);
        ROUND_TRIP(at("tiny"), &W8_PORTABLE);
        ROUND_TRIP(at("tiny"), &W4);
        ROUND_TRIP(at("tiny"), &W4_256);
        ROUND_TRIP(at("tiny"), &W4_CHANNEL);
    }
}

/* Linears that are quantized in several blocks of rows. */
static void test_blocks(void) {
    struct tiny tiny = {.dtype = "BF16", .ffn = 32001};
    CHECK_OK(make_tiny(&tiny));
    ROUND_TRIP(at("tiny"), &W4);
    ROUND_TRIP(at("tiny"), &W8);
}

/* By every recipe, and before anything is calibrated on it. */
static void test_nonfinite(void) {
    const float values[] = {INFINITY, -INFINITY, NAN};
    int32_t ids[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct pq_trace trace = {.mode = PQ_TRACE_TEXT, .ids = ids, .n = 8};
    struct pq_traces traces = {.trace = &trace, .n = 1};
    for (int i = 0; i < 6; i++) {
        struct tiny tiny = {.dtype = "BF16", .ffn = 67, .first = values[i % 3]};
        struct pq_quantize_options options = W4;
        if (i >= 3) {
            options.recipe = PQ_RECIPE_SMOOTH;
            options.calibration = &traces;
        }
        CHECK_OK(make_tiny(&tiny));
        remove_tree("out");
        CHECK(quantize(at("tiny"), at("out"), &options, 2) == PQ_EFORMAT);
        if (!strstr(err.text, "model.layers.1.mlp.up_proj.weight") ||
            !strstr(err.text, "row 0, column 0"))
            FAIL("%s", err.text);
        CHECK(!exists(at("out")) && !exists(at("out.partial")));
    }
}

static void test_what_goes_along(void) {
    struct tiny tiny = {.dtype = "BF16", .ffn = 67, .sharded = true};
    static const char *const along[] = {"README.md",
                                        "LICENSE",
                                        "NOTICE.txt",
                                        "tokenizer.model",
                                        "tokenizer_config.json",
                                        "generation_config.json",
                                        "configuration_openpangu.py"};
    static const char *const left[] = {"pytorch_model.bin",
                                       ".gitattributes",
                                       "notes.pdf",
                                       "b.safetensors.index.json",
                                       "pytorch_model.bin.index.json",
                                       "eval.jsonl"};
    CHECK_OK(make_tiny(&tiny));
    for (size_t i = 0; i < sizeof along / sizeof along[0]; i++)
        CHECK(put(at("tiny"), along[i], "{}\n"));
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
        CHECK(put(at("tiny"), left[i], "{}\n"));
    CHECK(mkdir(at("tiny/deep.md"), 0777) == 0);
    ROUND_TRIP(at("tiny"), &W8);
    for (size_t i = 0; i < sizeof along / sizeof along[0]; i++)
        CHECK(same_file(at("tiny"), at("out"), along[i]));
    DIR *dir = opendir(at("out"));
    size_t files = 0;
    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        files += entry->d_name[0] != '.';
    closedir(dir);
    CHECK(files == 2 + sizeof along / sizeof along[0]);
}

/* ---- Whole or not at all --------------------------------------------------------------------- */

static void test_threads_change_nothing(void) {
    remove_tree("one");
    CHECK_OK(quantize(MINI, at("one"), &W4, 1));
    for (int threads = 2; threads <= 3; threads++) {
        remove_tree("out");
        CHECK_OK(quantize(MINI, at("out"), &W4, threads));
        CHECK(same_file(at("one"), at("out"), "model.safetensors"));
        CHECK(same_file(at("one"), at("out"), "config.json"));
    }
}

struct watch {
    uint64_t done, total, stop; /* stop: where to say no; 0 = never */
    bool backwards;
};

static bool watch(void *user, const char *what, uint64_t done, uint64_t total) {
    struct watch *w = user;
    w->backwards |= done < w->done || done > total || (w->total && total != w->total) || !what[0];
    w->done = done;
    w->total = total;
    return !w->stop || done < w->stop;
}

static void test_progress_and_cancel(void) {
    struct watch w = {0};
    struct pq_quantize_options options = W8;
    options.progress = watch;
    options.user = &w;
    remove_tree("out");
    CHECK_OK(quantize(MINI, at("out"), &options, 2));
    CHECK(w.done == w.total && w.total > 10000000 && !w.backwards);
    remove_tree("out");
    for (uint64_t part = 0; part <= 4; part++) {
        uint64_t total = w.total;
        remove_tree("out.partial");
        w = (struct watch){.stop = 1 + (total - 1) * part / 4};
        CHECK(quantize(MINI, at("out"), &options, 2) == PQ_ECANCELLED);
        CHECK(!exists(at("out")) && exists(at("out.partial")) == (part > 0));
    }
    remove_tree("out.partial");
}

/* Counts how often the words of a resumed run were said. */
static bool hear(void *user, const char *what, uint64_t done, uint64_t total) {
    int *said = user;
    *said += strcmp(what, "what is there already") == 0;
    return done < total * 3 / 4;
}

/* What a stopped run has made is not made again, unless something else is wanted. */
static void test_resume(void) {
    struct pq_quantize_options options = W8;
    int said = 0;
    remove_tree("out");
    remove_tree("want");
    CHECK_OK(quantize(MINI, at("want"), &W8, 2));
    options.progress = hear;
    options.user = &said;
    CHECK(quantize(MINI, at("out"), &options, 2) == PQ_ECANCELLED && said == 0);
    CHECK(exists(at("out.partial/part-00000.safetensors")));
    CHECK(quantize(MINI, at("out"), &options, 2) == PQ_ECANCELLED && said >= 2);
    CHECK_OK(quantize(MINI, at("out"), &W8, 1));
    CHECK(same_file(at("want"), at("out"), "model.safetensors"));
    remove_tree("out");
    CHECK(quantize(MINI, at("out"), &options, 2) == PQ_ECANCELLED);
    said = 0;
    options = W4;
    options.progress = hear;
    options.user = &said;
    CHECK(quantize(MINI, at("out"), &options, 2) == PQ_ECANCELLED && said == 0);
    remove_tree("out.partial");
    struct tiny tiny = {.dtype = "BF16", .ffn = 67};
    CHECK_OK(make_tiny(&tiny));
    options.group = 32;
    CHECK(quantize(at("tiny"), at("out"), &options, 2) == PQ_ECANCELLED && said == 0);
    CHECK(quantize(at("tiny"), at("out"), &options, 2) == PQ_ECANCELLED && said > 0);
    said = 0;
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    CHECK(utimensat(AT_FDCWD, at("tiny/config.json"), times, 0) == 0);
    CHECK(quantize(at("tiny"), at("out"), &options, 2) == PQ_ECANCELLED && said == 0);
    remove_tree("out.partial");
}

static bool make_out(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)user;
    (void)what;
    if (done == total)
        mkdir(at("out"), 0777);
    return true;
}

/* Somebody makes OUT while it is being written: theirs stays. */
static void test_overtaken(void) {
    struct pq_quantize_options options = W8;
    options.progress = make_out;
    remove_tree("out");
    CHECK(quantize(MINI, at("out"), &options, 2) == PQ_EIO && strstr(err.text, "rename"));
    CHECK(rmdir(at("out")) == 0 && exists(at("out.partial/model.safetensors")));
    /* All is there, and nothing is made again: its progress would stand in the way once more. */
    CHECK_OK(quantize(MINI, at("out"), &options, 2));
    CHECK(!exists(at("out.partial")) && same_file(at("want"), at("out"), "model.safetensors"));
}

static void test_refusals(void) {
    struct pq_quantize_options options = W8;
    remove_tree("out");
    options.scheme = PQ_SCHEME_FP;
    CHECK(quantize(MINI, at("out"), &options, 1) == PQ_EINVAL);
    options = W4;
    options.group = 64;
    CHECK(quantize(MINI, at("out"), &options, 1) == PQ_EINVAL && strstr(err.text, "64"));
    options = W8;
    options.recipe = (enum pq_recipe_name)9;
    CHECK(quantize(MINI, at("out"), &options, 1) == PQ_EINVAL && strstr(err.text, "9"));
    CHECK(quantize(MINI, "", &W8, 1) == PQ_EINVAL);
    CHECK(quantize(at("nothing"), at("out"), &W8, 1) == PQ_EIO);
    CHECK(quantize(MINI, at("nothing/out"), &W8, 1) == PQ_EIO && strstr(err.text, "nothing/out"));
    CHECK(!exists(at("out")) && !exists(at("out.partial")));
    CHECK_OK(quantize(MINI, at("out///"), &W8, 1));
    CHECK(quantize(MINI, at("out"), &W8, 1) == PQ_EINVAL && strstr(err.text, "exists"));
    CHECK(!exists(at("out.partial")));
    CHECK(quantize(at("out"), at("again"), &W8, 1) == PQ_EUNSUPPORTED && strstr(err.text, "w8a8"));
    CHECK(!exists(at("again")) && !exists(at("again.partial")));
    CHECK(mkdir(at("out.partial"), 0777) == 0 && put(at("out.partial"), "a.json", "{}"));
    CHECK(quantize(MINI, at("out"), &W8, 1) == PQ_EINVAL && exists(at("out.partial/a.json")));
    remove_tree("out.partial");
    CHECK(symlink("nowhere", at("link")) == 0);
    CHECK(quantize(MINI, at("link"), &W8, 1) == PQ_EINVAL);
}

static void test_partial_directories(void) {
    const char *partial = at("out.partial");
    remove_tree("out");
    CHECK(mkdir(partial, 0777) == 0); /* a killed run's */
    CHECK(put(partial, "model.safetensors", "half") && put(partial, "stale.json", "{}"));
    CHECK_OK(quantize(MINI, at("out"), &W8, 1));
    CHECK(!exists(partial) && !exists(at("out/stale.json")));
    remove_tree("out");
    CHECK(mkdir(partial, 0777) == 0); /* somebody's own */
    CHECK(put(partial, "thesis.tex", "years") && put(partial, "model.safetensors", "mine"));
    CHECK(quantize(MINI, at("out"), &W8, 1) == PQ_EIO && strstr(err.text, "thesis.tex"));
    CHECK(exists(at("out.partial/thesis.tex")) && exists(at("out.partial/model.safetensors")));
    remove_tree("out.partial");
    CHECK(mkdir(partial, 0777) == 0); /* another run's */
    int fd = open(partial, O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0 && flock(fd, LOCK_SH) == 0);
    CHECK(quantize(MINI, at("out"), &W8, 1) == PQ_EIO && strstr(err.text, "another run"));
    CHECK(exists(partial) && !exists(at("out")));
    close(fd);
    CHECK_OK(quantize(MINI, at("out"), &W8, 1));
}

/* A limit on the size of files stands for a full disk. */
static void test_no_room(void) {
    struct rlimit old, small;
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t size = 100; size < 6000000; size = size * 5 + 3) {
        remove_tree("out");
        small = (struct rlimit){size, old.rlim_max};
        CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
        enum pq_status status = quantize(MINI, at("out"), &W8, 2);
        CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
        if (status != PQ_EIO || !strstr(err.text, strerror(EFBIG)))
            FAIL("limit %llu: status %d: %s", (unsigned long long)size, status, err.text);
        CHECK(!exists(at("out")));
    }
    CHECK(exists(at("out.partial/part-00000.safetensors")));
    CHECK_OK(quantize(MINI, at("out"), &W8, 2)); /* goes on where the room ended */
    CHECK(!exists(at("out.partial")));
}

int main(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.40s/panq-quantize-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(root))
        return 1;
    RUN(test_w8a8);
    RUN(test_w4a8);
    RUN(test_quantization_config);
    RUN(test_metadata);
    RUN(test_rotated);
    RUN(test_sources);
    RUN(test_blocks);
    RUN(test_nonfinite);
    RUN(test_what_goes_along);
    if (!SANITIZED) /* test_calibrated has them see threads */
        RUN(test_threads_change_nothing);
    RUN(test_progress_and_cancel);
    RUN(test_resume);
    RUN(test_overtaken);
    RUN(test_refusals);
    RUN(test_partial_directories);
    RUN(test_no_room);
    remove_tree("");
    return tap_done();
}
