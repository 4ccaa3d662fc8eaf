/* source.h - the linears and vectors of one layer, transformed, as calibration takes them. */
#ifndef PQ_QUANT_SOURCE_H
#define PQ_QUANT_SOURCE_H

#include "model/layer.h"
#include "model/model.h"
#include "quant/transform.h"

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

/* "model.layers.3.mlp.up_proj.weight" */
struct pq_name {
    char s[96];
};
struct pq_name pq_linear_weight(int layer, enum pq_linear_name which);
/* Its place among the linears of all layers, layer * PQ_LINEARS + which, from the name of its
 * weight or bias; -1: not one of these. */
int pq_linear_index(const char *tensor);

/* The linears of a layer by the input that they share, in the order in which they are run. */
enum { PQ_STAGES = 4 };
struct pq_stage {
    enum pq_input input;
    enum pq_linear_name first;
    int n;
};
extern const struct pq_stage pq_stages[PQ_STAGES];

/* Outputs n and inputs k. */
struct pq_linear_shape {
    int n, k;
};
struct pq_linear_shape pq_linear_shape_of(const struct pq_config *config,
                                          enum pq_linear_name which);
/* The most of any linear of a layer: weights n k, outputs n, inputs k. */
struct pq_largest {
    size_t weights;
    int n, k;
};
struct pq_largest pq_largest_linear(const struct pq_config *config);
struct pq_linear *pq_layer_linear(struct pq_layer *layer, enum pq_linear_name which);

/* The matrix of a tensor's name to w [n][k], on the pool. */
enum pq_status pq_source_matrix(const struct pq_transform *source, const char *name,
                                struct pq_pool *pool, float *w, struct pq_err *err);
/* The same of a linear. */
enum pq_status pq_source_weights(const struct pq_transform *source, int layer,
                                 enum pq_linear_name which, struct pq_pool *pool, float *w,
                                 struct pq_err *err);
/* bias [n]; zeros where there is none. */
enum pq_status pq_source_bias(const struct pq_transform *source, int layer,
                              enum pq_linear_name which, float *bias, struct pq_err *err);

/* Floats that pq_source_norms fills: two of hidden, two of head_dim. */
size_t pq_source_norms_size(const struct pq_config *config);
/* Point the layer's norms into norms, and fill them. */
enum pq_status pq_source_norms(const struct pq_transform *source, int layer, float *norms,
                               struct pq_layer *out, struct pq_err *err);

#endif
