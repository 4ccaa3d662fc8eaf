/* moments.h - the second moments of a linear's inputs over the tokens of calibration, as the
 * kernel sees them: rounded to 8 bits.
 *
 * They are kept apart by mode, for a mode that thinks long must not drown the others:
 *   H = sum_m weight_m H_m / (tr(H_m) / k)
 * A row counts nothing if it is its sequence's BOS, or so long that it would be most of the sum
 * (massive activations, Sun et al., arXiv:2402.17762): what rounding does to it is not what it does
 * to text. */
#ifndef PQ_QUANT_MOMENTS_H
#define PQ_QUANT_MOMENTS_H

#include "quant/hessian.h"
#include "quant/stream.h"

struct pq_moments {
    struct pq_workspace workspace; /* for width `widest` */
    int widest;
    float *h;              /* [k][k] of the input that was gathered last, mirrored */
    float *mode_h;         /* one mode's */
    float *rows;           /* [batch][k] */
    float *length;         /* [2][batch]: of rows, squared; sorted */
    unsigned char *own;    /* of each thread */
    int64_t seen, massive; /* rows so far; those that are too long */
    double masked_share; /* of the squared lengths of the last input's rows: what counts nothing */
};

/* The tokens of one mode and their share. */
struct pq_moments_mode {
    struct pq_range range;
    float weight; /* > 0 */
};

/* For inputs of at most `widest` and batches of `stream`. */
enum pq_status pq_moments_open(struct pq_moments *out, const struct pq_stream *stream, int widest,
                               struct pq_pool *pool, struct pq_err *err);
void pq_moments_close(struct pq_moments *m);

/* Look at an input of the layer in all modes [n] and set m->h.  skip [tokens]: those whose rows
 * count nothing.  PQ_EFORMAT: an input that is not finite, naming its token. */
enum pq_status pq_moments_gather(struct pq_moments *m, struct pq_stream *stream,
                                 const struct pq_moments_mode *modes, int n, const bool *skip,
                                 const struct pq_layer *layer, enum pq_input input,
                                 struct pq_err *err);

#endif
