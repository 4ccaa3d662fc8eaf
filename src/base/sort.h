/* sort.h - numbers in ascending order. */
#ifndef PQ_BASE_SORT_H
#define PQ_BASE_SORT_H

#include <stdlib.h>

static inline int pq_compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline void pq_sort(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, pq_compare_doubles);
}

#endif
