/* attention.h - causal attention of a ragged batch over the KV cache. */
#ifndef PQ_MODEL_ATTENTION_H
#define PQ_MODEL_ATTENTION_H

#include "base/threads.h"
#include "model/kv.h"

/* A chunk of one sequence in a batch. */
struct pq_chunk {
    int sequence;
    int n;        /* tokens */
    int position; /* of the first */
    int row;      /* of the first in the batch's matrices */
};

struct pq_attention {
    const struct pq_ops *ops;
    const struct pq_kv *kv;
    const struct pq_chunk *chunks; /* [n] */
    int n;
    int layer, heads;
    const float *q_norm, *k_norm; /* [head_dim], of each head before rotation; NULL: none */
    float norm_eps;
    const float *cos, *sin;        /* [tokens][head_dim / 2] */
    float *q, *k;                  /* [tokens][heads or KV heads * head_dim], rotated in place */
    const float *v;                /* as k */
    float *out;                    /* as q */
    int *first_task;               /* [n + 1], filled here */
    unsigned char *const *scratch; /* [threads], pq_attention_scratch bytes each */
};

size_t pq_attention_scratch(int head_dim);

/* Normalize, where the family does, and rotate the queries and keys, append keys and values to the
 * cache. */
void pq_attention_append(struct pq_pool *pool, const struct pq_attention *a);

/* out = softmax(q k^T / sqrt(head_dim)) v over each token's own past and itself, by blocks of the
 * cache (Dao, arXiv:2307.08691 algorithm 1): nothing grows with the square of the length.
 * Blocks lie at fixed positions and every sum has one order, so a token's result is the same in a
 * chunk of any size. */
void pq_attention_run(struct pq_pool *pool, const struct pq_attention *a);

#endif
