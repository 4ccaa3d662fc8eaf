/* product.h - products of FP32 matrices, on the tile kernel that keeps one order of additions: the
 * same bits on every ISA and for every number of threads.  (An optimised BLAS, measured beside
 * it, was no faster; and its sums depend on the processor that it finds.) */
#ifndef PQ_QUANT_PRODUCT_H
#define PQ_QUANT_PRODUCT_H

#include "base/threads.h"
#include "cpu/ops.h"

enum { PQ_DEPTH = 512 }; /* most terms summed in one pass */

/* What the products of matrices up to width k need; owned, freed by close. */
struct pq_workspace {
    struct pq_pool *pool;     /* borrowed */
    const struct pq_ops *ops; /* borrowed */
    float *tiles;             /* [k * PQ_DEPTH] the left matrix in tiles, see ops.h */
    float *panels;            /* some panels of the right matrix for each thread */
};

enum pq_status pq_workspace_open(struct pq_workspace *ws, struct pq_pool *pool,
                                 const struct pq_ops *ops, int k, struct pq_err *err);
void pq_workspace_close(struct pq_workspace *ws);

/* c[i][j] += sum_t a[t][i] b[t][j]  for i < m, j < n, t < depth; minus where `negative`.
 *   a, b, c  row-major, rows lda, ldb, ldc apart; m at most the workspace's k, depth any
 *   upper    of a square c only the part on and above the diagonal is meant: what is below it
 *            becomes anything */
struct pq_gram {
    const float *a, *b;
    float *c;
    size_t lda, ldb, ldc;
    int m, n, depth;
    bool negative, upper;
};
void pq_gram(const struct pq_workspace *ws, const struct pq_gram *gram);

/* y[p][i] += sum_t a(i, t) x[p][t]  for i < m, t < depth: each of n panels of PQ_NR lanes.
 *   a      a(i, t) = a[i * row + t * step]; depth <= PQ_DEPTH
 *   x, y   of panel 0, the next ones ldx and ldy floats on
 *   first  called for a panel, on the thread that is about to multiply it; may be NULL */
struct pq_fold {
    const float *a;
    size_t row, step;
    int m, depth;
    const float *x;
    float *y;
    size_t ldx, ldy;
    void (*first)(void *arg, int panel, int thread);
    void *arg;
};
void pq_fold(const struct pq_workspace *ws, const struct pq_fold *fold, int panels);

/* The fold of a matrix a [k][k]: y += a^T x as far as its rows from..from + depth, x and y panels
 * [k][PQ_NR] that lie one after the other. */
struct pq_fold pq_fold_columns(const float *a, int k, int from, int depth, const float *x,
                               float *y);
/* y = a^T x, all of it. */
void pq_panels_multiply(const struct pq_workspace *ws, const float *a, int k, const float *x,
                        float *y, int panels);

#endif
