#include "model/config.h"

#include "cpu/gemm.h"
#include "cpu/hadamard.h"
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
    const char *bias_key; /* says whether attention has biases; NULL: none does */
    bool bias;            /* whether q, k and v have biases when that key is absent */
    bool o_bias;          /* o has one where q, k and v have theirs */
    bool qk_norm;
    int head_dim;     /* when the key is absent; 0: hidden_size / num_attention_heads */
    bool early;       /* old configs lack num_key_value_heads (all heads) and rope_theta (1e4) */
    bool scales_rope; /* takes rope_scaling, or rope_parameters as transformers 5 writes it */
    bool may_window;  /* has the keys of a sliding window, which use_sliding_window turns on */
    bool small_is_1b; /* openPangu-Embedded-1B, known by its shape, does not think */
};

static const struct family families[] = {
    {.model_type = "PanguEmbedded",
     .architecture = "PanguEmbeddedForCausalLM",
     .bias_key = "bias",
     .bias = true,
     .o_bias = true,
     .small_is_1b = true},
    {.model_type = "llama",
     .architecture = "LlamaForCausalLM",
     .bias_key = "attention_bias",
     .o_bias = true,
     .early = true,
     .scales_rope = true},
    {.model_type = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .bias = true,
     .scales_rope = true,
     .may_window = true},
    {.model_type = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .bias_key = "attention_bias",
     .o_bias = true,
     .qk_norm = true,
     .head_dim = 128,
     .scales_rope = true,
     .may_window = true},
};

/* What a key must be, as it is written in JSON. */
struct rule {
    const char *key;
    const char *want; /* NULL: any value */
    bool required;
};

/* Keys of models that share a family's model_type but compute something else, with the value that
 * changes nothing: openPangu-R-7B has sinks, a sliding window and partial rotation. */
static const struct rule lookalikes[] = {
    {"param_sink_number", "null", false},   {"qk_rope_dim", "null", false},
    {"rotary_percent", "null", false},      {"partial_rotary_factor", "1.0", false},
    {"use_sliding_window", "false", false}, {"mlp_bias", "false", false},
    {"rope_interleaved", "false", false},   {"use_mrope", "false", false},
};

static enum pq_status refuse(const struct pq_json *at, const char *key, const json_t *value,
                             struct pq_err *err) {
    return pq_fail(err, PQ_EUNSUPPORTED, "%s: key \"%s%s\" is %s, which panq does not support",
                   at->file, at->path, key, pq_json_show(value).text);
}

static enum pq_status refuse_if_given(const struct pq_json *at, const char *key,
                                      struct pq_err *err) {
    const json_t *value = pq_json_find(at, key);
    return value ? refuse(at, key, value, err) : PQ_OK;
}

static bool is_json(const json_t *value, const char *want) {
    return strcmp(pq_json_show(value).text, want) == 0;
}

/* The layers' kinds, where they are listed one by one, are all plain attention. */
static enum pq_status check_layer_types(const struct pq_json *top, struct pq_err *err) {
    const json_t *types = pq_json_find(top, "layer_types");
    bool good = !types || json_is_array(types);
    for (size_t i = 0; good && i < json_array_size(types); i++)
        good = is_json(json_array_get(types, i), "\"full_attention\"");
    return good ? PQ_OK : refuse(top, "layer_types", types, err);
}

static enum pq_status check_lookalikes(const struct pq_json *top, const struct family *family,
                                       struct pq_err *err) {
    for (size_t i = 0; i < sizeof lookalikes / sizeof lookalikes[0]; i++) {
        const json_t *value = pq_json_find(top, lookalikes[i].key);
        if (value && !is_json(value, lookalikes[i].want))
            return refuse(top, lookalikes[i].key, value, err);
    }
    if (!family->scales_rope) {
        PQ_TRY(refuse_if_given(top, "rope_scaling", err));
        PQ_TRY(refuse_if_given(top, "rope_parameters", err));
    }
    if (family->may_window)
        return check_layer_types(top, err);
    PQ_TRY(refuse_if_given(top, "sliding_window", err));
    return refuse_if_given(top, "layer_types", err);
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
    *out = family;
    return check_lookalikes(top, family, err);
}

/* ---- Quantization ---------------------------------------------------------------------------- */

static const struct rule panq_rules[] = {
    {"quant_method", NULL, true}, {"format", NULL, true},           {"version", "1", true},
    {"group_size", NULL, false},  {"online_hadamard", NULL, false},
};
/* The layouts that compressed-tensors calls int-quantized, of 8 bits, and pack-quantized, of 4.
 * Which linears they hold is told by their tensors, so targets and ignore may say anything. */
static const struct rule compressed_rules[] = {
    {"quant_method", NULL, true},
    {"format", NULL, true},
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
    {"format", NULL, false},
};
static const struct rule weight4_rules[] = {
    {"num_bits", "4", true},          {"type", "\"int\"", false},  {"symmetric", "true", false},
    {"strategy", NULL, true},         {"dynamic", "false", false}, {"observer", NULL, false},
    {"observer_kwargs", NULL, false}, {"group_size", NULL, false},
};
static const struct rule weight8_rules[] = {
    {"num_bits", "8", true},           {"type", "\"int\"", false},  {"symmetric", "true", false},
    {"strategy", "\"channel\"", true}, {"dynamic", "false", false}, {"observer", NULL, false},
    {"observer_kwargs", NULL, false},
};
static const struct rule activation_rules[] = {
    {"num_bits", "8", true},          {"type", "\"int\"", false}, {"symmetric", "true", false},
    {"strategy", "\"token\"", true},  {"dynamic", "true", true},  {"observer", NULL, false},
    {"observer_kwargs", NULL, false},
};

static const char PACKED[] = "\"pack-quantized\"";

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
        bool good = rule && rule->want ? is_json(value, rule->want) : rule || is_nothing(value);
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

/* One linear of online_hadamard, an input of `width` that rotates. */
static enum pq_status read_rotation(const struct pq_json *at, const json_t *list, int width,
                                    bool *rotates, struct pq_err *err) {
    if (*rotates) /* named twice */
        return refuse(at, "online_hadamard", list, err);
    if (!pq_hadamard_exists(width))
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "%s: key \"%sonline_hadamard\" is %s, but panq can make no Hadamard matrix "
                       "of order %d",
                       at->file, at->path, pq_json_show(list).text, width);
    *rotates = true;
    return PQ_OK;
}

static enum pq_status read_rotations(const struct pq_json *at, struct pq_config *c,
                                     struct pq_err *err) {
    const json_t *list = pq_json_find(at, "online_hadamard");
    if (list && !json_is_array(list))
        return refuse(at, "online_hadamard", list, err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *name = json_array_get(list, i);
        if (is_json(name, "\"down_proj\""))
            PQ_TRY(read_rotation(at, list, c->ffn, &c->rotates_down, err));
        else if (is_json(name, "\"lm_head\"") && c->tied) /* others have their gamma folded */
            PQ_TRY(read_rotation(at, list, c->hidden, &c->rotates_head, err));
        else
            return refuse(at, "online_hadamard", list, err);
    }
    return PQ_OK;
}

static enum pq_status read_panq(const struct pq_json *quantization, struct pq_config *config,
                                struct pq_err *err) {
    const char *format;
    PQ_TRY(CHECK_RULES(quantization, panq_rules, err));
    PQ_TRY(read_rotations(quantization, config, err));
    PQ_TRY(pq_json_string(quantization, "format", &format, err));
    if (strcmp(format, "w8a8") == 0) {
        config->scheme = PQ_SCHEME_W8A8;
        return refuse_if_given(quantization, "group_size", err);
    }
    if (strcmp(format, "w4a8") != 0)
        return refuse(quantization, "format", pq_json_find(quantization, "format"), err);
    int group;
    PQ_TRY(pq_json_int(quantization, "group_size", 0, 256, &group, err));
    if (group != 32 && group != 256 && group != PQ_GROUP_CHANNEL)
        return refuse(quantization, "group_size", pq_json_find(quantization, "group_size"), err);
    config->scheme = PQ_SCHEME_W4A8;
    config->group = group;
    return PQ_OK;
}

/* The weights of a group of pack-quantized linears: one scale for 32 inputs or for the channel. */
static enum pq_status read_packed(const struct pq_json *weights, int *group, struct pq_err *err) {
    const char *strategy;
    PQ_TRY(CHECK_RULES(weights, weight4_rules, err));
    PQ_TRY(pq_json_string(weights, "strategy", &strategy, err));
    *group = PQ_GROUP_CHANNEL;
    if (strcmp(strategy, "channel") == 0)
        return refuse_if_given(weights, "group_size", err);
    if (strcmp(strategy, "group") != 0)
        return refuse(weights, "strategy", pq_json_find(weights, "strategy"), err);
    PQ_TRY(pq_json_int(weights, "group_size", 1, PQ_MAX_INPUTS, group, err));
    return *group == 32 ? PQ_OK
                        : refuse(weights, "group_size", pq_json_find(weights, "group_size"), err);
}

/* One of config_groups, which has the `format` of all. */
static enum pq_status read_config_group(const struct pq_json *at, const json_t *format, int *group,
                                        struct pq_err *err) {
    struct pq_json part;
    PQ_TRY(CHECK_RULES(at, group_rules, err));
    const json_t *own = pq_json_find(at, "format");
    if (own && !json_equal(own, format))
        return refuse(at, "format", own, err);
    PQ_TRY(pq_json_object(at, "weights", &part, err));
    *group = PQ_GROUP_CHANNEL;
    if (is_json(format, PACKED))
        PQ_TRY(read_packed(&part, group, err));
    else
        PQ_TRY(CHECK_RULES(&part, weight8_rules, err));
    PQ_TRY(pq_json_object(at, "input_activations", &part, err));
    return CHECK_RULES(&part, activation_rules, err);
}

static enum pq_status read_compressed(const struct pq_json *quantization, struct pq_config *config,
                                      struct pq_err *err) {
    struct pq_json groups, at;
    PQ_TRY(CHECK_RULES(quantization, compressed_rules, err));
    const json_t *format = pq_json_find(quantization, "format");
    bool packed = is_json(format, PACKED);
    if (!packed && !is_json(format, "\"int-quantized\""))
        return refuse(quantization, "format", format, err);
    PQ_TRY(pq_json_object(quantization, "config_groups", &groups, err));
    if (json_object_size(groups.object) == 0)
        return refuse(quantization, "config_groups", groups.object, err);
    const char *name;
    json_t *value;
    int group = PQ_GROUP_CHANNEL, first = -1;
    json_object_foreach(groups.object, name, value) {
        PQ_TRY(pq_json_object(&groups, name, &at, err));
        PQ_TRY(read_config_group(&at, format, &group, err));
        if (first >= 0 && group != first)
            return refuse(&groups, name, value, err);
        first = group;
    }
    config->scheme = packed ? PQ_SCHEME_W4A8 : PQ_SCHEME_W8A8;
    config->group = group;
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

/* ---- Panels ---------------------------------------------------------------------------------- */

const char *pq_panels_name(enum pq_panels panels) {
    static const char *const names[] = {
        [PQ_PANELS_NONE] = "none", [PQ_PANELS_UNITS] = "units", [PQ_PANELS_PAIRS] = "pairs"};
    return names[panels];
}

static const struct rule panels_rules[] = {{"version", NULL, true}, {"order", NULL, true}};

static enum pq_status read_panels(const struct pq_json *top, enum pq_panels *panels,
                                  struct pq_err *err) {
    struct pq_json at;
    const char *order;
    int version;
    *panels = PQ_PANELS_NONE;
    if (!pq_json_find(top, "panq_panels"))
        return PQ_OK;
    PQ_TRY(pq_json_object(top, "panq_panels", &at, err));
    PQ_TRY(CHECK_RULES(&at, panels_rules, err));
    PQ_TRY(pq_json_int(&at, "version", 0, INT_MAX, &version, err));
    PQ_TRY(pq_json_string(&at, "order", &order, err));
    if (version != PQ_PANELS_VERSION)
        return refuse(&at, "version", pq_json_find(&at, "version"), err);
    for (int i = PQ_PANELS_UNITS; i <= PQ_PANELS_PAIRS; i++)
        if (strcmp(order, pq_panels_name((enum pq_panels)i)) == 0)
            *panels = (enum pq_panels)i;
    return *panels != PQ_PANELS_NONE ? PQ_OK
                                     : refuse(&at, "order", pq_json_find(&at, "order"), err);
}

/* ---- Rotary positions ------------------------------------------------------------------------ */

/* Scaling factors are small numbers; any bound below FLT_MAX would do. */
static const float MAX_FACTOR = 1e6f;

/* Which of these a type needs is told by reading them. */
static const struct rule rope_keys[] = {
    {"rope_type", NULL, false},        {"type", NULL, false},
    {"rope_theta", NULL, false},       {"partial_rotary_factor", "1.0", false},
    {"factor", NULL, false},           {"low_freq_factor", NULL, false},
    {"high_freq_factor", NULL, false}, {"original_max_position_embeddings", NULL, false},
};

static enum pq_status read_llama3(const struct pq_json *at, struct pq_rope *rope,
                                  struct pq_err *err) {
    PQ_TRY(pq_json_float(at, "low_freq_factor", FLT_MIN, MAX_FACTOR, &rope->low_freq_factor, err));
    PQ_TRY(
        pq_json_float(at, "high_freq_factor", FLT_MIN, MAX_FACTOR, &rope->high_freq_factor, err));
    if (!(rope->high_freq_factor > rope->low_freq_factor))
        return pq_fail(
            err, PQ_EFORMAT, "%s: key \"%shigh_freq_factor\" is %g, not above low_freq_factor, %g",
            at->file, at->path, (double)rope->high_freq_factor, (double)rope->low_freq_factor);
    return pq_json_int(at, "original_max_position_embeddings", 1, 1 << 24,
                       &rope->original_positions, err);
}

/* One object in either of its forms: rope_scaling, which older configs have beside rope_theta, or
 * rope_parameters, which holds rope_theta too. */
static enum pq_status read_scaling(const struct pq_json *at, struct pq_rope *rope,
                                   struct pq_err *err) {
    const char *key = pq_json_find(at, "rope_type") ? "rope_type" : "type", *type;
    PQ_TRY(pq_json_string(at, key, &type, err));
    const json_t *old = pq_json_find(at, "type");
    if (old && !json_equal(old, pq_json_find(at, key)))
        return refuse(at, "type", old, err);
    if (strcmp(type, "linear") == 0)
        rope->scaling = PQ_ROPE_LINEAR;
    else if (strcmp(type, "llama3") == 0)
        rope->scaling = PQ_ROPE_LLAMA3;
    else if (strcmp(type, "default") != 0)
        return refuse(at, key, pq_json_find(at, key), err);
    PQ_TRY(CHECK_RULES(at, rope_keys, err));
    if (rope->scaling != PQ_ROPE_PLAIN)
        PQ_TRY(pq_json_float(at, "factor", 1, MAX_FACTOR, &rope->factor, err));
    return rope->scaling == PQ_ROPE_LLAMA3 ? read_llama3(at, rope, err) : PQ_OK;
}

/* theta from `at`, if it has one; what was found before must agree. */
static enum pq_status read_theta(const struct pq_json *at, float *theta, struct pq_err *err) {
    float seen = *theta;
    PQ_TRY(pq_json_float_or(at, "rope_theta", FLT_MIN, FLT_MAX, seen, theta, err));
    if (seen != 0 && *theta != seen)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%srope_theta\" is %g, but \"rope_theta\" is %g",
                       at->file, at->path, (double)*theta, (double)seen);
    return PQ_OK;
}

static enum pq_status read_rope(const struct pq_json *top, const struct family *family,
                                struct pq_rope *rope, struct pq_err *err) {
    const char *key = pq_json_find(top, "rope_parameters") ? "rope_parameters" : "rope_scaling";
    PQ_TRY(read_theta(top, &rope->theta, err));
    if (pq_json_find(top, key)) {
        struct pq_json at;
        PQ_TRY(pq_json_object(top, key, &at, err));
        PQ_TRY(read_scaling(&at, rope, err));
        PQ_TRY(read_theta(&at, &rope->theta, err));
    }
    if (strcmp(key, "rope_parameters") == 0)
        PQ_TRY(refuse_if_given(top, "rope_scaling", err));
    if (rope->theta == 0 && family->early)
        rope->theta = 10000;
    return rope->theta != 0
               ? PQ_OK
               : pq_fail(err, PQ_EFORMAT, "%s: key \"rope_theta\" is missing", top->file);
}

/* ---- config.json ----------------------------------------------------------------------------- */

/* head_dim, and that heads of this size and number fit together. */
static enum pq_status read_heads(const struct pq_json *top, const struct family *family,
                                 struct pq_config *c, struct pq_err *err) {
    PQ_TRY(pq_json_int(top, "num_attention_heads", 1, PQ_MAX_INPUTS, &c->heads, err));
    c->kv_heads = c->heads;
    if (!family->early || pq_json_find(top, "num_key_value_heads"))
        PQ_TRY(pq_json_int(top, "num_key_value_heads", 1, c->heads, &c->kv_heads, err));
    if (c->heads % c->kv_heads != 0)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: key \"num_key_value_heads\" is %d, which does not divide the %d heads",
                       top->file, c->kv_heads, c->heads);
    bool given = family->head_dim || pq_json_find(top, "head_dim");
    int usual = family->head_dim ? family->head_dim : c->hidden / c->heads;
    PQ_TRY(pq_json_int_or(top, "head_dim", 2, PQ_MAX_INPUTS, usual, &c->head_dim, err));
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

static enum pq_status add_eos(const struct pq_json *at, const json_t *id, struct pq_config *c,
                              struct pq_err *err) {
    json_int_t n = json_integer_value(id);
    if (!json_is_integer(id) || n < 0 || n >= c->vocab)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: key \"%seos_token_id\" is %s, not an integer from 0 to %d or a list of "
                       "them",
                       at->file, at->path, pq_json_show(pq_json_find(at, "eos_token_id")).text,
                       c->vocab - 1);
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] == n)
            return PQ_OK;
    if (c->n_eos == PQ_MAX_EOS)
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "%s: key \"%seos_token_id\" is %s, which makes more than %d ids", at->file,
                       at->path, pq_json_show(pq_json_find(at, "eos_token_id")).text, PQ_MAX_EOS);
    c->eos[c->n_eos++] = (int)n;
    return PQ_OK;
}

/* The ids that end a reply, one or a list, added to those that are there. */
static enum pq_status read_eos(const struct pq_json *at, struct pq_config *c, struct pq_err *err) {
    const json_t *value = pq_json_find(at, "eos_token_id");
    if (value && !json_is_array(value))
        return add_eos(at, value, c, err);
    for (size_t i = 0; i < json_array_size(value); i++)
        PQ_TRY(add_eos(at, json_array_get(value, i), c, err));
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
    PQ_TRY(read_heads(top, family, c, err));
    /* FP32 holds every position up to 2^24 exactly. */
    PQ_TRY(pq_json_int(top, "max_position_embeddings", 1, 1 << 24, &c->max_positions, err));
    PQ_TRY(read_rope(top, family, &c->rope, err));
    PQ_TRY(pq_json_float(top, "rms_norm_eps", FLT_MIN, 1, &c->norm_eps, err));
    PQ_TRY(pq_json_bool_or(top, "tie_word_embeddings", false, &c->tied, err));
    c->qkv_bias = family->bias;
    if (family->bias_key)
        PQ_TRY(pq_json_bool_or(top, family->bias_key, family->bias, &c->qkv_bias, err));
    c->o_bias = c->qkv_bias && family->o_bias;
    c->qk_norm = family->qk_norm;
    PQ_TRY(pq_json_int_or(top, "bos_token_id", 0, c->vocab - 1, -1, &c->bos, err));
    PQ_TRY(pq_json_int_or(top, "pad_token_id", -1, c->vocab - 1, -1, &c->pad, err));
    PQ_TRY(read_eos(top, c, err));
    const char *activation;
    PQ_TRY(pq_json_string_or(top, "hidden_act", "silu", &activation, err));
    if (strcmp(activation, "silu") != 0)
        return refuse(top, "hidden_act", pq_json_find(top, "hidden_act"), err);
    /* Huawei's model card: openPangu-Embedded-1B answers without thinking.  Its config has no key
     * for that, so its shape stands for it. */
    c->thinks = !(family->small_is_1b && c->hidden == 1536 && c->layers == 26);
    PQ_TRY(read_panels(top, &c->panels, err));
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

enum pq_status pq_generation_load(struct pq_generation_config *out, struct pq_config *config,
                                  const char *path, struct pq_err *err) {
    bool absent = access(path, F_OK) != 0 && errno == ENOENT;
    json_t *root = absent ? json_object() : NULL;
    if (!absent)
        PQ_TRY(pq_json_load(&root, path, err));
    struct pq_json top = pq_json_root(root, path);
    struct pq_generation_config generation = {0};
    struct pq_config more = *config;
    enum pq_status status = read_generation(&top, &generation, err);
    if (status == PQ_OK)
        status = read_eos(&top, &more, err);
    json_decref(root);
    if (status == PQ_OK) {
        *out = generation;
        *config = more;
    }
    return status;
}
