/* fetch.h - what is brought nearer beside a product.  Weights come to all caches, which mostly is
 * faster than to the second one alone although a panel does not stay in the first. */
#ifndef PQ_CPU_X86_FETCH_H
#define PQ_CPU_X86_FETCH_H

#include "cpu/ops.h"

#include <immintrin.h>

struct pq_fetch {
    const char *at;
    size_t step;
    bool second;
};

/* All of `ahead` in so many calls of pq_fetch, three lines each at most: a panel is little more
 * than the two that a call's weights take.  Of what is longer some lines in between are left to the
 * processor. */
static inline __attribute__((always_inline)) struct pq_fetch pq_fetch_begin(struct pq_ahead ahead,
                                                                            int calls) {
    return (struct pq_fetch){ahead.from, (ahead.bytes + (size_t)calls - 1) / (size_t)calls,
                             ahead.second};
}

/* A macro, since the hint is part of the instruction. */
#define PQ_FETCH_STEP(fetch, hint)                                                                 \
    _mm_prefetch((fetch)->at, hint);                                                               \
    if ((fetch)->step > 64)                                                                        \
        _mm_prefetch((fetch)->at + 64, hint);                                                      \
    if ((fetch)->step > 128)                                                                       \
    _mm_prefetch((fetch)->at + 128, hint)

static inline __attribute__((always_inline)) void pq_fetch(struct pq_fetch *fetch) {
    if (fetch->second) {
        PQ_FETCH_STEP(fetch, _MM_HINT_T1);
    } else {
        PQ_FETCH_STEP(fetch, _MM_HINT_T0);
    }
    fetch->at += fetch->step;
}

/* The rows that a tile's sums will end in, one at a time throughout its blocks: where cores are far
 * from each other, one that another core has read is waited for longer than memory, and all at once
 * they would hold up the tile's own loads. */
struct pq_end_fetch {
    const float *y;
    size_t ldy;
    int block, every, left; /* the next one comes with that block, others so many blocks apart */
};

static inline __attribute__((always_inline)) struct pq_end_fetch
pq_end_fetch_begin(const struct pq_ends *ends, int rows, int blocks) {
    if (!ends)
        return (struct pq_end_fetch){.block = -1};
    return (struct pq_end_fetch){ends->y, ends->ldy, 0, blocks < rows ? 1 : blocks / rows, rows};
}

/* To be written, by prefetchw: fetched to be read, it would be asked for once more.  In assembly,
 * because compilers take it for an extension; every processor with AVX-512 has it. */
static inline __attribute__((always_inline)) void pq_fetch_end(struct pq_end_fetch *fetch,
                                                               int block) {
    if (block != fetch->block)
        return;
    __asm__ volatile("prefetchw %0\n\tprefetchw %1" ::"m"(fetch->y[0]), "m"(fetch->y[16]));
    fetch->y += fetch->ldy;
    fetch->block = --fetch->left > 0 ? block + fetch->every : -1;
}

#endif
