/* floats.h - one tensor that stays in floating point: copied, or transformed. */
#ifndef PQ_QUANT_FLOATS_H
#define PQ_QUANT_FLOATS_H

#include "io/safetensors_write.h"
#include "quant/progress.h"
#include "quant/transform.h"

struct pq_stored_floats {
    const char *name; /* borrowed */
    const struct pq_transform *transform;
    const struct pq_tensor *source; /* pq_transform_source of the name */
};

/* Declare it: as the source has it where the transform leaves it alone, else a matrix in BF16 and a
 * vector in F32. */
enum pq_status pq_stored_floats_declare(const struct pq_stored_floats *floats,
                                        struct pq_writer *writer, struct pq_err *err);
/* Append it, a few rows at a time. */
enum pq_status pq_stored_floats_write(const struct pq_stored_floats *floats,
                                      struct pq_writer *writer, struct pq_pool *pool,
                                      struct pq_progress *progress, struct pq_err *err);

#endif
