/* worst.h - the predictions that a checkpoint has got most wrong. */
#ifndef PQ_PROGRAMS_WORST_H
#define PQ_PROGRAMS_WORST_H

#include "panq.h"

enum { PQ_WORST = 20, PQ_WORST_TOP = 5 };

struct pq_candidate {
    int32_t id;
    double p, q; /* the probability that the reference and the checkpoint give it */
};

/* One prediction and the likeliest ids of both models. */
struct pq_wrong {
    int place; /* index of the prediction */
    double kl;
    struct pq_candidate of_p[PQ_WORST_TOP], of_q[PQ_WORST_TOP]; /* likeliest first */
};

/* The predictions with the largest KL so far, largest first. */
struct pq_worst {
    struct pq_wrong wrong[PQ_WORST];
    int n;
};

/* Take predictions [n], of which the first has index `place`, with their logits [n][vocab]. */
void pq_worst_take(struct pq_worst *worst, int place, const struct pq_divergence *d, const float *p,
                   const float *q, int n, int vocab);

#endif
