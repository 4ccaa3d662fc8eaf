/* transform.h - other weights for the same function: rotations and scales that cancel out.
 *
 * Row vectors throughout: y = x W^T + b.  H are the matrices of cpu/hadamard.h.
 *
 *   R1    the residual stream: x' = x Q, Q = diag(signs) H.  gamma of each norm is folded into what
 *         reads the norm, which then has ones (Q and a norm commute).  Readers: W' = W diag(gamma)
 * Q. Writers, o and down: W' = Q^T W, b' = b Q.  Embedding: E' = E Q.  A tied head stays tied and
 * keeps its gamma, see layer.c, unless it is untied. R2    the values within a head: v' = v H, for
 * W_v, b_v and, for every query head, W_o. R4    down's input, which the model rotates as it runs:
 * W' = W H. (QuaRot, arXiv:2404.00456, stage 1; SpinQuant, arXiv:2405.16406, for the names.)
 *
 *   scales  s > 0 an input channel: what makes the channel is divided by s, W's column times s
 *           (SmoothQuant, arXiv:2211.10438 eq. 3).  For q, k, v and for gate and up the norm makes
 *           it: channels of the rotated stream after R1.  For o v makes it, before R2; a KV head's
 *           scales serve all its query heads.  For down up makes it, before R4.
 *
 * All of it is computed in FP64 and rounded to FP32, the same bits for any number of threads. */
#ifndef PQ_QUANT_TRANSFORM_H
#define PQ_QUANT_TRANSFORM_H

#include "base/threads.h"
#include "cpu/ops.h"
#include "model/checkpoint.h"

/* Scales of one layer's inputs; NULL: ones. */
struct pq_scales {
    float *qkv;  /* [hidden] */
    float *o;    /* [kv_heads * head_dim] */
    float *mlp;  /* [hidden] */
    float *down; /* [ffn] */
};

struct pq_transform_options {
    bool rotate_stream, rotate_heads, rotate_down; /* R1, R2, R4 */
    bool untie;                                    /* a tied head gets a tensor of its own */
    uint64_t seed;                                 /* of R1's signs */
    const struct pq_scales *scales;                /* [layers], borrowed; NULL: ones */
};

struct pq_transform {
    const struct pq_checkpoint *ckpt; /* borrowed */
    const struct pq_elementwise *e;
    struct pq_transform_options options;
    struct pq_hadamard stream, head, ffn; /* of R1, R2, R4; zeros: none */
    double *signs;                        /* owned [hidden] */
};

/* PQ_EUNSUPPORTED where one of the sizes has no Hadamard matrix. */
enum pq_status pq_transform_open(struct pq_transform *out, const struct pq_checkpoint *ckpt,
                                 const struct pq_transform_options *options, struct pq_err *err);
void pq_transform_close(struct pq_transform *transform);

/* Whether the model has to rotate as it runs: what config.json's online_hadamard says. */
bool pq_transform_rotates_head(const struct pq_transform *transform);

/* The tensor that the one of this name is made of: its own, but for "lm_head.weight" of a tied
 * model, which is made of the embedding. */
const struct pq_tensor *pq_transform_source(const struct pq_transform *transform, const char *name);
/* Whether the tensor of this name may become another. */
bool pq_transform_changes(const struct pq_transform *transform, const char *name);

/* ---- Matrices -------------------------------------------------------------------------------- */

/* One matrix, whose rows are made when they are asked for, but for those of o and down, and of v
 * with R2: their rows mix, so that the whole of it is held. */
struct pq_transformed {
    const struct pq_transform *transform; /* borrowed */
    const struct pq_tensor *source;
    int n, k;
    float *before;                            /* owned [k]: of columns, before their rotation */
    const float *after;                       /* of columns, after it */
    const float *divide;                      /* of rows, before they mix */
    const struct pq_hadamard *columns, *rows; /* blocks of either order, or NULL */
    bool signed_columns, signed_rows;         /* by the stream's signs, first */
    float *whole;                             /* owned [n][k], or NULL */
};

/* The linear or embedding of this tensor's name, "model.layers.3.mlp.up_proj.weight". */
enum pq_status pq_transformed_open(struct pq_transformed *out, const struct pq_transform *transform,
                                   const char *name, struct pq_pool *pool, struct pq_err *err);
void pq_transformed_close(struct pq_transformed *matrix);

/* Row `row` to out [k]; temp [k] is scratch.  Threads may ask for rows at the same time. */
void pq_transformed_row(const struct pq_transformed *matrix, int row, float *out, double *temp);

/* ---- Vectors --------------------------------------------------------------------------------- */

/* The norm or bias of this tensor's name to out [n], as many as the source has. */
enum pq_status pq_transformed_vector(const struct pq_transform *transform, const char *name,
                                     float *out, struct pq_err *err);

#endif
