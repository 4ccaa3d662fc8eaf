/* sensitivity.h - what each linear alone costs when it is rounded to 4 bits. */
#ifndef PQ_QUANT_SENSITIVITY_H
#define PQ_QUANT_SENSITIVITY_H

#include "io/safetensors.h"
#include "quant/progress.h"
#include "quant/source.h"

/* loss [layers * PQ_LINEARS], out: the mean KL, in nats, of the FP model's next-token distribution
 * to that of the model with this linear alone rounded to nearest in W4A8 of `group`, over some
 * hundred tokens of the traces, of modes with a weight in turn.
 *
 * All these models go through the layers side by side, so that each layer is read once and is alone
 * in memory: a variant begins with the FP model's states at the layer where it differs.
 *
 * config: that of the result.  Errors: PQ_ENOMEM, PQ_ECANCELLED, PQ_EFORMAT. */
enum pq_status pq_sensitivity(const struct pq_transform *source, const struct pq_config *config,
                              int group, const struct pq_traces *traces,
                              const float mode_weight[PQ_TRACE_MODES],
                              const struct pq_safetensors *embedding, struct pq_pool *pool,
                              struct pq_progress *progress, double *loss, struct pq_err *err);

#endif
