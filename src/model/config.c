#include "model/config.h"

#include "io/keys.h"
#include "model/config_parts.h"

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

/* Keys of models that share a family's model_type but compute something else, with the value that
 * changes nothing: openPangu-R-7B has sinks, a sliding window and partial rotation. */
static const struct pq_key_rule lookalikes[] = {
    {"param_sink_number", "null", false},   {"qk_rope_dim", "null", false},
    {"rotary_percent", "null", false},      {"partial_rotary_factor", "1.0", false},
    {"use_sliding_window", "false", false}, {"mlp_bias", "false", false},
    {"rope_interleaved", "false", false},   {"use_mrope", "false", false},
};

/* The layers' kinds, where they are listed one by one, are all plain attention. */
static enum pq_status check_layer_types(const struct pq_json *top, struct pq_err *err) {
    const json_t *types = pq_json_find(top, "layer_types");
    bool good = !types || json_is_array(types);
    for (size_t i = 0; good && i < json_array_size(types); i++)
        good = pq_json_is(json_array_get(types, i), "\"full_attention\"");
    return good ? PQ_OK : pq_keys_refuse(top, "layer_types", err);
}

static enum pq_status check_lookalikes(const struct pq_json *top, const struct family *family,
                                       struct pq_err *err) {
    for (size_t i = 0; i < sizeof lookalikes / sizeof lookalikes[0]; i++) {
        const json_t *value = pq_json_find(top, lookalikes[i].key);
        if (value && !pq_json_is(value, lookalikes[i].want))
            return pq_keys_refuse(top, lookalikes[i].key, err);
    }
    if (!family->scales_rope) {
        PQ_TRY(pq_keys_absent(top, "rope_scaling", err));
        PQ_TRY(pq_keys_absent(top, "rope_parameters", err));
    }
    if (family->may_window)
        return check_layer_types(top, err);
    PQ_TRY(pq_keys_absent(top, "sliding_window", err));
    return pq_keys_absent(top, "layer_types", err);
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
        return pq_keys_refuse(top, "model_type", err);
    const json_t *names = pq_json_find(top, "architectures");
    const char *name = json_string_value(json_array_get(names, 0));
    if (names && (!name || strcmp(name, family->architecture) != 0))
        return pq_keys_refuse(top, "architectures", err);
    *out = family;
    return check_lookalikes(top, family, err);
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
    PQ_TRY(pq_config_read_rope(top, family->early, &c->rope, err));
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
        return pq_keys_refuse(top, "hidden_act", err);
    /* Huawei's model card: openPangu-Embedded-1B answers without thinking.  Its config has no key
     * for that, so its shape stands for it. */
    c->thinks = !(family->small_is_1b && c->hidden == 1536 && c->layers == 26);
    PQ_TRY(pq_config_read_panels(top, &c->panels, err));
    return pq_config_read_quantization(top, c, err);
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
