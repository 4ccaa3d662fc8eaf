/* model.h - the weights of a model in memory, as the forward pass reads them. */
#ifndef PQ_MODEL_MODEL_H
#define PQ_MODEL_MODEL_H

#include "base/arena.h"
#include "cpu/gemm.h"
#include "model/checkpoint.h"

struct pq_layer {
    float *attention_norm, *mlp_norm; /* [hidden] */
    float *q_norm, *k_norm;           /* [head_dim]; NULL where the family has none */
    /* Their panels lie one after the other, gate's and up's in turns. */
    struct pq_linear q, k, v, o, gate, up, down;
};

struct pq_model {
    const struct pq_checkpoint *ckpt; /* borrowed */
    struct pq_config config;
    const struct pq_ops *ops;
    enum pq_kind fp; /* BF16 or F32: FP linears, attention and the KV cache */
    const struct pq_tensor *embedding, *embedding_scale; /* scale: NULL where FP */
    struct pq_layer *layers;                             /* [config.layers] */
    float *norm;                                         /* [hidden], the last one */
    float *frequencies;                                  /* [head_dim / 2], see rope.h */
    struct pq_linear head;
    struct pq_hadamard down_rotation, head_rotation; /* of their inputs; zeros: none */
    struct pq_arena arena;                           /* all of the above, */
    size_t mapped;                                   /* but bytes of panels in the checkpoint */
};

/* A model of which everything is there but the memory of its weights: their sizes are, panels and
 * norms are NULL.  For pq_model_close. */
enum pq_status pq_model_sketch(struct pq_model **out, const struct pq_checkpoint *ckpt,
                               const struct pq_model_options *options, struct pq_err *err);
/* Pack the linears of layer `piece` or, piece = config.layers, the head of a sketch of rows into an
 * arena of their own, which the caller closes: out->used bytes, as they follow each other. */
enum pq_status pq_sketch_pack(struct pq_model *sketched, int piece, struct pq_pool *pool,
                              struct pq_arena *out, struct pq_err *err);

/* Plan the rotations that config asks for; they are closed with the model, or by the other. */
enum pq_status pq_model_open_rotations(struct pq_model *model, struct pq_err *err);
void pq_model_close_rotations(struct pq_model *model);

/* The order in which its kernels read panels. */
enum pq_panels pq_model_panels(const struct pq_model *model);

/* Row `id` of the embedding to x [hidden]. */
void pq_model_embed(const struct pq_model *model, int32_t id, float *x);

#endif
