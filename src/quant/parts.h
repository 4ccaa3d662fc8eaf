/* parts.h - a checkpoint's tensors in files that outlive a kill, until they are one.
 *
 * A part (one layer, say) is a safetensors file in the staging directory, there whole or not at
 * all.  The next run of the same quantization keeps the parts it finds, and goes on with the first
 * that is missing.  When none is, they are joined. */
#ifndef PQ_QUANT_PARTS_H
#define PQ_QUANT_PARTS_H

#include "io/safetensors.h"
#include "io/safetensors_write.h"
#include "quant/staging.h"

/* Is all of it there from an earlier run, or its part `index`? */
bool pq_parts_joined(const struct pq_staging *staging);
bool pq_part_exists(const struct pq_staging *staging, int index);

/* A writer for part `index`, which the caller declares, begins and appends to. */
enum pq_status pq_part_open(struct pq_writer **out, const struct pq_staging *staging, int index,
                            struct pq_err *err);
/* End and close the writer, whatever comes of it; now the part exists. */
enum pq_status pq_part_end(struct pq_writer *writer, const struct pq_staging *staging, int index,
                           struct pq_err *err);

/* Map part `index`, for the caller to close. */
enum pq_status pq_part_read(struct pq_safetensors *out, const struct pq_staging *staging, int index,
                            struct pq_err *err);

/* Strings of __metadata__. */
struct pq_metadata {
    const char *key, *value;
};

/* Write parts 0 .. n-1, one after the other, into model.safetensors with metadata [n_metadata]. */
enum pq_status pq_parts_join(const struct pq_staging *staging, int n,
                             const struct pq_metadata *metadata, int n_metadata,
                             struct pq_err *err);
/* Remove those of parts 0 .. n-1 that are there. */
void pq_parts_remove(const struct pq_staging *staging, int n);

#endif
