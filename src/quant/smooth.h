/* smooth.h - how much of the activations' outliers to move into the weights.
 *
 * Dividing input channel j by s_j and multiplying column j of W by s_j changes nothing before
 * rounding.  SmoothQuant (Xiao et al., arXiv:2211.10438 eq. 4) takes
 *   s_j = max|x_j|^alpha / max|W_j|^(1 - alpha)
 * and here alpha is searched for, by what a layer's outputs lose with the quantizers that will be
 * used:  sum_t |W x_t - Q(W S) Q(S^-1 x_t)|^2  is taken as two terms, that of the weights,
 *   tr(E H E^T),  E = W - Q(W S) S^-1,
 * on the second moments of all calibration rows, and that of the activations,
 *   sum_t sum_j |Q(W S)_j|^2 d_tj^2,  d_t = S^-1 x_t - Q(S^-1 x_t),
 * on some of the rows; the rounding errors of different channels count as uncorrelated. */
#ifndef PQ_QUANT_SMOOTH_H
#define PQ_QUANT_SMOOTH_H

#include "quant/product.h"

/* most[j] = max(most[j], |rows[i][j]|), rows [n][k]. */
void pq_smooth_most(float *most, const float *rows, int n, int k);
/* Give the channels [heads][width] of all query heads that share a key-value head the largest
 * value among them: v -> o can only be smoothed so. */
void pq_smooth_tie(float *most, int heads, int kv_heads, int width);
/* s [k] as above, > 0.  Where a channel is zero on either side s = 1. */
void pq_smooth_scales(float *s, const float *x_most, const float *w_most, float alpha, int k);

struct pq_smooth {
    const struct pq_workspace *ws; /* for width k */
    int k;
    enum pq_scheme scheme; /* W8A8 or W4A8, in groups as below */
    int group;
    const float *h; /* [k][k] second moments of the inputs, not rounded; mirrored */
    double tokens;  /* rows that h is of */
    const float *x; /* [m][k] some of the inputs, m >= 1 */
    int m;
    const float *w; /* [n][k] rows of all linears that take these inputs, or some of them */
    int n;
};

/* The two terms for the scales s [k], summed over the n rows.  Errors: PQ_ENOMEM. */
struct pq_smooth_loss {
    double weights, activations;
};
enum pq_status pq_smooth_measure(const struct pq_smooth *smooth, const float *s,
                                 struct pq_smooth_loss *loss, struct pq_err *err);

/* The scales of least loss among none (s = 1) and alpha = 0, .05 .. 1.  s [k] out; *alpha is the
 * alpha, -1 for none.  Errors: PQ_ENOMEM. */
enum pq_status pq_smooth_search(const struct pq_smooth *smooth, const float *x_most,
                                const float *w_most, float *s, float *alpha,
                                struct pq_smooth_loss *loss, struct pq_err *err);

#endif
