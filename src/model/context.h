/* context.h - the mutable side of inference: the KV cache, the scratch, the sequences' lengths. */
#ifndef PQ_MODEL_CONTEXT_H
#define PQ_MODEL_CONTEXT_H

#include "model/attention.h"
#include "model/model.h"

/* m = options.batch; all of it is cut from one arena at open. */
struct pq_scratch {
    float *x;                     /* [m][hidden], the residual stream */
    float *q, *k, *v, *attention; /* [m][heads or KV heads * head_dim] */
    float *mlp;                   /* [m][ffn], in the place of q, k, v and attention */
    float *angles;                /* [positions][head_dim], see pq_context_reach */
    float *partial;               /* sums of attention: pq_attention_partial of partial_tokens */
    int partial_tokens;
    void *integer_rows, *fp_rows; /* the inputs of linears: pq_rows_bytes of the widest */
    int32_t *tokens;              /* [m] */
    int *wanted;                  /* [m], rows whose logits are wanted */
    struct pq_chunk *chunks;      /* [sequences] */
    int *first_task;              /* [sequences + 1] */
    unsigned char **thread;       /* [threads], for whatever a task needs */
};

struct pq_context {
    const struct pq_model *model; /* borrowed */
    struct pq_pool *pool;         /* borrowed */
    struct pq_context_options options;
    struct pq_kv kv;
    struct pq_arena arena;
    struct pq_scratch scratch;
    int *length;        /* [sequences] */
    int reached;        /* positions whose angles are in scratch.angles */
    pq_watch_fn *watch; /* NULL: nobody watches */
    void *watch_user;
    struct pq_profile *profile; /* borrowed; NULL: nobody measures */
    double profile_mark;        /* when the operator that is running began */
    double *profile_times;      /* [PQ_OPERATORS][layers], seconds of this call's */
    int profiled[PQ_OPERATORS]; /* so many of them */
};

/* Have the angles of positions 0 .. positions-1 ready: they are computed once. */
void pq_context_reach(struct pq_context *ctx, int positions);

#endif
