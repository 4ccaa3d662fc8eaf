/* equalize.h - the scales that rotation likes best, from the weights alone.
 *
 * Where an input x of W is rotated before it is rounded, rounding errors spread evenly: those of x
 * are as |S^-1 x|, those of W as |W S|, and what either does to the outputs is as
 *   |S^-1 x|^2 |W S|_F^2,
 * which by Cauchy and Schwarz is least where s_j^2 = rms(x_j) / |W_j|, W_j the column of channel j.
 * The row of weights that makes channel j stands for rms(x_j): s_j^2 = |V_j| / |W_j|.  This is the
 * equalization of Nagel et al. (arXiv:1906.04721 eq. 11), with norms in the place of ranges.
 *
 * A channel that somebody has scaled up in V and down in W, by however much, comes out the same. */
#ifndef PQ_QUANT_EQUALIZE_H
#define PQ_QUANT_EQUALIZE_H

#include "quant/scales.h"

/* For all layers of the checkpoint: v -> o, a KV head's channels alike for its query heads, and
 * up -> down, gamma counted as part of v and up; the scales of other inputs stay.  s = 1 where
 * either side is zero or not finite.  Errors: PQ_ENOMEM. */
enum pq_status pq_equalize(const struct pq_model_scales *scales, const struct pq_checkpoint *ckpt,
                           struct pq_pool *pool, struct pq_err *err);

#endif
