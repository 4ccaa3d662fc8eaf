#include "quant/promote.h"

/* The candidate that is next: not tried yet, and of the greatest loss for each weight. */
static int next_of(const struct pq_candidate *c, int n, const struct pq_candidate *last) {
    int best = -1;
    for (int i = 0; i < n; i++) {
        double rate = c[i].loss / (double)c[i].weights;
        double before = last ? last->loss / (double)last->weights : 0;
        if (last && (rate > before || (rate == before && &c[i] <= last)))
            continue;
        if (best < 0 || rate > c[best].loss / (double)c[best].weights)
            best = i;
    }
    return best;
}

double pq_promote(struct pq_candidate *candidates, int n, double low, double high, double budget) {
    double weights = 0, bits = 0;
    for (int i = 0; i < n; i++) {
        candidates[i].promoted = false;
        weights += (double)candidates[i].weights;
        bits += low * (double)candidates[i].weights;
    }
    int i = next_of(candidates, n, 0);
    for (; i >= 0; i = next_of(candidates, n, &candidates[i])) {
        double more = (high - low) * (double)candidates[i].weights;
        if (candidates[i].loss > 0 && (bits + more) / weights <= budget) {
            candidates[i].promoted = true;
            bits += more;
        }
    }
    return weights > 0 ? bits / weights : 0;
}
