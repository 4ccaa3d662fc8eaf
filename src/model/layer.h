/* layer.h - one layer of the transformer, step by step, on the tokens of one forward call.
 *
 * The forward pass takes the steps in order.  Who looks at a model from inside (calibration, the
 * comparison of layers) takes them one at a time, or watches the inputs of linears go by. */
#ifndef PQ_MODEL_LAYER_H
#define PQ_MODEL_LAYER_H

#include "model/context.h"

/* What enters linears: the rows that their products share. */
enum pq_input { PQ_INPUT_QKV, PQ_INPUT_O, PQ_INPUT_MLP, PQ_INPUT_DOWN, PQ_INPUT_HEAD };

/* Sees row r, x [width], of an input before it is rounded to what the weights meet.  Called once
 * a row, by the pool's threads, in any order. */
struct pq_observer {
    void (*row)(void *user, enum pq_input input, int r, const float *x, int width);
    void *user;
};

/* What the steps of one forward call share. */
struct pq_pass {
    struct pq_context *ctx;
    const struct pq_model *model;
    const struct pq_elementwise *e;
    struct pq_scratch *s;               /* s->x [m][hidden] is the residual stream */
    int m;                              /* tokens */
    int n_chunks;                       /* of s->chunks */
    const struct pq_observer *observer; /* may be NULL */
};

/* s->attention = attention(rope(q), rope(k), v) of the norm of x; keys and values are appended to
 * the cache as those of layer `index`.  pq_context_reach has been called for their positions. */
void pq_pass_attention(const struct pq_pass *p, const struct pq_layer *layer, int index);
/* x += o(s->attention) */
void pq_pass_output(const struct pq_pass *p, const struct pq_layer *layer);
/* s->mlp = silu(gate) * up of the norm of x */
void pq_pass_gate_up(const struct pq_pass *p, const struct pq_layer *layer);
/* x += down(s->mlp) */
void pq_pass_down(const struct pq_pass *p, const struct pq_layer *layer);
/* logits [n][vocab] of the last norm of x's rows pick[0..n) */
void pq_pass_head(const struct pq_pass *p, const int *pick, int n, float *logits);

/* Only make the rows of a layer's input, for the observer: no linear is multiplied. */
void pq_pass_look(const struct pq_pass *p, const struct pq_layer *layer, enum pq_input input);

#endif
