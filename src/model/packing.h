/* packing.h - from the rows of a checkpoint's linear to panels. */
#ifndef PQ_MODEL_PACKING_H
#define PQ_MODEL_PACKING_H

#include "cpu/gemm.h"
#include "model/checkpoint.h"

/* Fill the panels of `linear`, all zeros, from the tensors of the checkpoint's linear `name`, on
 * the pool; the pages of its weights leave memory, so that these are resident once.
 * PQ_EUNSUPPORTED: scales of groups that do not come apart (group_scales.h). */
enum pq_status pq_pack_linear(const struct pq_linear *linear, const struct pq_checkpoint *ckpt,
                              const char *name, struct pq_pool *pool, struct pq_err *err);

#endif
