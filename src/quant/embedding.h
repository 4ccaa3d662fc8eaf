/* embedding.h - rows of an embedding out of a file of tensors. */
#ifndef PQ_QUANT_EMBEDDING_H
#define PQ_QUANT_EMBEDDING_H

#include "io/safetensors.h"

/* x [n][hidden]: the rows ids [n] of model.embed_tokens, in floating point or W8 (checkpoint.h).
 * PQ_EFORMAT: the file has no such tensor, or an id is beyond it. */
enum pq_status pq_embed_file(const struct pq_safetensors *file, const int32_t *ids, int n,
                             int hidden, float *x, struct pq_err *err);

#endif
