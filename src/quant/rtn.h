/* rtn.h - round-to-nearest quantization of one row of weights, the row of one output channel.
 *
 * A row's scale, and a group's multiplier, are those of least squared error among many tried: the
 * usual absmax / qmax is one of them, so the error is never above that one's.  Each scale is then
 * improved by least squares (with the codes fixed, sum(w q) / sum(q q) is the best scale), which
 * is kept while it lowers the error.  These are pure functions: fixed order of sums, ties to even,
 * the same bits for every thread count and vector width.
 *
 *   w           [k] finite FP32 weights, k >= 1
 *   importance  [k] > 0, what the squared errors are multiplied by, such as the diagonal of the
 *               inputs' second moments; NULL: 1
 *   q           [k] codes, out
 * The scale returned is positive and normal.  A row with no weight of 2^-100 or more counts as
 * zero: codes 0, scale 1. */
#ifndef PQ_QUANT_RTN_H
#define PQ_QUANT_RTN_H

#include <stdint.h>

/* The index of the first weight that is infinite or NaN, or -1. */
int pq_rtn_nonfinite(const float *w, int k);

/* w[j] = scale * q[j], q in -127..127. */
float pq_rtn_w8(const float *w, const float *importance, int k, int8_t *q);

/* w[j] = scale * multiplier[j / group] * q[j], q in -8..7.
 *   group       inputs that share a multiplier; 0: all of them, and the multiplier is 1.  The last
 *               group is shorter where group does not divide k.
 *   multiplier  [ceil(k / group)] 1..15, out; may be NULL when group is 0 */
float pq_rtn_w4(const float *w, const float *importance, int k, int group, int8_t *q,
                uint8_t *multiplier);

#endif
