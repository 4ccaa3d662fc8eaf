#include "quant/recipe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct pq_recipe pq_recipe_make(const struct pq_quantize_options *options,
                                const struct pq_config *config) {
    /* 4 bits cost the head more than they save. */
    enum pq_scheme head = options->portable ? PQ_SCHEME_FP : PQ_SCHEME_W8A8;
    bool rotates = options->recipe == PQ_RECIPE_ROTATE, untie = rotates && options->portable;
    return (struct pq_recipe){
        .linears = options->scheme,
        .head = head,
        .embedding = config->tied && !untie ? head : PQ_SCHEME_FP,
        .group = options->scheme == PQ_SCHEME_W4A8 ? options->group : PQ_GROUP_CHANNEL,
        .packed = options->scheme == PQ_SCHEME_W4A8 && options->portable && options->group != 256,
        .transform = {.rotate_stream = rotates,
                      .rotate_heads = rotates,
                      .rotate_down = rotates && !options->portable,
                      .untie = untie && config->tied,
                      .seed = options->seed},
        .rotates_head = rotates && !options->portable && config->tied,
        .portable = options->portable,
    };
}

enum pq_scheme pq_recipe_scheme(const struct pq_recipe *recipe, const char *tensor) {
    static const char suffix[] = "_proj.weight";
    size_t length = strlen(tensor), tail = sizeof suffix - 1;
    if (length > tail && strcmp(tensor + length - tail, suffix) == 0)
        return recipe->linears;
    if (strcmp(tensor, "lm_head.weight") == 0)
        return recipe->head;
    if (strcmp(tensor, "model.embed_tokens.weight") == 0)
        return recipe->embedding;
    return PQ_SCHEME_FP;
}

/* What compressed-tensors calls QuantizationArgs. */
static json_t *describe_int(int bits, const char *strategy, int group, bool dynamic) {
    json_t *args = json_pack("{s:i, s:s, s:b, s:s, s:b}", "num_bits", bits, "type", "int",
                             "symmetric", 1, "strategy", strategy, "dynamic", (int)dynamic);
    if (group && json_object_set_new(args, "group_size", json_integer(group)) != 0) {
        json_decref(args);
        return NULL;
    }
    return args;
}

static json_t *describe_compressed(const struct pq_recipe *recipe) {
    json_t *ignore = recipe->head == PQ_SCHEME_FP ? json_pack("[s]", "lm_head") : json_array();
    json_t *weights = describe_int(recipe->packed ? 4 : 8, recipe->group ? "group" : "channel",
                                   recipe->group, false);
    /* A group without a format of its own is taken for int-quantized where inputs have 8 bits. */
    json_t *group = json_pack("{s:[s], s:o, s:o, s:s*}", "targets", "Linear", "weights", weights,
                              "input_activations", describe_int(8, "token", 0, true), "format",
                              recipe->packed ? "pack-quantized" : NULL);
    return json_pack("{s:s, s:s, s:s, s:{s:o}, s:o}", "quant_method", "compressed-tensors",
                     "format", recipe->packed ? "pack-quantized" : "int-quantized",
                     "quantization_status", "compressed", "config_groups", "group_0", group,
                     "ignore", ignore);
}

static json_t *describe_panq(const struct pq_recipe *recipe) {
    bool w4 = recipe->linears == PQ_SCHEME_W4A8;
    json_t *online = NULL;
    if (recipe->transform.rotate_down)
        online = json_pack("[s, s*]", "down_proj", recipe->rotates_head ? "lm_head" : NULL);
    return json_pack("{s:s, s:s, s:i, s:o*, s:o*}", "quant_method", "panq", "format",
                     pq_scheme_name(recipe->linears), "version", 1, "group_size",
                     w4 ? json_integer(recipe->group) : NULL, "online_hadamard", online);
}

json_t *pq_recipe_describe(const struct pq_recipe *recipe) {
    bool compressed = recipe->linears == PQ_SCHEME_W8A8 || recipe->packed;
    return compressed && !recipe->transform.rotate_down ? describe_compressed(recipe)
                                                        : describe_panq(recipe);
}

struct pq_recipe_text pq_recipe_show(const struct pq_recipe *recipe) {
    struct pq_recipe_text text;
    char group[24] = "", how[40] = "rtn";
    if (recipe->transform.rotate_stream)
        snprintf(how, sizeof how, "rotate seed %" PRIu64, recipe->transform.seed);
    if (recipe->linears == PQ_SCHEME_W4A8 && recipe->group)
        snprintf(group, sizeof group, " group %d", recipe->group);
    else if (recipe->linears == PQ_SCHEME_W4A8)
        snprintf(group, sizeof group, " group channel");
    snprintf(text.s, sizeof text.s, "%s %s%s%s", pq_scheme_name(recipe->linears), how, group,
             recipe->portable ? " portable" : "");
    return text;
}
