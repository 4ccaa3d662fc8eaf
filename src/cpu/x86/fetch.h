/* fetch.h - weights brought nearer beside a product: to all caches, which is faster than to the
 * second one alone although a panel does not stay in the first. */
#ifndef PQ_CPU_X86_FETCH_H
#define PQ_CPU_X86_FETCH_H

#include "cpu/ops.h"

#include <immintrin.h>

struct pq_fetch {
    const char *at;
    size_t step;
};

/* All of `ahead` in so many calls of pq_fetch, three lines each at most: a panel is little more
 * than the two that a call's weights take.  Of what is longer some lines in between are left to the
 * processor. */
static inline __attribute__((always_inline)) struct pq_fetch pq_fetch_begin(struct pq_ahead ahead,
                                                                            int calls) {
    return (struct pq_fetch){ahead.from, (ahead.bytes + (size_t)calls - 1) / (size_t)calls};
}

static inline __attribute__((always_inline)) void pq_fetch(struct pq_fetch *fetch) {
    _mm_prefetch(fetch->at, _MM_HINT_T0);
    if (fetch->step > 64)
        _mm_prefetch(fetch->at + 64, _MM_HINT_T0);
    if (fetch->step > 128)
        _mm_prefetch(fetch->at + 128, _MM_HINT_T0);
    fetch->at += fetch->step;
}

#endif
