/* linear.h - one linear from its floating-point tensor to the stored form, a block of rows at a
 * time: what it holds in memory does not grow with the tensor, but for its scales and multipliers,
 * and for the whole of a matrix whose rows the transform mixes.
 *
 * A row is rounded by pq_rtn_w8 or pq_rtn_w4, unless calibration has done it before. */
#ifndef PQ_QUANT_LINEAR_H
#define PQ_QUANT_LINEAR_H

#include "io/safetensors.h"
#include "io/safetensors_write.h"
#include "quant/progress.h"
#include "quant/rounded.h"
#include "quant/transform.h"

struct pq_stored_linear {
    const char *name; /* "P.weight", borrowed */
    const struct pq_transform *transform;
    const struct pq_tensor *source;   /* [n, k], pq_transform_source of the name */
    enum pq_scheme scheme;            /* W8A8 or W4A8 */
    int group;                        /* of W4A8, or PQ_GROUP_CHANNEL */
    bool packed;                      /* W4A8 in compressed-tensors' form; whole groups and int32 */
    const struct pq_rounded *rounded; /* borrowed; NULL: round to nearest */
};

/* Declare the tensors that checkpoint.h lists for P, in the order in which write appends them. */
enum pq_status pq_stored_linear_declare(const struct pq_stored_linear *linear,
                                        struct pq_writer *writer, struct pq_err *err);

/* Read back what was written, into *out, which is opened here.  PQ_EFORMAT: it is not there. */
enum pq_status pq_stored_linear_read(const struct pq_stored_linear *linear,
                                     const struct pq_safetensors *file, struct pq_rounded *out,
                                     struct pq_err *err);

/* Quantize on the pool and append.  A weight that is infinite or NaN is PQ_EFORMAT, naming file,
 * tensor, row and column: the source's, where it has one. */
enum pq_status pq_stored_linear_write(const struct pq_stored_linear *linear,
                                      struct pq_writer *writer, struct pq_pool *pool,
                                      struct pq_progress *progress, struct pq_err *err);

#endif
