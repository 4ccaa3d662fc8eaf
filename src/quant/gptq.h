/* gptq.h - rounding the rows of a linear against the second moments of its inputs.
 *
 * A row w that becomes w' loses e^T H e, e = w - w' (hessian.h).  With H = U^T D U that is
 * sum_i d_i (v_i - w'_i)^2,  v_i = w_i + sum_{j > i} U_ij e_j, so each weight, from the last
 * position to the first, is rounded from v_i: this is GPTQ (Frantar et al., arXiv:2210.17323
 * algorithm 1) without its inverse, as LDLQ writes it (Chee et al., arXiv:2307.13304 eq. 2 and
 * theorem 6, which proves them equal).  Scales and multipliers are found first, by squared error
 * weighted with H_jj, and stay (static groups), so any order of columns can be rounded in.
 *
 * Coordinate descent follows (QuantEase, Behdin et al., arXiv:2309.01885; CDQuant,
 * arXiv:2406.17542): each code in turn moves to its best value with all others fixed; a group's
 * multiplier moves by one where the group's codes, chosen anew, gain by it; a row's scale becomes
 * that of least squares, s += s (w'.r) / (w'.H w'), r = H e.  No step raises e^T H e.
 *
 * Finally each row keeps the best of this, of weighted and of plain round to nearest on H itself,
 * so that no row is worse than rounding to nearest.
 *
 * Rows do not see each other: the same codes whatever the block of rows, the number of threads and
 * the ISA. */
#ifndef PQ_QUANT_GPTQ_H
#define PQ_QUANT_GPTQ_H

#include "quant/hessian.h"

struct pq_gptq {
    const struct pq_workspace *ws;  /* for width k */
    const float *h;                 /* [k][k] second moments, mirrored, not damped */
    const struct pq_factor *factor; /* of h; NULL: no GPTQ, the others start from rounding to
                                       nearest */
    const float *cross; /* [k][k] C of target.h, to round for the full-precision model's inputs;
                           NULL: for those that h is of.  Needs the factor. */
    float alpha;        /* how far, see target.h */
    int k;
    enum pq_scheme scheme; /* W8A8 or W4A8 */
    int group;             /* of W4A8: at most PQ_DEPTH, or PQ_GROUP_CHANNEL */
    int sweeps;            /* of coordinate descent; 0: none */
    bool refit;            /* multipliers and scales after it */
};

/* Rows in the stored form, each array the caller's. */
struct pq_rounded_rows {
    int8_t *q;            /* [n][k] codes */
    uint8_t *multipliers; /* [n][ceil(k / group)] of W4A8 with groups, else NULL */
    float *scales;        /* [n] */
    double *errors;       /* [n] e^T H e, e from w or, given a cross term, from its target */
    double *powers;       /* [n] w^T H w, likewise */
};

/* Round n rows w [n][k], finite, on the pool.  Some hundred rows a call keep the matrices' share of
 * the time small.  Errors: PQ_ENOMEM. */
enum pq_status pq_gptq_rows(const struct pq_gptq *gptq, const float *w, int n,
                            const struct pq_rounded_rows *out, struct pq_err *err);

#endif
