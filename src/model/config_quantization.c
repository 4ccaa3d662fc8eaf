/* config_quantization.c - what a config.json says of how weights are quantized and laid out. */
#include "cpu/gemm.h"
#include "cpu/hadamard.h"
#include "io/keys.h"
#include "model/config.h"
#include "model/config_parts.h"

#include <limits.h>
#include <string.h>

static const struct pq_key_rule panq_rules[] = {
    {"quant_method", NULL, true}, {"format", NULL, true},           {"version", "1", true},
    {"group_size", NULL, false},  {"online_hadamard", NULL, false},
};
/* The layouts that compressed-tensors calls int-quantized, of 8 bits, and pack-quantized, of 4.
 * Which linears they hold is told by their tensors, so targets and ignore may say anything. */
static const struct pq_key_rule compressed_rules[] = {
    {"quant_method", NULL, true},
    {"format", NULL, true},
    {"config_groups", NULL, true},
    {"ignore", NULL, false},
    {"version", NULL, false},
    {"quantization_status", NULL, false},
    {"global_compression_ratio", NULL, false},
};
static const struct pq_key_rule group_rules[] = {
    {"targets", NULL, true},
    {"weights", NULL, true},
    {"input_activations", NULL, true},
    {"format", NULL, false},
};
static const struct pq_key_rule weight4_rules[] = {
    {"num_bits", "4", true},          {"type", "\"int\"", false},  {"symmetric", "true", false},
    {"strategy", NULL, true},         {"dynamic", "false", false}, {"observer", NULL, false},
    {"observer_kwargs", NULL, false}, {"group_size", NULL, false},
};
static const struct pq_key_rule weight8_rules[] = {
    {"num_bits", "8", true},           {"type", "\"int\"", false},  {"symmetric", "true", false},
    {"strategy", "\"channel\"", true}, {"dynamic", "false", false}, {"observer", NULL, false},
    {"observer_kwargs", NULL, false},
};
static const struct pq_key_rule activation_rules[] = {
    {"num_bits", "8", true},          {"type", "\"int\"", false}, {"symmetric", "true", false},
    {"strategy", "\"token\"", true},  {"dynamic", "true", true},  {"observer", NULL, false},
    {"observer_kwargs", NULL, false},
};

static const char PACKED[] = "\"pack-quantized\"";

/* One linear of online_hadamard, an input of `width` that rotates. */
static enum pq_status read_rotation(const struct pq_json *at, const json_t *list, int width,
                                    bool *rotates, struct pq_err *err) {
    if (*rotates) /* named twice */
        return pq_keys_refuse(at, "online_hadamard", err);
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
        return pq_keys_refuse(at, "online_hadamard", err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *name = json_array_get(list, i);
        if (pq_json_is(name, "\"down_proj\""))
            PQ_TRY(read_rotation(at, list, c->ffn, &c->rotates_down, err));
        else if (pq_json_is(name, "\"lm_head\"") && c->tied) /* others have their gamma folded */
            PQ_TRY(read_rotation(at, list, c->hidden, &c->rotates_head, err));
        else
            return pq_keys_refuse(at, "online_hadamard", err);
    }
    return PQ_OK;
}

static enum pq_status read_panq(const struct pq_json *quantization, struct pq_config *config,
                                struct pq_err *err) {
    const char *format;
    PQ_TRY(PQ_KEYS_FOLLOW(quantization, panq_rules, err));
    PQ_TRY(read_rotations(quantization, config, err));
    PQ_TRY(pq_json_string(quantization, "format", &format, err));
    if (strcmp(format, "w8a8") == 0) {
        config->scheme = PQ_SCHEME_W8A8;
        return pq_keys_absent(quantization, "group_size", err);
    }
    if (strcmp(format, "w4a8") != 0)
        return pq_keys_refuse(quantization, "format", err);
    int group;
    PQ_TRY(pq_json_int(quantization, "group_size", 0, 256, &group, err));
    if (group != 32 && group != 256 && group != PQ_GROUP_CHANNEL)
        return pq_keys_refuse(quantization, "group_size", err);
    config->scheme = PQ_SCHEME_W4A8;
    config->group = group;
    return PQ_OK;
}

/* The weights of a group of pack-quantized linears: one scale for 32 inputs or for the channel. */
static enum pq_status read_packed(const struct pq_json *weights, int *group, struct pq_err *err) {
    const char *strategy;
    PQ_TRY(PQ_KEYS_FOLLOW(weights, weight4_rules, err));
    PQ_TRY(pq_json_string(weights, "strategy", &strategy, err));
    *group = PQ_GROUP_CHANNEL;
    if (strcmp(strategy, "channel") == 0)
        return pq_keys_absent(weights, "group_size", err);
    if (strcmp(strategy, "group") != 0)
        return pq_keys_refuse(weights, "strategy", err);
    PQ_TRY(pq_json_int(weights, "group_size", 1, PQ_MAX_INPUTS, group, err));
    return *group == 32 ? PQ_OK : pq_keys_refuse(weights, "group_size", err);
}

/* One of config_groups, which has the `format` of all. */
static enum pq_status read_config_group(const struct pq_json *at, const json_t *format, int *group,
                                        struct pq_err *err) {
    struct pq_json part;
    PQ_TRY(PQ_KEYS_FOLLOW(at, group_rules, err));
    const json_t *own = pq_json_find(at, "format");
    if (own && !json_equal(own, format))
        return pq_keys_refuse(at, "format", err);
    PQ_TRY(pq_json_object(at, "weights", &part, err));
    *group = PQ_GROUP_CHANNEL;
    if (pq_json_is(format, PACKED))
        PQ_TRY(read_packed(&part, group, err));
    else
        PQ_TRY(PQ_KEYS_FOLLOW(&part, weight8_rules, err));
    PQ_TRY(pq_json_object(at, "input_activations", &part, err));
    return PQ_KEYS_FOLLOW(&part, activation_rules, err);
}

static enum pq_status read_compressed(const struct pq_json *quantization, struct pq_config *config,
                                      struct pq_err *err) {
    struct pq_json groups, at;
    PQ_TRY(PQ_KEYS_FOLLOW(quantization, compressed_rules, err));
    const json_t *format = pq_json_find(quantization, "format");
    bool packed = pq_json_is(format, PACKED);
    if (!packed && !pq_json_is(format, "\"int-quantized\""))
        return pq_keys_refuse(quantization, "format", err);
    PQ_TRY(pq_json_object(quantization, "config_groups", &groups, err));
    if (json_object_size(groups.object) == 0)
        return pq_keys_refuse(quantization, "config_groups", err);
    const char *name;
    json_t *value;
    int group = PQ_GROUP_CHANNEL, first = -1;
    json_object_foreach(groups.object, name, value) {
        PQ_TRY(pq_json_object(&groups, name, &at, err));
        PQ_TRY(read_config_group(&at, format, &group, err));
        if (first >= 0 && group != first)
            return pq_keys_refuse(&groups, name, err);
        first = group;
    }
    config->scheme = packed ? PQ_SCHEME_W4A8 : PQ_SCHEME_W8A8;
    config->group = group;
    return PQ_OK;
}

enum pq_status pq_config_read_quantization(const struct pq_json *top, struct pq_config *config,
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
    return pq_keys_refuse(&quantization, "quant_method", err);
}

/* ---- Panels ---------------------------------------------------------------------------------- */

const char *pq_panels_name(enum pq_panels panels) {
    static const char *const names[] = {
        [PQ_PANELS_NONE] = "none", [PQ_PANELS_UNITS] = "units", [PQ_PANELS_PAIRS] = "pairs"};
    return names[panels];
}

static const struct pq_key_rule panels_rules[] = {{"version", NULL, true}, {"order", NULL, true}};

enum pq_status pq_config_read_panels(const struct pq_json *top, enum pq_panels *panels,
                                     struct pq_err *err) {
    struct pq_json at;
    const char *order;
    int version;
    *panels = PQ_PANELS_NONE;
    if (!pq_json_find(top, "panq_panels"))
        return PQ_OK;
    PQ_TRY(pq_json_object(top, "panq_panels", &at, err));
    PQ_TRY(PQ_KEYS_FOLLOW(&at, panels_rules, err));
    PQ_TRY(pq_json_int(&at, "version", 0, INT_MAX, &version, err));
    PQ_TRY(pq_json_string(&at, "order", &order, err));
    if (version != PQ_PANELS_VERSION)
        return pq_keys_refuse(&at, "version", err);
    for (int i = PQ_PANELS_UNITS; i <= PQ_PANELS_PAIRS; i++)
        if (strcmp(order, pq_panels_name((enum pq_panels)i)) == 0)
            *panels = (enum pq_panels)i;
    return *panels != PQ_PANELS_NONE ? PQ_OK : pq_keys_refuse(&at, "order", err);
}
