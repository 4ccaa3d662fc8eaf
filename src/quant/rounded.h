/* rounded.h - a linear in integers, between its rounding and its file or its use. */
#ifndef PQ_QUANT_ROUNDED_H
#define PQ_QUANT_ROUNDED_H

#include "base/threads.h"
#include "cpu/gemm.h"

/* weight[i][j] = scale[i] * multiplier[i][j / group] * q[i][j] */
struct pq_rounded {
    enum pq_scheme scheme; /* W8A8 or W4A8 */
    int n, k;
    int group;           /* of W4A8, or PQ_GROUP_CHANNEL: no multipliers */
    int groups;          /* ceil(k / group); 0 without multipliers */
    int8_t *q;           /* owned [n][k] */
    uint8_t *multiplier; /* owned [n][groups] */
    float *scale;        /* owned [n] */
};

enum pq_status pq_rounded_open(struct pq_rounded *out, enum pq_scheme scheme, int n, int k,
                               int group, struct pq_err *err);
void pq_rounded_close(struct pq_rounded *rounded);

/* Round w [n][k], finite, to nearest (rtn.h). */
void pq_rounded_nearest(const struct pq_rounded *rounded, const float *w, struct pq_pool *pool);

/* Change scales and multipliers of a linear with groups to those that come of storing it
 * pack-quantized and reading it back (model/group_scales.h).  Errors: PQ_ENOMEM. */
enum pq_status pq_rounded_pack(const struct pq_rounded *rounded, struct pq_err *err);

/* A linear ready to multiply with these kernels, in memory of its own: panels and multipliers of
 * *rounded, with bias [n] or NULL. */
enum pq_status pq_linear_from_rounded(struct pq_linear *out, const struct pq_ops *ops,
                                      const struct pq_rounded *rounded, const float *bias,
                                      struct pq_pool *pool, struct pq_err *err);
/* The same of w [n][k], rounded to `kind` (BF16 or F32) only. */
enum pq_status pq_linear_from_floats(struct pq_linear *out, const struct pq_ops *ops,
                                     enum pq_kind kind, const float *w, int n, int k,
                                     const float *bias, struct pq_pool *pool, struct pq_err *err);
/* Frees what these made; zeros are let be. */
void pq_linear_release(struct pq_linear *linear);

#endif
