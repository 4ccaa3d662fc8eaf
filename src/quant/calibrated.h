/* calibrated.h - rounding a model layer by layer against what calibration tokens do in it.
 *
 * The tokens' residual streams go through the model as it will run: what enters a layer's linears
 * has passed all linears before it in their rounded form, and is itself rounded to 8 bits.  In a
 * layer q, k, v are rounded first, then o, then gate and up, then down, each against the second
 * moments of its inputs (gptq.h).
 *
 * Beside it goes the full-precision model on the same tokens: weights are moved a part of the way
 * to those that would make up for what inputs have lost already (target.h). */
#ifndef PQ_QUANT_CALIBRATED_H
#define PQ_QUANT_CALIBRATED_H

#include "io/safetensors.h"
#include "quant/progress.h"
#include "quant/recipe.h"
#include "quant/rounded.h"
#include "quant/source.h"

struct pq_calibration;

/* config: that of the result.  embedding: a file that holds the embedding as the result has it.
 * All are borrowed, but for traces and embedding, which are not used again. */
enum pq_status pq_calibration_open(struct pq_calibration **out, const struct pq_transform *source,
                                   const struct pq_config *config, const struct pq_recipe *recipe,
                                   const struct pq_traces *traces,
                                   const struct pq_safetensors *embedding, struct pq_pool *pool,
                                   struct pq_err *err);
void pq_calibration_close(struct pq_calibration *c);

/* Round the layer whose turn it is: 0, 1, ...  rounded [PQ_LINEARS], zeros, is opened here and the
 * caller's to close, after failure, too.  Progress is told after each linear, of no bytes. */
enum pq_status pq_calibration_round(struct pq_calibration *c, int layer, struct pq_rounded *rounded,
                                    struct pq_progress *progress, struct pq_err *err);
/* Take the layer whose turn it is as an earlier run has rounded it. */
enum pq_status pq_calibration_follow(struct pq_calibration *c, int layer,
                                     const struct pq_rounded *rounded, struct pq_err *err);

/* Over the layers that were rounded so far. */
struct pq_calibration_report pq_calibration_report(const struct pq_calibration *c);

#endif
