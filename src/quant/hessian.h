/* hessian.h - the second moments of a linear's inputs, and their factor for GPTQ.
 *
 * For rows x_t [k] of activations as the kernel sees them, with weights w_t,
 *   H = sum_t w_t x_t x_t^T                                 [k][k] FP32
 * is the Hessian of the linear's squared error: (w - w')^T H (w - w') is what a row of weights w
 * loses by becoming w'.  Constant factors do not matter to anybody who uses it.
 *
 * Every sum has one order: the same rows give the same bits whatever the number of threads, the
 * ISA and the chunks they come in, if these are multiples of PQ_DEPTH rows. */
#ifndef PQ_QUANT_HESSIAN_H
#define PQ_QUANT_HESSIAN_H

#include "quant/product.h"

/* One row as the kernel sees it, weighted: out[j] = sqrt(weight) * scale * q[j], j < k. */
void pq_hessian_codes(float *out, const int8_t *q, float scale, float weight, int k);

/* H += sum_t x[t]^T x[t] on and above the diagonal, x [rows][k]; the workspace is for k or more.
 * Begin with zeros, end with pq_hessian_mirror. */
void pq_hessian_add(const struct pq_workspace *ws, float *h, int k, const float *x, int rows);
/* C += sum_t d[t]^T x[t], all of it: with d = x~ - x, what the full-precision model's input has
 * more than the quantized one's, the cross term of GPTAQ. */
void pq_hessian_add_cross(const struct pq_workspace *ws, float *c, int k, const float *d,
                          const float *x, int rows);
/* Copy what is above the diagonal below it. */
void pq_hessian_mirror(const struct pq_workspace *ws, float *h, int k);

/* The mean of the diagonal: tr(H) / k. */
double pq_hessian_mean(const float *h, int k);
/* to += factor * from, both [k][k].  With factor = lambda / pq_hessian_mean(from), mode after mode
 * gives sum_m lambda_m H_m / (tr(H_m) / k) in two matrices; the cross terms take their H's factor.
 */
void pq_hessian_blend(const struct pq_workspace *ws, float *to, const float *from, float factor,
                      int k);

/* With P the permutation that takes position i to column order[i]:
 *   P (H + damping mean(H) I) P^T = U^T D U,  U unit upper triangular, D = diag(d)
 * Positions are rounded from the last, k - 1, to the first.  GPTQ is usually written with C, the
 * upper Cholesky factor of the inverse, in the reversed order: there d_i = 1 / C_ii^2, and gptq.h
 * says why no inverse is needed. */
struct pq_factor {
    int k;
    int *order;    /* [k] owned, like the two below */
    float *u;      /* [k][k]; what is below the diagonal is not zero */
    float *d;      /* [k] > 0 */
    float damping; /* that was needed */
};

/* Factor h [k][k], mirrored.  act_order rounds columns of large H_jj first, else column 0 first.
 * The damping begins at `damping` (.01) and is doubled while H is not positive definite in FP32,
 * up to 1; columns that no input reaches (H_jj = 0) are then on their own and round to nearest.
 * Errors: PQ_ENOMEM; PQ_EFORMAT for a matrix that has no factor (all zero, or not finite), which
 * leaves the caller with round to nearest. */
enum pq_status pq_factor_open(struct pq_factor *factor, const struct pq_workspace *ws,
                              const float *h, int k, float damping, bool act_order,
                              struct pq_err *err);
void pq_factor_close(struct pq_factor *factor);

/* The block of U at positions from..to, transposed: t [to - from][to - from], t[j][i] = U[i][j] for
 * i <= j, the rest as it was. */
void pq_factor_triangle(const struct pq_factor *factor, int from, int to, float *t);

#endif
