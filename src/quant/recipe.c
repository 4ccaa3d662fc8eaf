#include "quant/recipe.h"

#include "quant/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* FNV-1a (Fowler, Noll and Vo) of all that calibration takes from the traces. */
static uint64_t digest_of(const struct pq_traces *traces) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; traces && i < traces->n; i++) {
        const struct pq_trace *t = &traces->trace[i];
        hash = (hash ^ (uint64_t)t->mode) * 0x100000001b3u;
        for (int j = 0; j < t->n; j++)
            hash = (hash ^ (uint32_t)t->ids[j]) * 0x100000001b3u;
    }
    return traces ? hash : 0;
}

static void weigh_modes(struct pq_recipe *recipe, const float *weights) {
    bool any = false;
    for (int i = 0; i < PQ_TRACE_MODES; i++)
        any |= weights[i] > 0;
    for (int i = 0; i < PQ_TRACE_MODES; i++)
        recipe->mode_weight[i] = any ? weights[i] : 1;
}

struct pq_recipe pq_recipe_make(const struct pq_quantize_options *options,
                                const struct pq_config *config) {
    /* 4 bits cost the head more than they save. */
    enum pq_scheme head = options->portable ? PQ_SCHEME_FP : PQ_SCHEME_W8A8;
    bool best = options->recipe == PQ_RECIPE_BEST, smooth = options->recipe == PQ_RECIPE_SMOOTH;
    bool rotates =
        (options->recipe == PQ_RECIPE_ROTATE || best) && !(options->without & PQ_STEP_ROTATE);
    bool online = rotates && !options->portable && !(options->without & PQ_STEP_ONLINE);
    bool untie = rotates && config->tied && !online;
    struct pq_recipe recipe = {
        .linears = options->scheme,
        .head = head,
        .embedding = config->tied && !untie ? head : PQ_SCHEME_FP,
        .group = options->scheme == PQ_SCHEME_W4A8 ? options->group : PQ_GROUP_CHANNEL,
        .packed = options->scheme == PQ_SCHEME_W4A8 && options->portable && options->group != 256,
        .transform = {.rotate_stream = rotates,
                      .rotate_heads = rotates,
                      .rotate_down = online,
                      .untie = untie,
                      .seed = options->seed},
        .rotates_head = online && config->tied,
        .portable = options->portable,
        .equalize = rotates && !(options->without & PQ_STEP_EQUALIZE),
        .smooth = smooth,
        .gptq = (best || smooth) && !(options->without & PQ_STEP_GPTQ),
        .refine = (best || smooth) && !(options->without & PQ_STEP_REFINE),
        .budget_bits = options->budget_bits,
        .digest = digest_of(options->calibration),
    };
    /* In 8 bits inputs have lost too little to make up for (docs/results.md). */
    recipe.gptaq =
        recipe.gptq && options->scheme == PQ_SCHEME_W4A8 && !(options->without & PQ_STEP_GPTAQ);
    recipe.calibrated = best || smooth || options->budget_bits > 0;
    weigh_modes(&recipe, options->mode_weight);
    return recipe;
}

enum pq_scheme pq_recipe_scheme(const struct pq_recipe *recipe, const char *tensor) {
    static const char suffix[] = ".weight";
    size_t length = strlen(tensor), tail = sizeof suffix - 1;
    int index = pq_linear_index(tensor);
    if (index >= 0 && strcmp(tensor + length - tail, suffix) == 0)
        return recipe->promoted && recipe->promoted[index] ? PQ_SCHEME_W8A8 : recipe->linears;
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

/* The steps, by the names that the command line gives them. */
static void show_steps(const struct pq_recipe *recipe, FILE *to) {
    const struct pq_transform_options *t = &recipe->transform;
    if (t->rotate_stream)
        fprintf(to, " rotate%s seed %" PRIu64, t->rotate_down ? "" : " offline", t->seed);
    fprintf(to, "%s%s", recipe->equalize ? " equalize" : "", recipe->smooth ? " smooth" : "");
    fprintf(to, "%s%s%s", recipe->gptq ? " gptq" : "", recipe->gptaq ? " gptaq" : "",
            recipe->refine ? " refine" : "");
    if (!t->rotate_stream && !recipe->smooth && !recipe->gptq && !recipe->refine)
        fputs(" rtn", to);
}

static void show_calibration(const struct pq_recipe *recipe, FILE *to) {
    bool alike = true;
    if (!recipe->calibrated)
        return;
    fprintf(to, " calibration %016" PRIx64, recipe->digest);
    for (int i = 0; i < PQ_TRACE_MODES; i++)
        alike &= recipe->mode_weight[i] == 1;
    for (int i = 0; i < PQ_TRACE_MODES && !alike; i++)
        fprintf(to, " %s %g", pq_trace_mode_name((enum pq_trace_mode)i), recipe->mode_weight[i]);
    if (recipe->budget_bits > 0)
        fprintf(to, " budget %g", recipe->budget_bits);
}

struct pq_recipe_text pq_recipe_show(const struct pq_recipe *recipe) {
    struct pq_recipe_text text = {""};
    FILE *to = fmemopen(text.s, sizeof text.s, "w");
    if (!to)
        return text;
    fputs(pq_scheme_name(recipe->linears), to);
    show_steps(recipe, to);
    if (recipe->linears == PQ_SCHEME_W4A8 && recipe->group)
        fprintf(to, " group %d", recipe->group);
    else if (recipe->linears == PQ_SCHEME_W4A8)
        fputs(" group channel", to);
    show_calibration(recipe, to);
    fputs(recipe->portable ? " portable" : "", to);
    fclose(to);
    return text;
}
