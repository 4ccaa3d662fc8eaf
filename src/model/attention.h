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
    enum pq_kind fp; /* BF16 or F32: what probabilities and values are multiplied in */
    const struct pq_chunk *chunks; /* [n] */
    int n;
    int layer, heads;
    const float *q_norm, *k_norm; /* [head_dim], of each head before rotation; NULL: none */
    float norm_eps;
    const float *angles;           /* [positions][head_dim]: see rope.h */
    const float *q, *k, *v;        /* [tokens][heads or KV heads * head_dim] */
    float *out;                    /* as q */
    int *first_task;               /* [n + 1], filled here */
    float *partial;                /* pq_attention_partial bytes for `partial_tokens` */
    int partial_tokens;            /* up to so many tokens in a batch, long pasts are split */
    unsigned char *const *scratch; /* [threads], pq_attention_scratch bytes each */
};

size_t pq_attention_scratch(int head_dim);
/* What `tokens` tokens with a past of up to `positions` need for its parts. */
size_t pq_attention_partial(int tokens, int heads, int head_dim, int positions);

/* Append keys, normalized where the family does and rotated, and values to the cache; then
 * out = softmax(q k^T / sqrt(head_dim)) v over each token's own past and itself, q normalized and
 * rotated as the keys are, by blocks of the cache (Dao, arXiv:2307.08691 algorithm 1): nothing
 * grows with the square of the length.
 *
 * Spans of a few blocks are summed apart and merged in order, so that few tokens with a long past
 * can be spread over threads ("Flash-Decoding") that heads cannot be dealt evenly to.  Blocks and
 * spans lie at fixed positions and every sum has one order: a token's result is the same in a chunk
 * of any size, on any number of threads. */
void pq_attention_run(struct pq_pool *pool, const struct pq_attention *a);

#endif
