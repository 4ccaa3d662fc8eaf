#include "base/half.h"
#include "io/json.h"
#include "io/safetensors_write.h"
#include "model/checkpoint.h"
#include "scratch.h"
#include "tap.h"

#include <math.h>
#include <time.h>

/* ---- A small checkpoint, to be changed and written ------------------------------------------- */

enum { VOCAB = 11, HIDDEN = 10, FFN = 14, LAYERS = 2, Q = 8, KV = 4 };

struct item {
    char name[200], dtype[8], file[64];
    int rank;
    int64_t shape[2];
};

static struct item items[2000];
static int n_items;

static struct item *add(const char *name, const char *dtype, int rank, int64_t n, int64_t k) {
    struct item *item = &items[n_items++];
    *item = (struct item){.file = "model.safetensors", .rank = rank, .shape = {n, k}};
    snprintf(item->name, sizeof item->name, "%s", name);
    snprintf(item->dtype, sizeof item->dtype, "%s", dtype);
    return item;
}

static int index_of(const char *name) {
    for (int i = 0; i < n_items; i++)
        if (strcmp(items[i].name, name) == 0)
            return i;
    printf("# the test's checkpoint has no %s\n", name);
    exit(1);
}

static struct item *item_of(const char *name) {
    return &items[index_of(name)];
}

static void drop(const char *name) {
    int i = index_of(name);
    items[i] = items[--n_items];
}

static const struct {
    const char *name;
    int n, k;
    bool bias;
} linears[] = {
    {"self_attn.q_proj", Q, HIDDEN, true},  {"self_attn.k_proj", KV, HIDDEN, true},
    {"self_attn.v_proj", KV, HIDDEN, true}, {"self_attn.o_proj", HIDDEN, Q, true},
    {"mlp.gate_proj", FFN, HIDDEN, false},  {"mlp.up_proj", FFN, HIDDEN, false},
    {"mlp.down_proj", HIDDEN, FFN, false},
};

static void write_config(const char *key, const char *value) {
    json_t *root = json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f}", "model_type", "PanguEmbedded",
        "vocab_size", VOCAB, "hidden_size", HIDDEN, "intermediate_size", FFN, "num_hidden_layers",
        LAYERS, "num_attention_heads", 2, "num_key_value_heads", 1, "head_dim", 4,
        "max_position_embeddings", 64, "rope_theta", 10000.0, "rms_norm_eps", 1e-5);
    if (key)
        json_object_set_new(root, key, json_loads(value, JSON_DECODE_ANY, NULL));
    json_dump_file(root, scratch_path("config.json"), 0);
    json_decref(root);
}

/* An untied checkpoint whose FP tensors are of `dtype`; its config says nothing of quantization. */
static void start(const char *dtype) {
    char name[200];
    n_items = 0;
    write_config(NULL, NULL);
    for (int layer = 0; layer < LAYERS; layer++) {
        for (int i = 0; i < 7; i++) {
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, linears[i].name);
            add(name, dtype, 2, linears[i].n, linears[i].k);
            snprintf(name, sizeof name, "model.layers.%d.%s.bias", layer, linears[i].name);
            if (linears[i].bias)
                add(name, dtype, 1, linears[i].n, 0);
        }
        snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", layer);
        add(name, dtype, 1, HIDDEN, 0);
        snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm.weight", layer);
        add(name, dtype, 1, HIDDEN, 0);
    }
    add("model.embed_tokens.weight", dtype, 2, VOCAB, HIDDEN);
    add("model.norm.weight", dtype, 1, HIDDEN, 0);
    add("lm_head.weight", dtype, 2, VOCAB, HIDDEN);
}

static void to_w8(const char *linear) {
    char name[200];
    snprintf(name, sizeof name, "%s.weight", linear);
    struct item *weight = item_of(name);
    strcpy(weight->dtype, "I8");
    snprintf(name, sizeof name, "%s.weight_scale", linear);
    add(name, "F32", 2, weight->shape[0], 1);
}

static void to_w4(const char *linear, int group) {
    char name[200];
    snprintf(name, sizeof name, "%s.weight", linear);
    struct item *weight = item_of(name);
    int64_t n = weight->shape[0], k = weight->shape[1];
    snprintf(weight->name, sizeof weight->name, "%s.weight_packed", linear);
    strcpy(weight->dtype, "U8");
    weight->shape[1] = (k + 1) / 2;
    if (group) {
        snprintf(name, sizeof name, "%s.weight_group", linear);
        add(name, "U8", 2, n, ((k + group - 1) / group + 1) / 2);
    }
    snprintf(name, sizeof name, "%s.weight_scale", linear);
    add(name, "F32", 2, n, 1);
}

static void all_linears(void (*change)(const char *, int), int group) {
    char name[200];
    for (int layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < 7; i++) {
            snprintf(name, sizeof name, "model.layers.%d.%s", layer, linears[i].name);
            change(name, group);
        }
}

static void to_w8_of(const char *linear, int group) {
    (void)group;
    to_w8(linear);
}

/* The items of `file`, whose bytes count up from the item's number. */
static void write_file(const char *file) {
    struct pq_writer *w;
    struct pq_err err = {""};
    enum pq_status status = pq_writer_open(&w, scratch_path(file), &err);
    for (int i = 0; i < n_items && status == PQ_OK; i++)
        if (strcmp(items[i].file, file) == 0)
            status = pq_writer_declare(w, items[i].name, items[i].dtype, items[i].rank,
                                       items[i].shape, &err);
    if (status == PQ_OK)
        status = pq_writer_begin(w, &err);
    for (int i = 0; i < n_items && status == PQ_OK; i++) {
        size_t item = strstr(items[i].dtype, "16") ? 2 : strstr(items[i].dtype, "32") ? 4 : 1;
        size_t bytes = item * (size_t)items[i].shape[0];
        if (items[i].rank > 1)
            bytes *= (size_t)items[i].shape[1];
        for (size_t j = 0; j < bytes && strcmp(items[i].file, file) == 0; j++) {
            unsigned char byte = (unsigned char)(i + (int)j);
            status = pq_writer_append(w, &byte, 1, &err);
        }
    }
    if (status == PQ_OK)
        status = pq_writer_end(w, &err);
    pq_writer_close(w);
    if (status != PQ_OK) {
        printf("# writing %s: %s\n", file, err.text);
        exit(1);
    }
}

/* An index of the items, with the tensor `name` said to be in `file` where a name is given. */
static void write_index(const char *name, const char *file) {
    json_t *map = json_object();
    for (int i = 0; i < n_items; i++)
        json_object_set_new(map, items[i].name, json_string(items[i].file));
    if (name && file)
        json_object_set_new(map, name, json_string(file));
    else if (name)
        json_object_del(map, name);
    json_t *root = json_pack("{s:{s:i}, s:o}", "metadata", "total_size", 1, "weight_map", map);
    json_dump_file(root, scratch_path("model.safetensors.index.json"), 0);
    json_decref(root);
}

static enum pq_status open_now(struct pq_checkpoint **ckpt, struct pq_err *err) {
    write_file("model.safetensors");
    return pq_checkpoint_open(ckpt, scratch_dir, err);
}

static bool refused(enum pq_status got, const struct pq_checkpoint *ckpt, const struct pq_err *err,
                    enum pq_status status, const char *words) {
    bool good = got == status && !ckpt &&
                strncmp(err->text, scratch_dir, strlen(scratch_dir)) == 0 &&
                strstr(err->text, words);
    if (!good)
        printf("# status %d, %s\n# wanted: %d, %s\n", got, err->text, status, words);
    return good;
}

static bool refuses_now(enum pq_status status, const char *words) {
    struct pq_checkpoint *ckpt = NULL;
    struct pq_err err = {""};
    enum pq_status got = open_now(&ckpt, &err);
    return refused(got, ckpt, &err, status, words);
}

/* ---- Floating point -------------------------------------------------------------------------- */

static void test_mini(void) {
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    int n;
    CHECK_OK(pq_checkpoint_open(&ckpt, "models/pangu-mini", &err));
    CHECK(strcmp(pq_checkpoint_dir(ckpt), "models/pangu-mini") == 0);
    CHECK(pq_checkpoint_config(ckpt)->hidden == 256);
    CHECK(pq_checkpoint_generation(ckpt)->top_p == 0.8f);
    const struct pq_tensor_info *infos = pq_checkpoint_tensors(ckpt, &n);
    CHECK(n == 81);
    CHECK(strcmp(infos[0].name, "model.embed_tokens.weight") == 0);
    CHECK(strcmp(infos[0].file, "model.safetensors") == 0);
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        const struct pq_tensor *t = pq_checkpoint_find(ckpt, infos[i].name);
        CHECK(t && strcmp(t->info.name, infos[i].name) == 0 && t->dtype == PQ_BF16);
        CHECK(t->info.bytes == infos[i].bytes);
        total += infos[i].bytes;
    }
    const struct pq_tensor *first = pq_checkpoint_find(ckpt, infos[0].name);
    CHECK((size_t)((const unsigned char *)first->data - first->map->data) + total ==
          first->map->size);
    CHECK(!pq_checkpoint_find(ckpt, "model.embed_tokens"));
    CHECK(!pq_checkpoint_find(ckpt, ""));
    CHECK(pq_checkpoint_linear_scheme(ckpt, "lm_head") == PQ_SCHEME_FP);
    pq_checkpoint_close(ckpt);
    pq_checkpoint_close(NULL);
}

static void test_float_types(void) {
    static const struct {
        const char *name;
        enum pq_dtype dtype;
    } types[] = {{"BF16", PQ_BF16}, {"F16", PQ_F16}, {"F32", PQ_F32}};
    for (int i = 0; i < 3; i++) {
        struct pq_err err;
        struct pq_checkpoint *ckpt;
        start(types[i].name);
        CHECK_OK(open_now(&ckpt, &err));
        const struct pq_tensor *t = pq_checkpoint_find(ckpt, "model.layers.1.mlp.down_proj.weight");
        CHECK(t && t->dtype == types[i].dtype && strcmp(t->info.dtype, types[i].name) == 0);
        CHECK(t->info.rank == 2 && t->info.shape[0] == HIDDEN && t->info.shape[1] == FFN);
        int number = index_of("model.layers.1.mlp.down_proj.weight");
        CHECK(*(const unsigned char *)t->data == (unsigned char)number);
        pq_checkpoint_close(ckpt);
    }
}

static void test_to_f32(void) {
    static const uint16_t bf16[] = {0x3f80, 0xc040, 0x0000, 0x8000, 0x7f80, 0x0001, 0x7f7f};
    static const uint16_t f16[] = {0x3c00, 0xc200, 0x0000, 0x8000, 0x7c00, 0x0001, 0x7bff};
    static const float want[][7] = {
        {1, -3, 0.0f, -0.0f, INFINITY, 0x1p-133f, 0x1.fep127f},
        {1, -3, 0.0f, -0.0f, INFINITY, 0x1p-24f, 65504},
    };
    unsigned char bytes[1 + sizeof want[0]]; /* one byte off, as in a file that was not padded */
    struct pq_tensor t = {.data = bytes + 1, .dtype = PQ_BF16};
    float got[8];
    memcpy(bytes + 1, bf16, sizeof bf16);
    pq_tensor_to_f32(&t, 0, 7, got);
    CHECK(memcmp(got, want[0], sizeof want[0]) == 0);
    t.dtype = PQ_F16;
    memcpy(bytes + 1, f16, sizeof f16);
    pq_tensor_to_f32(&t, 0, 7, got);
    CHECK(memcmp(got, want[1], sizeof want[1]) == 0);
    t.dtype = PQ_F32;
    memcpy(bytes + 1, want[1], sizeof want[1]);
    pq_tensor_to_f32(&t, 0, 7, got);
    CHECK(memcmp(got, want[1], sizeof want[1]) == 0);
    /* A part, and not an element more. */
    got[2] = 77;
    pq_tensor_to_f32(&t, 5, 2, got);
    CHECK(got[0] == 0x1p-24f && got[1] == 65504 && got[2] == 77);
    t.dtype = PQ_F16;
    memcpy(bytes + 1, f16, sizeof f16);
    pq_tensor_to_f32(&t, 1, 1, got);
    CHECK(got[0] == -3 && got[1] == 65504);
}

static void test_missing_tensors(void) {
    start("BF16");
    struct item all[100];
    int n = n_items;
    memcpy(all, items, sizeof all);
    CHECK(n == 29);
    for (int i = 0; i < n; i++) {
        char words[256];
        snprintf(words, sizeof words, "tensor %.200s is missing", all[i].name);
        memcpy(items, all, sizeof all);
        n_items = n;
        drop(all[i].name);
        CHECK(refuses_now(PQ_EFORMAT, words));
    }
}

static void test_wrong_tensors(void) {
    start("BF16");
    int n = n_items;
    for (int i = 0; i < n; i++) {
        char words[256];
        struct item saved = items[i];
        items[i].shape[items[i].rank - 1]++;
        snprintf(words, sizeof words, "model.safetensors: tensor %s has shape [", saved.name);
        CHECK(refuses_now(PQ_EFORMAT, words));
        items[i] = saved;
        strcpy(items[i].dtype, "I32");
        snprintf(words, sizeof words, "tensor %s is I32, not F32 or F16 or BF16", saved.name);
        CHECK(refuses_now(PQ_EFORMAT, words));
        items[i] = saved;
    }
    struct item *q = item_of("model.layers.0.self_attn.q_proj.weight");
    q->shape[0] = HIDDEN, q->shape[1] = Q; /* transposed */
    CHECK(
        refuses_now(PQ_EFORMAT, "q_proj.weight has shape [10, 8], but config.json means [8, 10]"));
    q->rank = 1, q->shape[0] = Q * HIDDEN;
    CHECK(refuses_now(PQ_EFORMAT, "q_proj.weight has shape [80], but config.json means [8, 10]"));
}

static void test_unknown_tensors(void) {
    static const char *const names[] = {
        "model.layers.0.self_attn.q_norm.weight", "model.layers.2.mlp.up_proj.weight",
        "model.layers.0.mlp.up_proj.bias",        "lm_head.bias",
        "model.layers.0.self_attn.sinks",         "model.layers.00.mlp.up_proj.weight",
    };
    for (int i = 0; i < 6; i++) {
        char words[256];
        start("BF16");
        add(names[i], "F32", 1, 3, 0);
        snprintf(words, sizeof words, "tensor %s, F32 [3], has no place", names[i]);
        CHECK(refuses_now(PQ_EUNSUPPORTED, words));
    }
    start("BF16");
    write_config("bias", "false"); /* the biases are there all the same */
    CHECK(refuses_now(PQ_EUNSUPPORTED, "self_attn.q_proj.bias, BF16 [8], has no place"));
    start("BF16");
    add("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", 1, 2, 0);
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    int n;
    CHECK_OK(open_now(&ckpt, &err));
    pq_checkpoint_tensors(ckpt, &n);
    CHECK(n == 29);
    pq_checkpoint_close(ckpt);
}

static void test_without_biases(void) {
    char name[200];
    start("F16");
    write_config("bias", "false");
    for (int layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "model.layers.%d.%s.bias", layer, linears[i].name);
            drop(name);
        }
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    CHECK_OK(open_now(&ckpt, &err));
    CHECK(!pq_checkpoint_config(ckpt)->qkv_bias);
    pq_checkpoint_close(ckpt);
}

static void test_tied(void) {
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    int n;
    start("BF16");
    write_config("tie_word_embeddings", "true");
    /* A head that is there is left out, */
    CHECK_OK(open_now(&ckpt, &err));
    const struct pq_tensor_info *infos = pq_checkpoint_tensors(ckpt, &n);
    CHECK(n == 28 && !pq_checkpoint_find(ckpt, "lm_head.weight"));
    for (int i = 0; i < n; i++)
        CHECK(strcmp(infos[i].name, "lm_head.weight") != 0 &&
              pq_checkpoint_find(ckpt, infos[i].name));
    pq_checkpoint_close(ckpt);
    /* but has to be the head all the same. */
    item_of("lm_head.weight")->shape[0] = VOCAB - 1;
    CHECK(refuses_now(PQ_EFORMAT, "lm_head.weight has shape [10, 10]"));
    drop("lm_head.weight");
    CHECK_OK(open_now(&ckpt, &err));
    pq_checkpoint_tensors(ckpt, &n);
    CHECK(n == 28);
    pq_checkpoint_close(ckpt);
}

/* ---- Quantized ------------------------------------------------------------------------------- */

static const char w8a8[] =
    "{\"quant_method\": \"compressed-tensors\", \"format\": \"int-quantized\", \"config_groups\":"
    "{\"group_0\": {\"targets\": [\"Linear\"], \"weights\": {\"num_bits\": 8, \"strategy\":"
    "\"channel\"}, \"input_activations\": {\"num_bits\": 8, \"strategy\": \"token\","
    "\"dynamic\": true}}}}";

static void write_w4_config(int group) {
    char text[200];
    snprintf(text, sizeof text,
             "{\"quant_method\": \"panq\", \"format\": \"w4a8\", \"version\": 1, \"group_size\": "
             "%d}",
             group);
    write_config("quantization_config", text);
}

static void test_w8a8(void) {
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    start("BF16");
    all_linears(to_w8_of, 0);
    CHECK(refuses_now(PQ_EFORMAT, "model.layers.0.self_attn.q_proj.weight makes this weight w8a8, "
                                  "but config.json allows bf16"));
    write_config("quantization_config", w8a8);
    CHECK_OK(open_now(&ckpt, &err)); /* portable: head and embeddings are FP */
    CHECK(pq_checkpoint_config(ckpt)->scheme == PQ_SCHEME_W8A8);
    CHECK(pq_checkpoint_linear_scheme(ckpt, "model.layers.1.mlp.down_proj") == PQ_SCHEME_W8A8);
    CHECK(pq_checkpoint_linear_scheme(ckpt, "lm_head") == PQ_SCHEME_FP);
    pq_checkpoint_close(ckpt);
    to_w8("lm_head");
    strcpy(item_of("lm_head.weight_scale")->dtype, "BF16");
    item_of("lm_head.weight_scale")->rank = 1;
    CHECK_OK(open_now(&ckpt, &err));
    CHECK(pq_checkpoint_linear_scheme(ckpt, "lm_head") == PQ_SCHEME_W8A8);
    pq_checkpoint_close(ckpt);
    /* What may not be. */
    item_of("lm_head.weight_scale")->shape[0]++;
    CHECK(
        refuses_now(PQ_EFORMAT, "lm_head.weight_scale has shape [12], but config.json means [11]"));
    strcpy(item_of("lm_head.weight_scale")->dtype, "I8");
    CHECK(refuses_now(PQ_EFORMAT, "lm_head.weight_scale is I8"));
    drop("lm_head.weight_scale");
    CHECK(refuses_now(PQ_EFORMAT, "lm_head.weight_scale is missing"));
    add("lm_head.weight_scale", "F32", 2, VOCAB, 2);
    CHECK(refuses_now(PQ_EFORMAT, "[11, 2], but config.json means [11, 1]"));
    item_of("lm_head.weight_scale")->shape[1] = 1;
    add("lm_head.weight_zero_point", "I8", 2, VOCAB, 1);
    CHECK(refuses_now(PQ_EUNSUPPORTED, "lm_head.weight_zero_point"));
    drop("lm_head.weight_zero_point");
    to_w8("model.embed_tokens"); /* the head is its own */
    CHECK(refuses_now(PQ_EFORMAT, "model.embed_tokens.weight makes this weight w8a8"));
    start("BF16");
    write_config("quantization_config", w8a8);
    to_w4("model.layers.0.mlp.up_proj", 0);
    CHECK(refuses_now(PQ_EFORMAT, "up_proj.weight_packed makes this weight w4a8"));
}

static void test_quantized_and_tied(void) {
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    char config[600];
    start("BF16");
    write_config("quantization_config", w8a8);
    json_t *root = json_load_file(scratch_path("config.json"), 0, NULL);
    json_object_set_new(root, "tie_word_embeddings", json_true());
    json_dump_file(root, scratch_path("config.json"), 0);
    json_decref(root);
    snprintf(config, sizeof config, "%s", scratch_path("config.json"));
    all_linears(to_w8_of, 0);
    drop("lm_head.weight");
    CHECK_OK(open_now(&ckpt, &err));
    pq_checkpoint_close(ckpt);
    to_w8("model.embed_tokens");
    CHECK_OK(open_now(&ckpt, &err));
    CHECK(pq_checkpoint_linear_scheme(ckpt, "model.embed_tokens") == PQ_SCHEME_W8A8);
    pq_checkpoint_close(ckpt);
    add("lm_head.weight", "I8", 2, VOCAB, HIDDEN);
    CHECK(refuses_now(PQ_EFORMAT, "lm_head.weight makes this weight w8a8"));
}

static void test_w4a8(void) {
    static const int groups[] = {32, 256, 0};
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    for (int i = 0; i < 3; i++) {
        start("BF16");
        write_w4_config(groups[i]);
        all_linears(to_w4, groups[i]);
        to_w8("lm_head");
        CHECK_OK(open_now(&ckpt, &err));
        CHECK(pq_checkpoint_config(ckpt)->group == groups[i]);
        CHECK(pq_checkpoint_linear_scheme(ckpt, "model.layers.0.mlp.up_proj") == PQ_SCHEME_W4A8);
        CHECK(pq_checkpoint_linear_scheme(ckpt, "lm_head") == PQ_SCHEME_W8A8);
        pq_checkpoint_close(ckpt);
    }
    /* Promoted to 8 bits or left alone, and no multipliers where one group is all there is. */
    start("BF16");
    write_w4_config(32);
    to_w4("model.layers.0.mlp.up_proj", 0);
    to_w4("model.layers.1.mlp.up_proj", 32);
    to_w8("model.layers.0.mlp.down_proj");
    CHECK_OK(open_now(&ckpt, &err));
    CHECK(pq_checkpoint_linear_scheme(ckpt, "model.layers.0.mlp.up_proj") == PQ_SCHEME_W4A8);
    CHECK(pq_checkpoint_linear_scheme(ckpt, "model.layers.0.mlp.down_proj") == PQ_SCHEME_W8A8);
    CHECK(pq_checkpoint_linear_scheme(ckpt, "model.layers.1.mlp.down_proj") == PQ_SCHEME_FP);
    pq_checkpoint_close(ckpt);
    item_of("model.layers.1.mlp.up_proj.weight_group")->shape[1] = 2;
    CHECK(refuses_now(PQ_EFORMAT, "weight_group has shape [14, 2], but config.json means [14, 1]"));
    item_of("model.layers.1.mlp.up_proj.weight_group")->shape[1] = 1;
    write_w4_config(0);
    CHECK(refuses_now(PQ_EUNSUPPORTED, "up_proj.weight_group, U8 [14, 1], has no place"));
    write_w4_config(32);
    item_of("model.layers.0.mlp.up_proj.weight_packed")->shape[1] = HIDDEN;
    CHECK(
        refuses_now(PQ_EFORMAT, "weight_packed has shape [14, 10], but config.json means [14, 5]"));
    item_of("model.layers.0.mlp.up_proj.weight_packed")->shape[1] = HIDDEN / 2;
    strcpy(item_of("model.layers.0.mlp.up_proj.weight_packed")->dtype, "I8");
    CHECK(refuses_now(PQ_EFORMAT, "weight_packed is I8, not U8"));
    strcpy(item_of("model.layers.0.mlp.up_proj.weight_packed")->dtype, "I32");
    CHECK(refuses_now(PQ_EUNSUPPORTED, "has 10 inputs, which are not whole groups of 32"));
    strcpy(item_of("model.layers.0.mlp.up_proj.weight_packed")->dtype, "U8");
    strcpy(item_of("model.layers.0.mlp.up_proj.weight_scale")->dtype, "BF16");
    CHECK(refuses_now(PQ_EFORMAT, "weight_scale is BF16, not F32"));
    strcpy(item_of("model.layers.0.mlp.up_proj.weight_scale")->dtype, "F32");
    /* Both forms at once. */
    add("model.layers.0.mlp.up_proj.weight", "BF16", 2, FFN, HIDDEN);
    CHECK(refuses_now(PQ_EUNSUPPORTED, "up_proj.weight, BF16 [14, 10], has no place"));
    drop("model.layers.0.mlp.up_proj.weight");
    to_w4("lm_head", 32);
    CHECK(refuses_now(PQ_EFORMAT, "lm_head.weight_packed makes this weight w4a8"));
}

/* A linear wider than a group, with an odd number of groups, needs its multipliers. */
static void test_w4a8_groups(void) {
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    start("BF16");
    write_w4_config(32);
    json_t *root = json_load_file(scratch_path("config.json"), 0, NULL);
    json_object_set_new(root, "intermediate_size", json_integer(71));
    json_dump_file(root, scratch_path("config.json"), 0);
    json_decref(root);
    for (int layer = 0; layer < LAYERS; layer++) {
        char name[200];
        snprintf(name, sizeof name, "model.layers.%d.mlp.up_proj.weight", layer);
        item_of(name)->shape[0] = 71;
        snprintf(name, sizeof name, "model.layers.%d.mlp.gate_proj.weight", layer);
        item_of(name)->shape[0] = 71;
        snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj.weight", layer);
        item_of(name)->shape[1] = 71;
    }
    to_w4("model.layers.0.mlp.down_proj", 32);
    CHECK(item_of("model.layers.0.mlp.down_proj.weight_packed")->shape[1] == 36);
    CHECK(item_of("model.layers.0.mlp.down_proj.weight_group")->shape[1] == 2);
    CHECK_OK(open_now(&ckpt, &err));
    pq_checkpoint_close(ckpt);
    drop("model.layers.0.mlp.down_proj.weight_group");
    CHECK(refuses_now(PQ_EFORMAT, "down_proj.weight_group is missing"));
}

/* ---- Shards ---------------------------------------------------------------------------------- */

/* The tensors in two files, dealt out in turn, and their index. */
static void start_shards(void) {
    start("BF16");
    remove(scratch_path("model.safetensors"));
    add("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", 1, 2, 0);
    for (int i = 0; i < n_items; i++)
        snprintf(items[i].file, sizeof items[i].file, "model-%05d-of-00002.safetensors", i % 2 + 1);
    write_file("model-00001-of-00002.safetensors");
    write_file("model-00002-of-00002.safetensors");
    write_index(NULL, NULL);
}

static bool index_refused(enum pq_status status, const char *words) {
    struct pq_checkpoint *ckpt = NULL;
    struct pq_err err = {""};
    enum pq_status got = pq_checkpoint_open(&ckpt, scratch_dir, &err);
    return refused(got, ckpt, &err, status, words);
}

static void test_shards(void) {
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    int n;
    start_shards();
    CHECK_OK(pq_checkpoint_open(&ckpt, scratch_dir, &err));
    const struct pq_tensor_info *infos = pq_checkpoint_tensors(ckpt, &n);
    CHECK(n == 29);
    for (int i = 0; i < n; i++) {
        int number = index_of(infos[i].name);
        const struct pq_tensor *t = pq_checkpoint_find(ckpt, infos[i].name);
        CHECK(strcmp(infos[i].file, items[number].file) == 0);
        CHECK(*(const unsigned char *)t->data == (unsigned char)number);
        CHECK(i == 0 || strcmp(infos[i - 1].file, infos[i].file) <= 0);
    }
    pq_checkpoint_close(ckpt);
    /* The 7B index lists inv_freq, whether the shards hold it or not. */
    write_index("model.layers.9.self_attn.rotary_emb.inv_freq", "model-00002-of-00002.safetensors");
    CHECK_OK(pq_checkpoint_open(&ckpt, scratch_dir, &err));
    pq_checkpoint_close(ckpt);
}

static void test_lying_index(void) {
    static const char *const hostile[] = {"../x.safetensors", "/etc/passwd", "", ".", "..",
                                          "a/b.safetensors",  ".hidden"};
    start_shards();
    for (int i = 0; i < 7; i++) {
        write_index("lm_head.weight", hostile[i]);
        CHECK(index_refused(PQ_EFORMAT, "tensor lm_head.weight is said to be in"));
    }
    write_index("lm_head.weight", "model-00003-of-00002.safetensors");
    CHECK(index_refused(PQ_EIO, "model-00003-of-00002.safetensors: cannot open"));
    write_index("lm_head.weight", "config.json");
    CHECK(index_refused(PQ_EFORMAT, "config.json: the header claims"));
    const char *right = item_of("lm_head.weight")->file;
    write_index("lm_head.weight", right[10] == '1' ? "model-00002-of-00002.safetensors"
                                                   : "model-00001-of-00002.safetensors");
    CHECK(index_refused(PQ_EFORMAT, "tensor lm_head.weight is in model-0000"));
    write_index("lm_head.weight", NULL);
    CHECK(index_refused(PQ_EFORMAT, "lm_head.weight is in model-00001-of-00002.safetensors, but "
                                    "the index says nothing of it"));
    write_index("lm_head.bias", "model-00001-of-00002.safetensors");
    CHECK(index_refused(PQ_EFORMAT,
                        "tensor lm_head.bias is not in model-00001-of-00002.safetensors"));
    /* One tensor in both shards. */
    add("lm_head.weight", "BF16", 2, VOCAB, HIDDEN);
    snprintf(items[n_items - 1].file, 64, "model-00002-of-00002.safetensors");
    write_file("model-00002-of-00002.safetensors");
    n_items--;
    write_index(NULL, NULL);
    CHECK(index_refused(PQ_EFORMAT, "lm_head.weight is in model-00002-of-00002.safetensors, but"));
    static const char *const bad[][2] = {
        {"{\"weight_map\": {\"lm_head.weight\": 7}}", "is said to be in 7"},
        {"{\"weight_map\": {\"a\": \"b\", \"a\": \"b\"}}", "duplicate"},
        {"{\"weight_map\": []}", "\"weight_map\" is [], not an object"},
        {"{\"weight_map\": {}}", "tensor model.embed_tokens.weight is missing"},
        {"{}", "\"weight_map\" is missing"},
        {"", "line 1"},
    };
    for (int i = 0; i < 6; i++) {
        scratch_text("model.safetensors.index.json", bad[i][0]);
        CHECK(index_refused(PQ_EFORMAT, bad[i][1]));
    }
    remove(scratch_path("model.safetensors.index.json"));
}

/* ---- The directory --------------------------------------------------------------------------- */

static void test_directory(void) {
    struct pq_err err;
    struct pq_checkpoint *ckpt = NULL;
    start("BF16");
    remove(scratch_path("model.safetensors"));
    CHECK(index_refused(PQ_EIO, "holds neither model.safetensors nor"));
    write_file("model.safetensors");
    remove(scratch_path("config.json"));
    CHECK(index_refused(PQ_EIO, "config.json: cannot open: No such file"));
    CHECK(pq_checkpoint_open(&ckpt, "/no/such/dir", &err) == PQ_EIO && !ckpt);
    CHECK(pq_checkpoint_open(&ckpt, "/no/such/dir", NULL) == PQ_EIO && !ckpt);
    write_config("sliding_window", "512");
    CHECK(index_refused(PQ_EUNSUPPORTED, "key \"sliding_window\" is 512"));
    write_config(NULL, NULL);
    scratch_text("generation_config.json", "{\"top_p\": 2}");
    CHECK(index_refused(PQ_EFORMAT, "generation_config.json: key \"top_p\" is 2"));
    scratch_text("generation_config.json", "{\"top_p\": 0.5}");
    CHECK_OK(pq_checkpoint_open(&ckpt, scratch_dir, &err));
    CHECK(pq_checkpoint_generation(ckpt)->top_p == 0.5f);
    pq_checkpoint_close(ckpt);
    remove(scratch_path("generation_config.json"));
}

/* A model of 1693 tensors opens in well under a second. */
static void test_many_tensors(void) {
    struct pq_err err;
    struct pq_checkpoint *ckpt;
    int n;
    start("BF16");
    write_config("num_hidden_layers", "130");
    for (int layer = LAYERS; layer < 130; layer++)
        for (int i = 0; i < 13; i++) {
            char name[200];
            snprintf(name, sizeof name, "model.layers.%d%s", layer,
                     strchr(items[i].name + 13, '.'));
            add(name, "BF16", items[i].rank, items[i].shape[0], items[i].shape[1]);
        }
    write_file("model.safetensors");
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    CHECK_OK(pq_checkpoint_open(&ckpt, scratch_dir, &err));
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    pq_checkpoint_tensors(ckpt, &n);
    pq_checkpoint_close(ckpt);
    printf("# %d tensors opened in %.1f ms\n", n, ms);
    CHECK(n == 130 * 13 + 3 && ms < 500);
}

static void test_scheme_names(void) {
    CHECK(strcmp(pq_scheme_name(PQ_SCHEME_FP), "bf16") == 0);
    CHECK(strcmp(pq_scheme_name(PQ_SCHEME_W8A8), "w8a8") == 0);
    CHECK(strcmp(pq_scheme_name(PQ_SCHEME_W4A8), "w4a8") == 0);
}

int main(void) {
    scratch_open();
    RUN(test_mini);
    RUN(test_float_types);
    RUN(test_to_f32);
    RUN(test_missing_tensors);
    RUN(test_wrong_tensors);
    RUN(test_unknown_tensors);
    RUN(test_without_biases);
    RUN(test_tied);
    RUN(test_w8a8);
    RUN(test_quantized_and_tied);
    RUN(test_w4a8);
    RUN(test_w4a8_groups);
    RUN(test_shards);
    RUN(test_lying_index);
    RUN(test_directory);
    RUN(test_many_tensors);
    RUN(test_scheme_names);
    return tap_done();
}
