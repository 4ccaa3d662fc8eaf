/* smoothing.h - the scales of a layer's inputs (smooth.h), found on the calibration tokens in it.
 *
 * The tokens' streams, as the rounded layers before have left them, go through the layer in full
 * precision and back to where they were: so all four inputs are known before any of its linears is
 * rounded, which the scales of what makes an input demand. */
#ifndef PQ_QUANT_SMOOTHING_H
#define PQ_QUANT_SMOOTHING_H

#include "quant/moments.h"
#include "quant/recipe.h"
#include "quant/source.h"

/* All borrowed. */
struct pq_smoothing {
    const struct pq_transform *source; /* its scales of the layer are ones, and are set */
    const struct pq_recipe *recipe;
    struct pq_moments *moments;
    float *w, *bias,
        *norms; /* scratch: of the largest linear, the most outputs, source.h's norms */
};

/* Set the scales of the layer's four inputs.  Errors: those of the moments, PQ_ENOMEM. */
enum pq_status pq_smoothing_find(const struct pq_smoothing *smoothing, int layer,
                                 struct pq_err *err);

#endif
