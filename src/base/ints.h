/* ints.h - what C has no function for. */
#ifndef PQ_BASE_INTS_H
#define PQ_BASE_INTS_H

static inline int pq_least(int a, int b) {
    return a < b ? a : b;
}

#endif
