/* config_parts.h - the parts of a config.json that have a file of their own. */
#ifndef PQ_MODEL_CONFIG_PARTS_H
#define PQ_MODEL_CONFIG_PARTS_H

#include "io/json.h"

/* rope_theta, and rope_scaling or rope_parameters, to *rope, which is zero before.  Unless it is
 * `early`, whose theta is 1e4 when none is given, a config has one. */
enum pq_status pq_config_read_rope(const struct pq_json *top, bool early, struct pq_rope *rope,
                                   struct pq_err *err);

/* quantization_config, panq's own or compressed-tensors', to scheme, group and rotations, whose
 * sizes config has. */
enum pq_status pq_config_read_quantization(const struct pq_json *top, struct pq_config *config,
                                           struct pq_err *err);

/* panq_panels: the order that weights have in the file. */
enum pq_status pq_config_read_panels(const struct pq_json *top, enum pq_panels *panels,
                                     struct pq_err *err);

#endif
