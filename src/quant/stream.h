/* stream.h - the residual streams of many sequences on their way through a model, a step at a time.
 *
 * The forward pass takes few tokens through all layers; a calibrated quantizer takes all tokens
 * through one layer, looks at what enters its linears, rounds them, and goes on with what the
 * rounded ones give.  Only one layer's weights are ever in memory. */
#ifndef PQ_QUANT_STREAM_H
#define PQ_QUANT_STREAM_H

#include "model/layer.h"

struct pq_stream {
    struct pq_model model;  /* without weights: config, kernels, angles */
    struct pq_context *ctx; /* owned: the cache of one layer, scratch of one batch */
    int sequences;
    int *first;       /* owned [sequences + 1], the token with which each begins */
    float *x;         /* owned [tokens][hidden], the residual stream */
    float *attention; /* owned [tokens][heads * head_dim], between the two steps of attention */
};

/* Streams of sequences of lengths [n] >= 1, all zeros; the caller fills x in.  FP linears and the
 * cache are of the kind `fp`. */
enum pq_status pq_stream_open(struct pq_stream **out, const struct pq_config *config,
                              enum pq_kind fp, const int *lengths, int n, struct pq_pool *pool,
                              struct pq_err *err);
void pq_stream_close(struct pq_stream *stream);

/* Some of the sequences. */
struct pq_range {
    int first, n;
};

/* The sequences at the beginning of a range of at least one that pass in one call: at least one,
 * and at most stream->ctx->options.batch tokens. */
struct pq_range pq_stream_batch(const struct pq_stream *stream, struct pq_range range);

/* attention = what o takes */
void pq_stream_attention(struct pq_stream *stream, struct pq_range range,
                         const struct pq_layer *layer);
/* x += o(attention) */
void pq_stream_output(struct pq_stream *stream, struct pq_range range,
                      const struct pq_layer *layer);
/* x += down(silu(gate) * up) */
void pq_stream_mlp(struct pq_stream *stream, struct pq_range range, const struct pq_layer *layer);
/* All sequences past the linears that take this input, by the above; gate and up wait for down. */
void pq_stream_pass(struct pq_stream *stream, enum pq_input input, const struct pq_layer *layer);
/* logits [tokens of the range][vocab] */
void pq_stream_head(struct pq_stream *stream, struct pq_range range, const struct pq_linear *linear,
                    float *norm, float *logits);

/* Show the observer the rows of an input, each with the number of its token in the streams.  Of
 * the layer only what makes the input is used: gate and up for PQ_INPUT_DOWN, norms for others. */
void pq_stream_look(struct pq_stream *stream, struct pq_range range, const struct pq_layer *layer,
                    enum pq_input input, const struct pq_observer *observer);

#endif
