/* promote.h - which linears of a 4-bit model are worth 8 bits. */
#ifndef PQ_QUANT_PROMOTE_H
#define PQ_QUANT_PROMOTE_H

#include <stdbool.h>
#include <stdint.h>

struct pq_candidate {
    double loss;     /* what 4 bits in this linear alone cost: mean KL to the FP model */
    int64_t weights; /* n k */
    bool promoted;   /* out */
};

/* Promote candidates [n] by loss for each weight, the greatest first, as long as the mean bits a
 * weight, `low` for those left and `high` for those promoted, stay within the budget.  One that
 * does not fit is passed over for smaller ones.  Equals go in their order.  Returns the mean. */
double pq_promote(struct pq_candidate *candidates, int n, double low, double high, double budget);

#endif
