/* linears.h - the linears of a layer: their names in checkpoints, their sizes, their places. */
#ifndef PQ_MODEL_LINEARS_H
#define PQ_MODEL_LINEARS_H

#include "model/model.h"

/* In the order in which a layer multiplies, gate and up at once. */
enum pq_linear_name {
    PQ_LINEAR_Q,
    PQ_LINEAR_K,
    PQ_LINEAR_V,
    PQ_LINEAR_O,
    PQ_LINEAR_GATE,
    PQ_LINEAR_UP,
    PQ_LINEAR_DOWN,
    PQ_LINEARS
};

struct pq_name {
    char s[96];
};
struct pq_name pq_layer_tensor(int layer, const char *rest); /* "model.layers.3.rest" */
/* "model.layers.3.mlp.up_proj" and a suffix, ".weight" or "" */
struct pq_name pq_linear_tensor(int layer, enum pq_linear_name which, const char *suffix);
/* The rest of a tensor's name in a layer, whose number goes to *layer; NULL and -1: in none. */
const char *pq_in_layer(const char *tensor, int *layer);
/* Its place among the linears of all layers, layer * PQ_LINEARS + which, from its name or that of
 * one of its tensors; -1: not one of these. */
int pq_linear_index(const char *tensor);

/* Outputs n, inputs k. */
struct pq_linear_shape {
    int n, k;
    bool bias; /* whether the family gives it one */
};
struct pq_linear_shape pq_linear_shape_of(const struct pq_config *config,
                                          enum pq_linear_name which);
struct pq_linear *pq_layer_linear(struct pq_layer *layer, enum pq_linear_name which);

#endif
