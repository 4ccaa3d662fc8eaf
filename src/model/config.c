#include "model/config.h"

#include "io/json.h"

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Families -------------------------------------------------------------------------------- */

struct family {
    const char *model_type, *architecture;
    const char *bias_key; /* says whether q, k, v and o have biases */
    bool bias;            /* when the key is absent */
};

static const struct family families[] = {
    {"PanguEmbedded", "PanguEmbeddedForCausalLM", "bias", true},
};

/* Keys of models that share a family's model_type but compute something else: openPangu-R-7B has
 * sinks, a sliding window and partial rotation. */
static const char *const lookalike_keys[] = {
    "sliding_window", "param_sink_number", "qk_rope_dim",
    "rotary_percent", "layer_types",       "rope_scaling",
};

static enum pq_status refuse(const struct pq_json *at, const char *key, const json_t *value,
                             struct pq_err *err) {
    return pq_fail(err, PQ_EUNSUPPORTED, "%s: key \"%s%s\" is %s, which panq does not support",
                   at->file, at->path, key, pq_json_show(value).text);
}

static enum pq_status find_family(const struct pq_json *top, const struct family **out,
                                  struct pq_err *err) {
    const char *model_type;
    PQ_TRY(pq_json_string(top, "model_type", &model_type, err));
    const struct family *family = NULL;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        if (strcmp(families[i].model_type, model_type) == 0)
            family = &families[i];
    if (!family)
        return refuse(top, "model_type", pq_json_find(top, "model_type"), err);
    const json_t *names = pq_json_find(top, "architectures");
    const char *name = json_string_value(json_array_get(names, 0));
    if (names && (!name || strcmp(name, family->architecture) != 0))
        return refuse(top, "architectures", names, err);
    for (size_t i = 0; i < sizeof lookalike_keys / sizeof lookalike_keys[0]; i++) {
        const json_t *value = pq_json_find(top, lookalike_keys[i]);
        if (value)
            return refuse(top, lookalike_keys[i], value, err);
    }
    *out = family;
    return PQ_OK;
}

/* ---- Quantization ---------------------------------------------------------------------------- */

/* What a key of a quantization_config must be, as it is written in JSON. */
struct rule {
    const char *key;
    const char *want; /* NULL: any value */
    bool required;
};

static const struct rule panq_rules[] = {
    {"quant_method", NULL, true},
    {"format", "\"w4a8\"", true},
    {"version", "1", true},
    {"group_size", NULL, true},
};
/* The layout that compressed-tensors calls int-quantized.  Which linears it holds is told by
 * their tensors, so targets and ignore may say anything. */
static const struct rule compressed_rules[] = {
    {"quant_method", NULL, true},
    {"format", "\"int-quantized\"", true},
    {"config_groups", NULL, true},
    {"ignore", NULL, false},
    {"version", NULL, false},
    {"quantization_status", NULL, false},
    {"global_compression_ratio", NULL, false},
};
static const struct rule group_rules[] = {
    {"targets", NULL, true},
    {"weights", NULL, true},
    {"input_activations", NULL, true},
    {"format", "\"int-quantized\"", false},
};
static const struct rule weight_rules[] = {
    {"num_bits", "8", true},           {"type", "\"int\"", false},  {"symmetric", "true", false},
    {"strategy", "\"channel\"", true}, {"dynamic", "false", false}, {"observer", NULL, false},
    {"observer_kwargs", NULL, false},
};
static const struct rule activation_rules[] = {
    {"num_bits", "8", true},          {"type", "\"int\"", false}, {"symmetric", "true", false},
    {"strategy", "\"token\"", true},  {"dynamic", "true", true},  {"observer", NULL, false},
    {"observer_kwargs", NULL, false},
};

static bool is_nothing(const json_t *value) {
    return json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

/* Every key follows its rule; a key without one says nothing (null, {} or []). */
static enum pq_status check_rules(const struct pq_json *at, const struct rule *rules, size_t n,
                                  struct pq_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach(at->object, key, value) {
        const struct rule *rule = NULL;
        for (size_t i = 0; i < n; i++)
            if (strcmp(rules[i].key, key) == 0)
                rule = &rules[i];
        bool good = rule && rule->want ? strcmp(rule->want, pq_json_show(value).text) == 0
                                       : rule || is_nothing(value);
        if (!good && !json_is_null(value))
            return refuse(at, key, value, err);
    }
    for (size_t i = 0; i < n; i++)
        if (rules[i].required && !pq_json_find(at, rules[i].key))
            return pq_fail(err, PQ_EFORMAT, "%s: key \"%s%s\" is missing", at->file, at->path,
                           rules[i].key);
    return PQ_OK;
}

#define CHECK_RULES(at, rules, err) check_rules(at, rules, sizeof rules / sizeof rules[0], err)

static enum pq_status read_panq(const struct pq_json *quantization, struct pq_config *config,
                                struct pq_err *err) {
    PQ_TRY(CHECK_RULES(quantization, panq_rules, err));
    int group;
    PQ_TRY(pq_json_int(quantization, "group_size", 0, 256, &group, err));
    if (group != 32 && group != 256 && group != PQ_GROUP_CHANNEL)
        return refuse(quantization, "group_size", pq_json_find(quantization, "group_size"), err);
    config->scheme = PQ_SCHEME_W4A8;
    config->group = group;
    return PQ_OK;
}

static enum pq_status read_compressed(const struct pq_json *quantization, struct pq_config *config,
                                      struct pq_err *err) {
    struct pq_json groups, group, part;
    PQ_TRY(CHECK_RULES(quantization, compressed_rules, err));
    PQ_TRY(pq_json_object(quantization, "config_groups", &groups, err));
    if (json_object_size(groups.object) == 0)
        return refuse(quantization, "config_groups", groups.object, err);
    const char *name;
    json_t *value;
    json_object_foreach(groups.object, name, value) {
        PQ_TRY(pq_json_object(&groups, name, &group, err));
        PQ_TRY(CHECK_RULES(&group, group_rules, err));
        PQ_TRY(pq_json_object(&group, "weights", &part, err));
        PQ_TRY(CHECK_RULES(&part, weight_rules, err));
        PQ_TRY(pq_json_object(&group, "input_activations", &part, err));
        PQ_TRY(CHECK_RULES(&part, activation_rules, err));
    }
    config->scheme = PQ_SCHEME_W8A8;
    return PQ_OK;
}

static enum pq_status read_quantization(const struct pq_json *top, struct pq_config *config,
                                        struct pq_err *err) {
    config->scheme = PQ_SCHEME_FP;
    config->group = PQ_GROUP_CHANNEL;
    if (!pq_json_find(top, "quantization_config"))
        return PQ_OK;
    struct pq_json quantization;
    const char *method;
    PQ_TRY(pq_json_object(top, "quantization_config", &quantization, err));
    PQ_TRY(pq_json_string(&quantization, "quant_method", &method, err));
    if (strcmp(method, "panq") == 0)
        return read_panq(&quantization, config, err);
    if (strcmp(method, "compressed-tensors") == 0)
        return read_compressed(&quantization, config, err);
    return refuse(&quantization, "quant_method", pq_json_find(&quantization, "quant_method"), err);
}

/* ---- config.json ----------------------------------------------------------------------------- */

/* head_dim, and that heads of this size and number fit together. */
static enum pq_status read_heads(const struct pq_json *top, struct pq_config *c,
                                 struct pq_err *err) {
    PQ_TRY(pq_json_int(top, "num_attention_heads", 1, PQ_MAX_INPUTS, &c->heads, err));
    PQ_TRY(pq_json_int(top, "num_key_value_heads", 1, c->heads, &c->kv_heads, err));
    if (c->heads % c->kv_heads != 0)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: key \"num_key_value_heads\" is %d, which does not divide the %d heads",
                       top->file, c->kv_heads, c->heads);
    bool given = pq_json_find(top, "head_dim");
    PQ_TRY(
        pq_json_int_or(top, "head_dim", 2, PQ_MAX_INPUTS, c->hidden / c->heads, &c->head_dim, err));
    if (!given && c->hidden % c->heads != 0)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: key \"num_attention_heads\" is %d, which does not divide hidden_size "
                       "%d, and there is no head_dim",
                       top->file, c->heads, c->hidden);
    if (c->head_dim % 2 != 0)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"head_dim\" is %d, which is odd", top->file,
                       c->head_dim);
    if (c->head_dim > PQ_MAX_INPUTS / c->heads)
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "%s: key \"head_dim\" is %d, which makes %d heads wider than %d", top->file,
                       c->head_dim, c->heads, PQ_MAX_INPUTS);
    return PQ_OK;
}

static enum pq_status read_config(const struct pq_json *top, struct pq_config *c,
                                  struct pq_err *err) {
    const struct family *family = NULL;
    PQ_TRY(find_family(top, &family, err));
    snprintf(c->family, sizeof c->family, "%s", family->model_type);
    PQ_TRY(pq_json_int(top, "vocab_size", 1, 1 << 24, &c->vocab, err));
    PQ_TRY(pq_json_int(top, "hidden_size", 1, PQ_MAX_INPUTS, &c->hidden, err));
    PQ_TRY(pq_json_int(top, "intermediate_size", 1, PQ_MAX_INPUTS, &c->ffn, err));
    PQ_TRY(pq_json_int(top, "num_hidden_layers", 1, 1024, &c->layers, err));
    PQ_TRY(read_heads(top, c, err));
    /* FP32 holds every position up to 2^24 exactly. */
    PQ_TRY(pq_json_int(top, "max_position_embeddings", 1, 1 << 24, &c->max_positions, err));
    PQ_TRY(pq_json_float(top, "rope_theta", FLT_MIN, FLT_MAX, &c->rope.theta, err));
    PQ_TRY(pq_json_float(top, "rms_norm_eps", FLT_MIN, 1, &c->norm_eps, err));
    PQ_TRY(pq_json_bool_or(top, "tie_word_embeddings", false, &c->tied, err));
    PQ_TRY(pq_json_bool_or(top, family->bias_key, family->bias, &c->qkv_bias, err));
    c->o_bias = c->qkv_bias;
    PQ_TRY(pq_json_int_or(top, "bos_token_id", 0, c->vocab - 1, -1, &c->bos, err));
    PQ_TRY(pq_json_int_or(top, "eos_token_id", 0, c->vocab - 1, -1, &c->eos[0], err));
    c->n_eos = c->eos[0] >= 0;
    PQ_TRY(pq_json_int_or(top, "pad_token_id", 0, c->vocab - 1, -1, &c->pad, err));
    const char *activation;
    PQ_TRY(pq_json_string_or(top, "hidden_act", "silu", &activation, err));
    if (strcmp(activation, "silu") != 0)
        return refuse(top, "hidden_act", pq_json_find(top, "hidden_act"), err);
    /* Huawei's model card: openPangu-Embedded-1B answers without thinking.  Its config has no key
     * for that, so its shape stands for it. */
    c->thinks = !(c->hidden == 1536 && c->layers == 26);
    return read_quantization(top, c, err);
}

enum pq_status pq_config_load(struct pq_config *out, const char *path, struct pq_err *err) {
    json_t *root;
    PQ_TRY(pq_json_load(&root, path, err));
    struct pq_json top = pq_json_root(root, path);
    struct pq_config config = {0};
    enum pq_status status = read_config(&top, &config, err);
    json_decref(root);
    if (status == PQ_OK)
        *out = config;
    return status;
}

/* ---- generation_config.json ------------------------------------------------------------------ */

/* The defaults are those of Hugging Face's GenerationConfig. */
static enum pq_status read_generation(const struct pq_json *top, struct pq_generation_config *g,
                                      struct pq_err *err) {
    PQ_TRY(pq_json_bool_or(top, "do_sample", false, &g->do_sample, err));
    PQ_TRY(pq_json_float_or(top, "temperature", 0, 1000, 1, &g->temperature, err));
    PQ_TRY(pq_json_int_or(top, "top_k", 0, INT_MAX, 50, &g->top_k, err));
    PQ_TRY(pq_json_float_or(top, "top_p", 0, 1, 1, &g->top_p, err));
    return pq_json_float_or(top, "repetition_penalty", 0.001f, 1000, 1, &g->repetition_penalty,
                            err);
}

enum pq_status pq_generation_load(struct pq_generation_config *out, const char *path,
                                  struct pq_err *err) {
    bool absent = access(path, F_OK) != 0 && errno == ENOENT;
    json_t *root = absent ? json_object() : NULL;
    if (!absent)
        PQ_TRY(pq_json_load(&root, path, err));
    struct pq_json top = pq_json_root(root, path);
    struct pq_generation_config generation = {0};
    enum pq_status status = read_generation(&top, &generation, err);
    json_decref(root);
    if (status == PQ_OK)
        *out = generation;
    return status;
}
