/* config.h - config.json and generation_config.json, validated. */
#ifndef PQ_MODEL_CONFIG_H
#define PQ_MODEL_CONFIG_H

#include "base/status.h"

/* Sums of products of two 8-bit integers over this many inputs fit in int32. */
#define PQ_MAX_INPUTS 131072

/* Read the config.json at path: a family that panq knows, sizes that its kernels take, and a
 * quantization_config that is absent, panq's own or compressed-tensors'.
 * Errors: PQ_EIO, PQ_ENOMEM, PQ_EFORMAT, and PQ_EUNSUPPORTED for another model, naming the key. */
enum pq_status pq_config_load(struct pq_config *out, const char *path, struct pq_err *err);

/* Read the generation_config.json at path; a file that does not exist gives the defaults.  Its
 * eos_token_id are added to config's. */
enum pq_status pq_generation_load(struct pq_generation_config *out, struct pq_config *config,
                                  const char *path, struct pq_err *err);

#endif
