/* recipe.h - which tensor of a checkpoint is stored how, and how the result says so. */
#ifndef PQ_QUANT_RECIPE_H
#define PQ_QUANT_RECIPE_H

#include "quant/transform.h"

#include <jansson.h>

struct pq_recipe {
    enum pq_scheme linears;   /* q, k, v, o, gate, up, down */
    enum pq_scheme head;      /* lm_head */
    enum pq_scheme embedding; /* the head's scheme when it is the head too */
    int group;                /* of W4A8, or PQ_GROUP_CHANNEL */
    bool packed;              /* W4A8 in compressed-tensors' form instead of panq's own */
    struct pq_transform_options transform;
    bool rotates_head; /* as it runs: a tied head of a rotated stream */
    bool portable;
    bool equalize, smooth;                /* which scales: the job sets transform.scales */
    bool calibrated, gptq, gptaq, refine; /* against second moments; with which steps */
    float mode_weight[PQ_TRACE_MODES];
    double budget_bits; /* 0: nothing is promoted */
    uint64_t digest;    /* of the traces; 0: none */
    bool *promoted;     /* borrowed [layers * PQ_LINEARS]: W8 where the others are W4 */
};

/* Options that are valid, for a checkpoint of this config; promoted is left to the caller. */
struct pq_recipe pq_recipe_make(const struct pq_quantize_options *options,
                                const struct pq_config *config);

/* How the tensor of this name ("model.layers.3.mlp.up_proj.weight") is stored; PQ_SCHEME_FP: as it
 * is. */
enum pq_scheme pq_recipe_scheme(const struct pq_recipe *recipe, const char *tensor);

/* The value of config.json's quantization_config, a new reference: what compressed-tensors calls
 * int-quantized or pack-quantized where it has it, or else panq's own.  NULL: out of
 * memory. */
json_t *pq_recipe_describe(const struct pq_recipe *recipe);

/* "w4a8 rtn group 32": what the file's metadata says of its making. */
struct pq_recipe_text {
    char s[224];
};
struct pq_recipe_text pq_recipe_show(const struct pq_recipe *recipe);

#endif
