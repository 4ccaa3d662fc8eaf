#include "io/json.h"
#include "model/config.h"
#include "scratch.h"
#include "tap.h"

#define MINI "models/pangu-mini/config.json"

/* ---- JSON ------------------------------------------------------------------------------------ */

static bool refuses_json(const char *text, const char *words) {
    struct pq_err err = {""};
    json_t *root = NULL;
    enum pq_status status = pq_json_parse(&root, text, strlen(text), "x.json", &err);
    bool good = status == PQ_EFORMAT && !root && strncmp(err.text, "x.json: ", 8) == 0 &&
                strstr(err.text, words);
    if (!good)
        printf("# %s: status %d, %s\n", text, status, err.text);
    return good;
}

static void test_json_damage(void) {
    CHECK(refuses_json("", "line 1"));
    CHECK(refuses_json("{\n\"a\": 1,\n}", "line 3"));
    CHECK(refuses_json("{\"a\": 1, \"a\": 2}", "duplicate"));
    CHECK(refuses_json("{\"a\": {\"b\": 1, \"b\": 1}}", "duplicate"));
    CHECK(refuses_json("[1]", "not an object"));
    CHECK(refuses_json("{} {}", "line 1"));
    CHECK(refuses_json("{\"a\": \"\xff\"}", "line 1"));
    CHECK(refuses_json("{\"a\": 1e999}", "line 1"));
    CHECK(refuses_json("{\"a\": NaN}", "line 1"));
    struct pq_err err;
    json_t *root = NULL;
    CHECK(pq_json_parse(&root, NULL, 0, "x.json", &err) == PQ_EFORMAT && !root);
    CHECK(pq_json_load(&root, scratch_path("absent.json"), &err) == PQ_EIO && !root);
    char deep[5000];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    memcpy(deep, "{\"a\":", 5);
    CHECK(refuses_json(deep, "depth"));
}

static void test_json_getters(void) {
    static const char text[] = "{\"i\": 7, \"f\": 1.5, \"t\": true, \"s\": \"text\", \"z\": null,"
                               "\"o\": {\"p\": {\"q\": 1}}, \"a\": [1]}";
    struct pq_err err;
    json_t *root;
    CHECK_OK(pq_json_parse(&root, text, sizeof text - 1, "x.json", &err));
    struct pq_json top = pq_json_root(root, "x.json"), inner;
    int i = 0;
    float f = 0;
    bool t = false;
    const char *s = NULL;
    CHECK(pq_json_int(&top, "i", 7, 7, &i, &err) == PQ_OK && i == 7);
    CHECK(pq_json_float(&top, "f", 1.5f, 1.5f, &f, &err) == PQ_OK && f == 1.5f);
    CHECK(pq_json_float(&top, "i", 0, 9, &f, &err) == PQ_OK && f == 7);
    CHECK(pq_json_bool(&top, "t", &t, &err) == PQ_OK && t);
    CHECK(pq_json_string(&top, "s", &s, &err) == PQ_OK && strcmp(s, "text") == 0);
    CHECK(pq_json_int_or(&top, "i", 0, 9, 3, &i, &err) == PQ_OK && i == 7);
    CHECK(pq_json_int_or(&top, "z", 0, 9, 3, &i, &err) == PQ_OK && i == 3);
    CHECK(pq_json_float_or(&top, "none", 0, 9, 3, &f, &err) == PQ_OK && f == 3);
    CHECK(pq_json_bool_or(&top, "none", false, &t, &err) == PQ_OK && !t);
    CHECK(pq_json_string_or(&top, "none", "else", &s, &err) == PQ_OK && strcmp(s, "else") == 0);
    /* What fails leaves the output alone and says where. */
    i = -5;
    CHECK(pq_json_int(&top, "i", 8, 9, &i, &err) == PQ_EFORMAT && i == -5);
    CHECK(strcmp(err.text, "x.json: key \"i\" is 7, not an integer from 8 to 9") == 0);
    CHECK(pq_json_int(&top, "f", 0, 9, &i, &err) == PQ_EFORMAT && strstr(err.text, "1.5"));
    CHECK(pq_json_int_or(&top, "s", 0, 9, 3, &i, &err) == PQ_EFORMAT && i == -5);
    CHECK(pq_json_int(&top, "z", 0, 9, &i, &err) == PQ_EFORMAT);
    CHECK(strcmp(err.text, "x.json: key \"z\" is missing") == 0);
    CHECK(pq_json_float(&top, "f", 2, 3, &f, &err) == PQ_EFORMAT && strstr(err.text, "2 to 3"));
    CHECK(pq_json_bool(&top, "i", &t, &err) == PQ_EFORMAT && strstr(err.text, "true or false"));
    CHECK(pq_json_string(&top, "a", &s, &err) == PQ_EFORMAT && strstr(err.text, "[1]"));
    CHECK(pq_json_object(&top, "a", &inner, &err) == PQ_EFORMAT);
    CHECK_OK(pq_json_object(&top, "o", &inner, &err));
    CHECK_OK(pq_json_object(&inner, "p", &inner, &err));
    CHECK(pq_json_int(&inner, "r", 0, 9, &i, &err) == PQ_EFORMAT);
    CHECK(strcmp(err.text, "x.json: key \"o.p.r\" is missing") == 0);
    json_decref(root);
}

static void test_json_show(void) {
    json_t *value = json_pack("{s:s}", "k", "\xe4\xb8\xad\n");
    CHECK(strcmp(pq_json_show(value).text, "{\"k\":\"\\u4E2D\\n\"}") == 0);
    json_decref(value);
    char text[200];
    memset(text, 'x', sizeof text);
    value = json_stringn(text, sizeof text);
    CHECK(strlen(pq_json_show(value).text) == 95);
    CHECK(strcmp(pq_json_show(value).text + 90, "xx...") == 0);
    json_decref(value);
}

/* ---- config.json, one key changed ------------------------------------------------------------ */

/* pangu-mini's config with `key` (dotted) set to the JSON `value`, or removed where it is NULL. */
static const char *with(const char *base, const char *key, const char *value) {
    json_t *root = json_load_file(base, 0, NULL), *at = root;
    char name[64];
    for (const char *dot; (dot = strchr(key, '.')); key = dot + 1) {
        snprintf(name, sizeof name, "%.*s", (int)(dot - key), key);
        at = json_object_get(at, name);
    }
    if (value)
        json_object_set_new(at, key, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(at, key);
    const char *path = scratch_path("config.json");
    json_dump_file(root, path, 0);
    json_decref(root);
    return path;
}

static bool refuses(const char *base, const char *key, const char *value, enum pq_status status,
                    const char *words) {
    struct pq_err err = {""};
    struct pq_config config = {.vocab = -7};
    const char *path = with(base, key, value);
    enum pq_status got = pq_config_load(&config, path, &err);
    bool good = got == status && config.vocab == -7 && strstr(err.text, path) &&
                strstr(err.text, words) && (!value || strstr(err.text, key));
    if (!good)
        printf("# %s = %s: status %d, %s\n", key, value ? value : "(absent)", got, err.text);
    return good;
}

static enum pq_status load(struct pq_config *c, const char *base, const char *key,
                           const char *value, struct pq_err *err) {
    return pq_config_load(c, with(base, key, value), err);
}

static void test_mini(void) {
    struct pq_err err;
    struct pq_config c;
    CHECK_OK(pq_config_load(&c, MINI, &err));
    CHECK(strcmp(c.family, "PanguEmbedded") == 0);
    CHECK(c.vocab == 1413 && c.hidden == 256 && c.ffn == 768 && c.layers == 6);
    CHECK(c.heads == 4 && c.kv_heads == 2 && c.head_dim == 64 && c.max_positions == 1024);
    CHECK(c.rope.theta == 10000.0f && c.norm_eps == 1e-5f);
    CHECK(!c.tied && c.qkv_bias && c.thinks);
    CHECK(c.bos == 1 && c.eos[0] == 13 && c.pad == 0);
    CHECK(c.scheme == PQ_SCHEME_FP && c.group == PQ_GROUP_CHANNEL);
}

/* openPangu-Embedded-7B's and 1B's own values. */
static void test_published(void) {
    static const char big[] =
        "{\"architectures\": [\"PanguEmbeddedForCausalLM\"], \"auto_map\": {\"AutoConfig\": \"x\"},"
        "\"bias\": true, \"attention_dropout\": 0.0, \"bos_token_id\": 1, \"pad_token_id\": 0,"
        "\"eos_token_id\": 45892, \"hidden_act\": \"silu\", \"hidden_size\": 4096,"
        "\"initializer_range\": 0.02, \"intermediate_size\": 12800,"
        "\"max_position_embeddings\": 32768, \"model_type\": \"PanguEmbedded\","
        "\"num_attention_heads\": 32, \"num_hidden_layers\": 34, \"num_key_value_heads\": 8,"
        "\"rms_norm_eps\": 1e-05, \"rope_theta\": 16000000.0, \"tie_word_embeddings\": false,"
        "\"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.53.2\", \"use_cache\": true,"
        "\"vocab_size\": 153376}";
    static const char small[] =
        "{\"bos_token_id\": 1, \"pad_token_id\": 0, \"eos_token_id\": 45892, \"hidden_size\": 1536,"
        "\"intermediate_size\": 6144, \"max_position_embeddings\": 32768,"
        "\"model_type\": \"PanguEmbedded\", \"num_attention_heads\": 12,"
        "\"num_hidden_layers\": 26, \"num_key_value_heads\": 6, \"rms_norm_eps\": 1e-05,"
        "\"rope_theta\": 4000000, \"tie_word_embeddings\": true, \"vocab_size\": 153376}";
    struct pq_err err;
    struct pq_config c;
    CHECK_OK(pq_config_load(&c, scratch_text("7b.json", big), &err));
    CHECK(c.vocab == 153376 && c.hidden == 4096 && c.ffn == 12800 && c.layers == 34);
    CHECK(c.heads == 32 && c.kv_heads == 8 && c.head_dim == 128 && c.rope.theta == 16e6f);
    CHECK(c.eos[0] == 45892 && !c.tied && c.thinks && c.max_positions == 32768);
    CHECK_OK(pq_config_load(&c, scratch_text("1b.json", small), &err));
    CHECK(c.hidden == 1536 && c.head_dim == 128 && c.tied && c.qkv_bias && !c.thinks);
    CHECK(c.rope.theta == 4e6f);
}

static void test_optional_keys(void) {
    struct pq_err err;
    struct pq_config c;
    CHECK_OK(load(&c, MINI, "architectures", NULL, &err));
    CHECK_OK(load(&c, MINI, "hidden_act", NULL, &err));
    CHECK_OK(load(&c, MINI, "tie_word_embeddings", NULL, &err));
    CHECK(!c.tied);
    CHECK_OK(load(&c, MINI, "bias", "false", &err));
    CHECK(!c.qkv_bias);
    CHECK_OK(load(&c, MINI, "bias", NULL, &err));
    CHECK(c.qkv_bias);
    CHECK_OK(load(&c, MINI, "head_dim", NULL, &err));
    CHECK(c.head_dim == 64);
    CHECK_OK(load(&c, MINI, "head_dim", "10", &err));
    CHECK(c.head_dim == 10);
    CHECK_OK(load(&c, MINI, "bos_token_id", "null", &err));
    CHECK(c.bos == -1);
    CHECK_OK(load(&c, MINI, "eos_token_id", NULL, &err));
    CHECK(c.n_eos == 0);
    CHECK_OK(load(&c, MINI, "eos_token_id", "[13, 7, 13]", &err));
    CHECK(c.n_eos == 2 && c.eos[0] == 13 && c.eos[1] == 7);
    CHECK_OK(load(&c, MINI, "eos_token_id", "[]", &err));
    CHECK(c.n_eos == 0);
    CHECK_OK(load(&c, MINI, "pad_token_id", "1412", &err));
    CHECK(c.pad == 1412);
    CHECK_OK(load(&c, MINI, "pad_token_id", "-1", &err));
    CHECK(c.pad == -1);
    CHECK_OK(load(&c, MINI, "rope_theta", "10000", &err));
    CHECK_OK(load(&c, MINI, "sliding_window", "null", &err));
    CHECK_OK(load(&c, MINI, "rope_scaling", "null", &err));
}

static void test_refused_values(void) {
    static const struct {
        const char *key, *value, *words;
    } bad[] = {
        {"vocab_size", "0", "is 0, not an integer from 1"},
        {"vocab_size", "16777217", "16777217"},
        {"hidden_size", "1.5", "is 1.5, not an integer"},
        {"hidden_size", "256.0", "is 256.0, not an integer"},
        {"hidden_size", "\"12\"", "is \"12\", not an integer"},
        {"hidden_size", "true", "is true"},
        {"hidden_size", "-256", "is -256"},
        {"hidden_size", "131073", "to 131072"},
        {"hidden_size", "4294967552", "4294967552"},
        {"hidden_size", "null", "missing"},
        {"intermediate_size", "0", "is 0"},
        {"num_hidden_layers", "0", "is 0"},
        {"num_hidden_layers", "1025", "to 1024"},
        {"num_attention_heads", "0", "is 0"},
        {"num_key_value_heads", "3", "is 3, which does not divide the 4 heads"},
        {"num_key_value_heads", "8", "from 1 to 4"},
        {"head_dim", "63", "is 63, which is odd"},
        {"head_dim", "0", "is 0"},
        {"max_position_embeddings", "0", "is 0"},
        {"rope_theta", "0", "is 0"},
        {"rope_theta", "-1.5", "is -1.5"},
        {"rope_theta", "1e300", "not a number from"},
        {"rope_theta", "\"x\"", "not a number"},
        {"rms_norm_eps", "0.0", "is 0.0"},
        {"rms_norm_eps", "2", "is 2"},
        {"tie_word_embeddings", "1", "is 1, not true or false"},
        {"bias", "\"yes\"", "is \"yes\""},
        {"bos_token_id", "1413", "from 0 to 1412"},
        {"eos_token_id", "-1", "is -1"},
        {"eos_token_id", "[13, 1413]", "is [13,1413], not an integer from 0 to 1412 or a list"},
        {"eos_token_id", "[[13]]", "is [[13]]"},
        {"eos_token_id", "{}", "is {}"},
        {"eos_token_id", "1.5", "is 1.5"},
        {"pad_token_id", "1413", "is 1413"},
        {"hidden_act", "3", "not a string"},
        {"model_type", "7", "not a string"},
        {"quantization_config", "[]", "not an object"},
        {"quantization_config", "{}", "quantization_config.quant_method"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(refuses(MINI, bad[i].key, bad[i].value, PQ_EFORMAT, bad[i].words));
    static const char *const required[] = {
        "model_type",          "vocab_size",
        "hidden_size",         "intermediate_size",
        "rope_theta",          "num_hidden_layers",
        "num_attention_heads", "rms_norm_eps",
        "num_key_value_heads", "max_position_embeddings",
    };
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        char words[64];
        snprintf(words, sizeof words, "key \"%s\" is missing", required[i]);
        CHECK(refuses(MINI, required[i], NULL, PQ_EFORMAT, words));
    }
}

static void test_head_dim_default(void) {
    const char *path = with(MINI, "head_dim", NULL);
    char base[1200];
    snprintf(base, sizeof base, "%s.base", path);
    CHECK(rename(path, base) == 0);
    CHECK(refuses(base, "hidden_size", "258", PQ_EFORMAT, "no head_dim"));
    CHECK(refuses(base, "hidden_size", "2", PQ_EFORMAT, "no head_dim"));
    struct pq_err err;
    struct pq_config c;
    CHECK(load(&c, base, "hidden_size", "252", &err) == PQ_EFORMAT);
    CHECK(strstr(err.text, "\"head_dim\" is 63, which is odd"));
    CHECK_OK(load(&c, base, "hidden_size", "264", &err));
    CHECK(c.head_dim == 66);
}

/* ---- Models that panq does not run ----------------------------------------------------------- */

static void test_foreign(void) {
    static const struct {
        const char *key, *value, *words;
    } bad[] = {
        {"model_type", "\"gpt2\"", "key \"model_type\" is \"gpt2\""},
        {"architectures", "[\"PanguProMoEForCausalLM\"]", "[\"PanguProMoEForCausalLM\"]"},
        {"architectures", "[]", "is []"},
        {"architectures", "\"PanguEmbeddedForCausalLM\"", "is \"PanguEmbedded"},
        {"hidden_act", "\"gelu\"", "is \"gelu\""},
        {"sliding_window", "512", "is 512"},
        {"sliding_window", "[512, 0]", "is [512,0]"},
        {"param_sink_number", "128", "is 128"},
        {"qk_rope_dim", "64", "is 64"},
        {"rotary_percent", "0.5", "is 0.5"},
        {"layer_types", "[\"full_attention\"]", "is [\"full_attention\"]"},
        {"rope_scaling", "{\"type\": \"linear\", \"factor\": 2.0}", "\"linear\""},
        {"rope_parameters", "{\"rope_type\": \"default\"}", "\"default\""},
        {"eos_token_id", "[0, 1, 2, 3, 4, 5, 6, 7, 8]", "more than 8 ids"},
        {"head_dim", "65536", "is 65536"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(refuses(MINI, bad[i].key, bad[i].value, PQ_EUNSUPPORTED, bad[i].words));
}

/* ---- The other families ---------------------------------------------------------------------- */

/* Llama-3.1-8B-Instruct's own config. */
static const char llama[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": false,"
    "\"attention_dropout\": 0.0, \"bos_token_id\": 128000,"
    "\"eos_token_id\": [128001, 128008, 128009], \"hidden_act\": \"silu\", \"hidden_size\": 4096,"
    "\"initializer_range\": 0.02, \"intermediate_size\": 14336,"
    "\"max_position_embeddings\": 131072, \"mlp_bias\": false, \"model_type\": \"llama\","
    "\"num_attention_heads\": 32, \"num_hidden_layers\": 32, \"num_key_value_heads\": 8,"
    "\"pretraining_tp\": 1, \"rms_norm_eps\": 1e-05, \"rope_scaling\": {\"factor\": 8.0,"
    "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0,"
    "\"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"},"
    "\"rope_theta\": 500000.0, \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\","
    "\"transformers_version\": \"4.42.3\", \"use_cache\": true, \"vocab_size\": 128256}";

/* Qwen2.5-1.5B-Instruct's. */
static const char qwen2[] =
    "{\"architectures\": [\"Qwen2ForCausalLM\"], \"attention_dropout\": 0.0,"
    "\"bos_token_id\": 151643, \"eos_token_id\": 151645, \"hidden_act\": \"silu\","
    "\"hidden_size\": 1536, \"initializer_range\": 0.02, \"intermediate_size\": 8960,"
    "\"max_position_embeddings\": 32768, \"max_window_layers\": 21, \"model_type\": \"qwen2\","
    "\"num_attention_heads\": 12, \"num_hidden_layers\": 28, \"num_key_value_heads\": 2,"
    "\"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000.0, \"sliding_window\": 32768,"
    "\"tie_word_embeddings\": true, \"torch_dtype\": \"bfloat16\","
    "\"use_sliding_window\": false, \"vocab_size\": 151936}";

/* Qwen3-0.6B's, with what transformers 5 adds and moves. */
static const char qwen3[] =
    "{\"architectures\": [\"Qwen3ForCausalLM\"], \"attention_bias\": false,"
    "\"attention_dropout\": 0.0, \"bos_token_id\": 151643, \"dtype\": \"bfloat16\","
    "\"eos_token_id\": 151645, \"head_dim\": 128, \"hidden_act\": \"silu\", \"hidden_size\": 1024,"
    "\"intermediate_size\": 3072, \"layer_types\": [\"full_attention\", \"full_attention\"],"
    "\"max_position_embeddings\": 40960, \"max_window_layers\": 28, \"model_type\": \"qwen3\","
    "\"num_attention_heads\": 16, \"num_hidden_layers\": 28, \"num_key_value_heads\": 8,"
    "\"pad_token_id\": null, \"rms_norm_eps\": 1e-06, \"rope_parameters\": {"
    "\"rope_theta\": 1000000, \"rope_type\": \"default\"}, \"sliding_window\": null,"
    "\"tie_word_embeddings\": true, \"use_sliding_window\": false, \"vocab_size\": 151936}";

/* The path of a config as a base to change; valid until the fourth call after this one. */
static const char *base_of(const char *text) {
    return scratch_text(text == llama   ? "llama.json"
                        : text == qwen2 ? "qwen2.json"
                                        : "qwen3.json",
                        text);
}

static void test_llama(void) {
    struct pq_err err;
    struct pq_config c;
    CHECK_OK(pq_config_load(&c, base_of(llama), &err));
    CHECK(strcmp(c.family, "llama") == 0 && c.head_dim == 128 && c.kv_heads == 8 && !c.tied);
    CHECK(!c.qkv_bias && !c.o_bias && !c.qk_norm && c.thinks);
    CHECK(c.n_eos == 3 && c.eos[0] == 128001 && c.eos[2] == 128009 && c.pad == -1);
    CHECK(c.rope.scaling == PQ_ROPE_LLAMA3 && c.rope.theta == 5e5f && c.rope.factor == 8);
    CHECK(c.rope.low_freq_factor == 1 && c.rope.high_freq_factor == 4);
    CHECK(c.rope.original_positions == 8192);
    CHECK_OK(load(&c, base_of(llama), "attention_bias", "true", &err));
    CHECK(c.qkv_bias && c.o_bias);
    /* As the first Llamas: */
    CHECK_OK(load(&c, base_of(llama), "num_key_value_heads", NULL, &err));
    CHECK(c.kv_heads == 32);
    CHECK_OK(load(&c, base_of(llama), "rope_theta", NULL, &err));
    CHECK(c.rope.theta == 10000);
    CHECK_OK(load(&c, base_of(llama), "rope_interleaved", "false", &err));
}

static void test_qwen2(void) {
    struct pq_err err;
    struct pq_config c;
    CHECK_OK(pq_config_load(&c, base_of(qwen2), &err));
    CHECK(strcmp(c.family, "qwen2") == 0 && c.head_dim == 128 && c.tied && c.thinks);
    CHECK(c.qkv_bias && !c.o_bias && !c.qk_norm);
    CHECK(c.rope.scaling == PQ_ROPE_PLAIN && c.rope.theta == 1e6f);
    CHECK_OK(load(&c, base_of(qwen2), "use_sliding_window", NULL, &err));
    /* The 1B's shape means something in its own family only. */
    CHECK_OK(load(&c, base_of(qwen2), "num_hidden_layers", "26", &err));
    CHECK(c.thinks);
}

static void test_qwen3(void) {
    struct pq_err err;
    struct pq_config c;
    CHECK_OK(pq_config_load(&c, base_of(qwen3), &err));
    CHECK(strcmp(c.family, "qwen3") == 0 && c.head_dim == 128 && c.heads == 16 && c.tied);
    CHECK(!c.qkv_bias && !c.o_bias && c.qk_norm);
    CHECK(c.rope.scaling == PQ_ROPE_PLAIN && c.rope.theta == 1e6f);
    CHECK_OK(load(&c, base_of(qwen3), "attention_bias", "true", &err));
    CHECK(c.qkv_bias && c.o_bias);
    CHECK_OK(load(&c, base_of(qwen3), "head_dim", NULL, &err));
    CHECK(c.head_dim == 128);
    CHECK_OK(load(&c, base_of(qwen3), "rope_theta", "1e6", &err));
    CHECK_OK(load(&c, base_of(qwen3), "rope_parameters.type", "\"default\"", &err));
}

#define SCALING "rope_scaling."
#define PARAMETERS "rope_parameters."

static void test_rope(void) {
    struct pq_err err;
    struct pq_config c;
    CHECK_OK(load(&c, base_of(qwen2), "rope_scaling", "{\"type\": \"default\"}", &err));
    CHECK(c.rope.scaling == PQ_ROPE_PLAIN);
    CHECK_OK(
        load(&c, base_of(qwen2), "rope_scaling", "{\"type\": \"linear\", \"factor\": 4}", &err));
    CHECK(c.rope.scaling == PQ_ROPE_LINEAR && c.rope.factor == 4 && c.rope.theta == 1e6f);
    CHECK_OK(load(&c, base_of(qwen2), "rope_scaling",
                  "{\"type\": \"linear\", \"rope_type\": \"linear\", \"factor\": 2.5}", &err));
    CHECK(c.rope.scaling == PQ_ROPE_LINEAR && c.rope.factor == 2.5f);
    CHECK_OK(load(&c, base_of(llama), SCALING "partial_rotary_factor", "1.0", &err));
    static const struct {
        const char *text, *key, *value;
        enum pq_status status;
        const char *words;
    } bad[] = {
        {llama, SCALING "rope_type", "\"yarn\"", PQ_EUNSUPPORTED, "is \"yarn\""},
        {llama, SCALING "rope_type", "\"dynamic\"", PQ_EUNSUPPORTED, "is \"dynamic\""},
        {llama, SCALING "rope_type", "\"longrope\"", PQ_EUNSUPPORTED, "is \"longrope\""},
        {qwen2, "rope_scaling", "{\"type\": \"yarn\", \"factor\": 4.0}", PQ_EUNSUPPORTED,
         "rope_scaling.type\" is \"yarn\""},
        {qwen3, PARAMETERS "rope_type", "\"yarn\"", PQ_EUNSUPPORTED, "is \"yarn\""},
        {llama, SCALING "rope_type", "3", PQ_EFORMAT, "is 3, not a string"},
        {llama, SCALING "rope_type", NULL, PQ_EFORMAT, "rope_scaling.type\" is missing"},
        {llama, SCALING "type", "\"linear\"", PQ_EUNSUPPORTED, "type\" is \"linear\""},
        {llama, SCALING "beta_fast", "32", PQ_EUNSUPPORTED, "is 32"},
        {llama, SCALING "partial_rotary_factor", "0.5", PQ_EUNSUPPORTED, "is 0.5"},
        {llama, SCALING "factor", NULL, PQ_EFORMAT, "factor\" is missing"},
        {llama, SCALING "factor", "0.5", PQ_EFORMAT, "is 0.5, not a number from 1"},
        {llama, SCALING "factor", "1e9", PQ_EFORMAT, "not a number from 1"},
        {llama, SCALING "factor", "\"8\"", PQ_EFORMAT, "is \"8\""},
        {llama, SCALING "low_freq_factor", NULL, PQ_EFORMAT, "low_freq_factor\" is missing"},
        {llama, SCALING "low_freq_factor", "0", PQ_EFORMAT, "is 0"},
        {llama, SCALING "high_freq_factor", NULL, PQ_EFORMAT, "high_freq_factor\" is missing"},
        {llama, SCALING "high_freq_factor", "1.0", PQ_EFORMAT, "is 1, not above low_freq_factor"},
        {llama, SCALING "original_max_position_embeddings", NULL, PQ_EFORMAT, "is missing"},
        {llama, SCALING "original_max_position_embeddings", "0", PQ_EFORMAT, "is 0"},
        {llama, SCALING "original_max_position_embeddings", "8192.0", PQ_EFORMAT, "is 8192.0"},
        {llama, SCALING "rope_theta", "10000", PQ_EFORMAT,
         "is 10000, but \"rope_theta\" is 500000"},
        {llama, "rope_scaling", "[]", PQ_EFORMAT, "not an object"},
        {qwen3, "rope_scaling", "{\"type\": \"default\"}", PQ_EUNSUPPORTED, "is {"},
        {qwen3, "rope_theta", "5000", PQ_EFORMAT, "rope_parameters.rope_theta\" is 1e+06"},
        {qwen3, PARAMETERS "rope_theta", "0", PQ_EFORMAT, "is 0"},
        {qwen3, PARAMETERS "rope_theta", NULL, PQ_EFORMAT, "\"rope_theta\" is missing"},
        {qwen3, "rope_parameters", "{\"full_attention\": {\"rope_type\": \"default\"}}", PQ_EFORMAT,
         "rope_parameters.type\" is missing"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(refuses(base_of(bad[i].text), bad[i].key, bad[i].value, bad[i].status, bad[i].words));
}

static void test_families_refuse(void) {
    static const struct {
        const char *text, *key, *value, *words;
    } bad[] = {
        {llama, "model_type", "\"mistral\"", "is \"mistral\""},
        {llama, "model_type", "\"qwen3_moe\"", "is \"qwen3_moe\""},
        {llama, "architectures", "[\"LlamaForSequenceClassification\"]", "SequenceClass"},
        {llama, "hidden_act", "\"gelu_pytorch_tanh\"", "gelu_pytorch_tanh"},
        {llama, "mlp_bias", "true", "is true"},
        {llama, "sliding_window", "4096", "is 4096"},
        {llama, "layer_types", "[\"full_attention\"]", "full_attention"},
        {llama, "partial_rotary_factor", "0.5", "is 0.5"},
        {llama, "rope_interleaved", "true", "is true"},
        {llama, "param_sink_number", "128", "is 128"},
        {qwen2, "use_sliding_window", "true", "is true"},
        {qwen2, "layer_types", "[\"full_attention\", \"sliding_attention\"]", "sliding_attention"},
        {qwen2, "use_mrope", "true", "is true"},
        {qwen2, "qk_rope_dim", "64", "is 64"},
        {qwen3, "use_sliding_window", "true", "is true"},
        {qwen3, "layer_types", "\"full_attention\"", "is \"full_attention\""},
        {qwen3, "layer_types", "[7]", "is [7]"},
        {qwen3, "rotary_percent", "0.25", "is 0.25"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(
            refuses(base_of(bad[i].text), bad[i].key, bad[i].value, PQ_EUNSUPPORTED, bad[i].words));
    struct pq_err err;
    struct pq_config c;
    CHECK(load(&c, base_of(llama), "model_type", "\"qwen2\"", &err) == PQ_EUNSUPPORTED);
    CHECK(strstr(err.text, "key \"architectures\" is [\"LlamaForCausalLM\"]"));
    CHECK(refuses(base_of(qwen2), "num_key_value_heads", NULL, PQ_EFORMAT, "is missing"));
    CHECK(refuses(base_of(qwen2), "rope_theta", NULL, PQ_EFORMAT, "is missing"));
    CHECK(refuses(base_of(llama), "attention_bias", "1", PQ_EFORMAT, "not true or false"));
}

/* ---- quantization_config --------------------------------------------------------------------- */

static const char *quantized(const char *name, const char *quantization) {
    const char *path = with(MINI, "quantization_config", quantization);
    rename(path, scratch_path(name));
    return scratch_path(name);
}

static void test_panq_quantization(void) {
    struct pq_err err;
    struct pq_config c;
    const char *base = quantized("panq.json", "{\"quant_method\": \"panq\", \"format\": \"w4a8\","
                                              "\"version\": 1, \"group_size\": 32}");
    char copy[1200];
    snprintf(copy, sizeof copy, "%s", base);
    CHECK_OK(pq_config_load(&c, copy, &err));
    CHECK(c.scheme == PQ_SCHEME_W4A8 && c.group == 32);
    CHECK_OK(load(&c, copy, "quantization_config.group_size", "256", &err));
    CHECK(c.group == 256);
    CHECK_OK(load(&c, copy, "quantization_config.group_size", "0", &err));
    CHECK(c.scheme == PQ_SCHEME_W4A8 && c.group == PQ_GROUP_CHANNEL);
    static const struct {
        const char *key, *value;
        enum pq_status status;
        const char *words;
    } bad[] = {
        {"quantization_config.group_size", "128", PQ_EUNSUPPORTED, "is 128"},
        {"quantization_config.group_size", "512", PQ_EFORMAT, "is 512"},
        {"quantization_config.group_size", NULL, PQ_EFORMAT, "group_size\" is missing"},
        {"quantization_config.version", "2", PQ_EUNSUPPORTED, "is 2"},
        {"quantization_config.version", NULL, PQ_EFORMAT, "version\" is missing"},
        {"quantization_config.format", "\"w2a8\"", PQ_EUNSUPPORTED, "is \"w2a8\""},
        {"quantization_config.rotation", "\"hadamard\"", PQ_EUNSUPPORTED, "is \"hadamard\""},
        {"quantization_config.quant_method", "\"gptq\"", PQ_EUNSUPPORTED, "is \"gptq\""},
        {"quantization_config.quant_method", "3", PQ_EFORMAT, "is 3"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(refuses(copy, bad[i].key, bad[i].value, bad[i].status, bad[i].words));
}

/* Rotations of inputs, in either scheme; a tied head's only. */
static void test_online_hadamard(void) {
    struct pq_err err;
    struct pq_config c;
    char w8[1200], tied[1200];
    snprintf(w8, sizeof w8, "%s",
             quantized("w8.json", "{\"quant_method\": \"panq\", \"format\": \"w8a8\","
                                  "\"version\": 1, \"online_hadamard\": [\"down_proj\"]}"));
    CHECK_OK(pq_config_load(&c, w8, &err));
    CHECK(c.scheme == PQ_SCHEME_W8A8 && c.group == PQ_GROUP_CHANNEL);
    CHECK(c.rotates_down && !c.rotates_head);
    CHECK_OK(load(&c, w8, "quantization_config.online_hadamard", NULL, &err));
    CHECK(c.scheme == PQ_SCHEME_W8A8 && !c.rotates_down && !c.rotates_head);
    CHECK_OK(load(&c, w8, "quantization_config.online_hadamard", "[]", &err));
    CHECK(!c.rotates_down && !c.rotates_head);
    snprintf(tied, sizeof tied, "%s", with(w8, "tie_word_embeddings", "true"));
    rename(tied, scratch_path("tied.json"));
    snprintf(tied, sizeof tied, "%s", scratch_path("tied.json"));
    CHECK_OK(load(&c, tied, "quantization_config.online_hadamard", "[\"lm_head\", \"down_proj\"]",
                  &err));
    CHECK(c.tied && c.rotates_down && c.rotates_head);
    CHECK_OK(load(&c, tied, "quantization_config.online_hadamard", "[\"lm_head\"]", &err));
    CHECK(!c.rotates_down && c.rotates_head);
    const char *key = "quantization_config.online_hadamard";
    CHECK(refuses(w8, key, "[\"lm_head\"]", PQ_EUNSUPPORTED, "is [\"lm_head\"]"));
    CHECK(refuses(w8, key, "\"down_proj\"", PQ_EUNSUPPORTED, "is \"down_proj\""));
    CHECK(refuses(w8, key, "[\"up_proj\"]", PQ_EUNSUPPORTED, "is [\"up_proj\"]"));
    CHECK(refuses(w8, key, "[1]", PQ_EUNSUPPORTED, "is [1]"));
    CHECK(
        refuses(w8, key, "[\"down_proj\", \"down_proj\"]", PQ_EUNSUPPORTED, "is [\"down_proj\","));
    CHECK(refuses(w8, "quantization_config.group_size", "32", PQ_EUNSUPPORTED, "is 32"));
    /* 11008 = 2^8 x 43, whose matrix panq does not make. */
    struct pq_config kept = {.vocab = -7};
    CHECK(load(&kept, w8, "intermediate_size", "11008", &err) == PQ_EUNSUPPORTED);
    CHECK(kept.vocab == -7 && strstr(err.text, "online_hadamard") && strstr(err.text, "11008"));
    CHECK(load(&kept, tied, "hidden_size", "11008", &err) == PQ_OK); /* only down rotates */
}

/* As llm-compressor writes it. */
static const char compressed[] =
    "{\"config_groups\": {\"group_0\": {\"input_activations\": {\"actorder\": null,"
    "\"block_structure\": null, \"dynamic\": true, \"group_size\": null, \"num_bits\": 8,"
    "\"observer\": null, \"observer_kwargs\": {}, \"strategy\": \"token\", \"symmetric\": true,"
    "\"type\": \"int\"}, \"output_activations\": null, \"targets\": [\"Linear\"],"
    "\"weights\": {\"actorder\": null, \"block_structure\": null, \"dynamic\": false,"
    "\"group_size\": null, \"num_bits\": 8, \"observer\": \"minmax\", \"observer_kwargs\": {},"
    "\"strategy\": \"channel\", \"symmetric\": true, \"type\": \"int\"}}},"
    "\"format\": \"int-quantized\", \"global_compression_ratio\": 1.23, \"ignore\": [\"lm_head\"],"
    "\"kv_cache_scheme\": null, \"quant_method\": \"compressed-tensors\","
    "\"quantization_status\": \"compressed\", \"sparsity_config\": {}, \"transform_config\": {},"
    "\"version\": \"0.10.2\"}";

#define QC "quantization_config."
#define GROUP QC "config_groups.group_0."

static void test_compressed_tensors(void) {
    struct pq_err err;
    struct pq_config c;
    char base[1200];
    snprintf(base, sizeof base, "%s", quantized("compressed.json", compressed));
    CHECK_OK(pq_config_load(&c, base, &err));
    CHECK(c.scheme == PQ_SCHEME_W8A8 && c.group == PQ_GROUP_CHANNEL);
    CHECK_OK(load(&c, base, QC "ignore", NULL, &err));
    CHECK_OK(load(&c, base, GROUP "format", "\"int-quantized\"", &err));
    CHECK_OK(load(&c, base, GROUP "weights.symmetric", NULL, &err));
    static const struct {
        const char *key, *value;
        enum pq_status status;
        const char *words;
    } bad[] = {
        {QC "format", "\"naive-quantized\"", PQ_EUNSUPPORTED, "is \"naive-quantized\""},
        {QC "format", NULL, PQ_EFORMAT, "format\" is missing"},
        {QC "kv_cache_scheme", "{\"num_bits\": 8}", PQ_EUNSUPPORTED, "is {\"num_bits\":8}"},
        {QC "sparsity_config", "{\"format\": \"sparse\"}", PQ_EUNSUPPORTED, "sparse"},
        {QC "transform_config", "{\"config_groups\": 1}", PQ_EUNSUPPORTED, "transform_config"},
        {QC "config_groups", "{}", PQ_EUNSUPPORTED, "is {}"},
        {QC "config_groups", "[]", PQ_EFORMAT, "not an object"},
        {QC "config_groups.group_1", "{}", PQ_EFORMAT, "group_1.targets\" is missing"},
        {GROUP "output_activations", "{\"num_bits\": 8}", PQ_EUNSUPPORTED, "num_bits"},
        {GROUP "format", "\"float-quantized\"", PQ_EUNSUPPORTED, "float-quantized"},
        {GROUP "weights", "null", PQ_EFORMAT, "weights\" is missing"},
        {GROUP "input_activations", "null", PQ_EFORMAT, "input_activations\" is missing"},
        {GROUP "weights.num_bits", "4", PQ_EUNSUPPORTED, "is 4"},
        {GROUP "weights.num_bits", NULL, PQ_EFORMAT, "weights.num_bits\" is missing"},
        {GROUP "weights.type", "\"float\"", PQ_EUNSUPPORTED, "is \"float\""},
        {GROUP "weights.symmetric", "false", PQ_EUNSUPPORTED, "is false"},
        {GROUP "weights.strategy", "\"group\"", PQ_EUNSUPPORTED, "is \"group\""},
        {GROUP "weights.group_size", "128", PQ_EUNSUPPORTED, "is 128"},
        {GROUP "weights.dynamic", "true", PQ_EUNSUPPORTED, "is true"},
        {GROUP "weights.actorder", "\"static\"", PQ_EUNSUPPORTED, "is \"static\""},
        {GROUP "input_activations.num_bits", "4", PQ_EUNSUPPORTED, "is 4"},
        {GROUP "input_activations.dynamic", "false", PQ_EUNSUPPORTED, "is false"},
        {GROUP "input_activations.dynamic", NULL, PQ_EFORMAT, "dynamic\" is missing"},
        {GROUP "input_activations.symmetric", "false", PQ_EUNSUPPORTED, "is false"},
        {GROUP "input_activations.strategy", "\"tensor\"", PQ_EUNSUPPORTED, "is \"tensor\""},
        {GROUP "input_activations.type", "\"float\"", PQ_EUNSUPPORTED, "is \"float\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(refuses(base, bad[i].key, bad[i].value, bad[i].status, bad[i].words));
}

/* 4 bits, as panq writes it for other engines. */
static const char packed[] =
    "{\"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], \"format\": \"pack-quantized\","
    "\"weights\": {\"num_bits\": 4, \"type\": \"int\", \"symmetric\": true, \"strategy\": "
    "\"group\","
    "\"group_size\": 32, \"dynamic\": false}, \"input_activations\": {\"num_bits\": 8,"
    "\"type\": \"int\", \"symmetric\": true, \"strategy\": \"token\", \"dynamic\": true}}},"
    "\"format\": \"pack-quantized\", \"ignore\": [\"lm_head\"],"
    "\"quant_method\": \"compressed-tensors\", \"quantization_status\": \"compressed\"}";

static void test_packed(void) {
    struct pq_err err;
    struct pq_config c;
    char base[1200], channel[1300];
    snprintf(base, sizeof base, "%s", quantized("packed.json", packed));
    CHECK_OK(pq_config_load(&c, base, &err));
    CHECK(c.scheme == PQ_SCHEME_W4A8 && c.group == 32);
    CHECK_OK(load(&c, base, GROUP "format", NULL, &err));
    snprintf(channel, sizeof channel, "%s.channel", base);
    CHECK(rename(with(base, GROUP "weights.group_size", NULL), channel) == 0);
    CHECK_OK(load(&c, channel, GROUP "weights.strategy", "\"channel\"", &err));
    CHECK(c.scheme == PQ_SCHEME_W4A8 && c.group == PQ_GROUP_CHANNEL);
    CHECK(load(&c, channel, GROUP "weights.strategy", "\"group\"", &err) == PQ_EFORMAT);
    CHECK(strstr(err.text, "group_size\" is missing"));
    static const struct {
        const char *key, *value;
        enum pq_status status;
        const char *words;
    } bad[] = {
        {GROUP "weights.group_size", "128", PQ_EUNSUPPORTED, "is 128"},
        {GROUP "weights.group_size", "-1", PQ_EFORMAT, "is -1"},
        {GROUP "weights.strategy", "\"channel\"", PQ_EUNSUPPORTED, NULL},
        {GROUP "weights.strategy", "\"tensor\"", PQ_EUNSUPPORTED, "is \"tensor\""},
        {GROUP "weights.num_bits", "8", PQ_EUNSUPPORTED, "is 8"},
        {GROUP "weights.symmetric", "false", PQ_EUNSUPPORTED, "is false"},
        {GROUP "weights.actorder", "\"group\"", PQ_EUNSUPPORTED, "is \"group\""},
        {GROUP "input_activations", "null", PQ_EFORMAT, "input_activations\" is missing"},
        {GROUP "input_activations.num_bits", "16", PQ_EUNSUPPORTED, "is 16"},
        {GROUP "format", "\"int-quantized\"", PQ_EUNSUPPORTED, "is \"int-quantized\""},
        {QC "format", "\"int-quantized\"", PQ_EUNSUPPORTED, NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        c.group = -7;
        if (bad[i].words)
            CHECK(refuses(base, bad[i].key, bad[i].value, bad[i].status, bad[i].words));
        else /* the key that gives it away is another one */
            CHECK(load(&c, base, bad[i].key, bad[i].value, &err) == bad[i].status && c.group == -7);
    }
}

/* ---- generation_config.json ------------------------------------------------------------------ */

static void test_generation(void) {
    struct pq_err err;
    struct pq_generation_config g;
    struct pq_config c = {.vocab = 100, .eos = {2, 3}, .n_eos = 2};
    CHECK_OK(pq_generation_load(&g, &c, "models/pangu-mini/generation_config.json", &err));
    CHECK(!g.do_sample && g.temperature == 1 && g.top_k == 0 && g.top_p == 0.8f);
    CHECK(g.repetition_penalty == 1);
    CHECK_OK(pq_generation_load(&g, &c, scratch_path("absent.json"), &err));
    CHECK(!g.do_sample && g.temperature == 1 && g.top_k == 50 && g.top_p == 1);
    CHECK(g.repetition_penalty == 1);
    CHECK_OK(pq_generation_load(
        &g, &c,
        scratch_text("g.json", "{\"do_sample\": true, \"temperature\": 0.6, \"top_k\": 20,"
                               "\"repetition_penalty\": 1.05, \"eos_token_id\": [1, 2]}"),
        &err));
    CHECK(g.do_sample && g.temperature == 0.6f && g.top_k == 20 && g.top_p == 1);
    CHECK(g.repetition_penalty == 1.05f);
    CHECK(c.n_eos == 4 && c.eos[0] == 2 && c.eos[2] == 13 && c.eos[3] == 1);
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"{\"temperature\": -1}", "\"temperature\" is -1"},
        {"{\"temperature\": \"1\"}", "\"temperature\" is \"1\""},
        {"{\"top_p\": 1.5}", "\"top_p\" is 1.5"},
        {"{\"top_p\": -0.5}", "\"top_p\" is -0.5"},
        {"{\"top_k\": -1}", "\"top_k\" is -1"},
        {"{\"top_k\": 1.5}", "\"top_k\" is 1.5"},
        {"{\"do_sample\": 1}", "\"do_sample\" is 1"},
        {"{\"repetition_penalty\": 0}", "\"repetition_penalty\" is 0"},
        {"{\"eos_token_id\": 100}", "\"eos_token_id\" is 100, not an integer from 0 to 99"},
        {"{\"eos_token_id\": [4, \"5\"]}", "\"eos_token_id\" is [4,\"5\"]"},
        {"{", "line 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        g.top_k = -7;
        CHECK(pq_generation_load(&g, &c, scratch_text("g.json", bad[i].text), &err) == PQ_EFORMAT);
        CHECK(g.top_k == -7 && strstr(err.text, "g.json") && strstr(err.text, bad[i].words));
        CHECK(c.n_eos == 4);
    }
    CHECK(pq_generation_load(&g, &c, scratch_dir, &err) == PQ_EIO);
}

int main(void) {
    scratch_open();
    RUN(test_json_damage);
    RUN(test_json_getters);
    RUN(test_json_show);
    RUN(test_mini);
    RUN(test_published);
    RUN(test_optional_keys);
    RUN(test_refused_values);
    RUN(test_head_dim_default);
    RUN(test_foreign);
    RUN(test_llama);
    RUN(test_qwen2);
    RUN(test_qwen3);
    RUN(test_rope);
    RUN(test_families_refuse);
    RUN(test_panq_quantization);
    RUN(test_online_hadamard);
    RUN(test_compressed_tensors);
    RUN(test_packed);
    RUN(test_generation);
    return tap_done();
}
