/* target.h - what rounded weights should equal when the inputs they meet are not those of the
 * full-precision model. */
#ifndef PQ_QUANT_TARGET_H
#define PQ_QUANT_TARGET_H

#include "quant/hessian.h"

/* With x~ the full-precision model's inputs and x the quantized one's, the squared error
 *   sum_t (w.x~_t - w'.x_t)^2                  (GPTAQ, Li et al., arXiv:2504.02692 eq. 4)
 * is least, without rounding, at  w* = w + H^-1 C^T w,  C = sum_t (x~_t - x_t) x_t^T, and grows by
 * (w* - w')^T H (w* - w') away from it.  So rounding w* against H minimises it; GPTAQ itself adds
 * the part of this that columns not yet rounded can take up.  alpha < 1 goes part of the way, as
 * GPTAQ's 0.25 does: C is an estimate from the calibration rows alone.
 *
 *   w        [panels][k][PQ_NR] rows of weights as lanes, changed to w + alpha (w* - w)
 *   cross    [k][k] C, from the same rows and weights as H
 *   factor   of H, damped
 *   scratch  [2][panels][k][PQ_NR] */
void pq_target_shift(const struct pq_workspace *ws, const struct pq_factor *factor,
                     const float *cross, float alpha, float *w, float *scratch, int panels);

#endif
