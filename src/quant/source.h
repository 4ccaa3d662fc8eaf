/* source.h - the linears and vectors of one layer, transformed, as calibration takes them. */
#ifndef PQ_QUANT_SOURCE_H
#define PQ_QUANT_SOURCE_H

#include "model/layer.h"
#include "model/linears.h"
#include "quant/transform.h"

/* The linears of a layer by the input that they share, in the order in which they are run. */
enum { PQ_STAGES = 4 };
struct pq_stage {
    enum pq_input input;
    enum pq_linear_name first;
    int n;
};
extern const struct pq_stage pq_stages[PQ_STAGES];

/* The most of any linear of a layer: weights n k, outputs n, inputs k. */
struct pq_largest {
    size_t weights;
    int n, k;
};
struct pq_largest pq_largest_linear(const struct pq_config *config);

/* The error for a tensor [n][k] of which something cannot be quantized: PQ_EFORMAT, and the
 * sentence names the first weight that is infinite or NaN, or says that rotating it was too much.
 */
enum pq_status pq_source_nonfinite(const struct pq_tensor *tensor, int n, int k,
                                   struct pq_err *err);

/* The matrix of a tensor's name to w [n][k], on the pool.  PQ_EFORMAT as above. */
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
