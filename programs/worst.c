#include "worst.h"

#include <math.h>
#include <string.h>

static double log_sum(const float *x, int vocab, int32_t top) {
    double sum = 0;
    for (int i = 0; i < vocab; i++)
        sum += exp((double)x[i] - (double)x[top]);
    return (double)x[top] + log(sum);
}

/* The PQ_WORST_TOP likeliest ids of logits x, likeliest first; -1 where there are fewer. */
static void likeliest(int32_t ids[PQ_WORST_TOP], const float *x, int vocab) {
    int n = 0;
    for (int32_t id = 0; id < vocab; id++) {
        int at = n < PQ_WORST_TOP ? n++ : PQ_WORST_TOP;
        for (; at > 0 && x[id] > x[ids[at - 1]]; at--)
            if (at < PQ_WORST_TOP)
                ids[at] = ids[at - 1];
        if (at < PQ_WORST_TOP)
            ids[at] = id;
    }
    for (; n < PQ_WORST_TOP; n++)
        ids[n] = -1;
}

static void describe(struct pq_wrong *w, const float *p, const float *q, int vocab) {
    int32_t ids[2][PQ_WORST_TOP];
    likeliest(ids[0], p, vocab);
    likeliest(ids[1], q, vocab);
    double sum_p = log_sum(p, vocab, ids[0][0]), sum_q = log_sum(q, vocab, ids[1][0]);
    for (int i = 0; i < PQ_WORST_TOP; i++) {
        for (int of_q = 0; of_q < 2; of_q++) {
            int32_t id = ids[of_q][i];
            struct pq_candidate c = {.id = id};
            if (id >= 0) {
                c.p = exp((double)p[id] - sum_p);
                c.q = exp((double)q[id] - sum_q);
            }
            *(of_q ? &w->of_q[i] : &w->of_p[i]) = c;
        }
    }
}

void pq_worst_take(struct pq_worst *worst, int place, const struct pq_divergence *d, const float *p,
                   const float *q, int n, int vocab) {
    for (int r = 0; r < n; r++) {
        int at = worst->n;
        while (at > 0 && d[r].kl > worst->wrong[at - 1].kl)
            at--;
        if (at == PQ_WORST || d[r].kl <= 0)
            continue;
        int moved = (worst->n < PQ_WORST ? worst->n : PQ_WORST - 1) - at;
        memmove(&worst->wrong[at + 1], &worst->wrong[at], (size_t)moved * sizeof *worst->wrong);
        worst->n += worst->n < PQ_WORST;
        size_t row = (size_t)r * (size_t)vocab;
        worst->wrong[at] = (struct pq_wrong){.place = place + r, .kl = d[r].kl};
        describe(&worst->wrong[at], p + row, q + row, vocab);
    }
}
