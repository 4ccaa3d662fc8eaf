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

/* The tokens of one mode and their share. */
struct pq_moments_mode {
    struct pq_range range;
    float weight; /* > 0 */
};

/* The full-precision model beside the one that is rounded: the same tokens, the same layer. */
struct pq_exact {
    struct pq_stream *stream;
    struct pq_layer layer;
};

struct pq_moments {
    struct pq_stream *stream;            /* borrowed, like the two below */
    const struct pq_moments_mode *modes; /* [n_modes] */
    int n_modes;
    const bool *skip;              /* [tokens]: those whose rows count nothing */
    const struct pq_exact *exact;  /* borrowed; NULL: no cross terms */
    struct pq_workspace workspace; /* for width `widest` */
    int widest;
    float *h;                  /* [k][k] of the input that was gathered last, mirrored */
    float *mode_h;             /* one mode's */
    float *cross, *mode_cross; /* with exact: [k][k] C of target.h, weighted as H is; one mode's */
    float *difference;         /* with exact: [batch][k], x~ - x */
    float *rows;               /* [batch][k] */
    float *length;             /* [2][batch]: of rows, squared; sorted */
    unsigned char *own;        /* of each thread */
    /* Of the input that was gathered last: its rows; those that are too long; the part that they
     * and skipped ones have of all rows' squared lengths. */
    int64_t seen, massive;
    double masked_share;
};

/* Some rows of an input, evenly apart, as they are, [k] the memory of the caller. */
enum { PQ_SAMPLE = 256 };
struct pq_sample {
    float *rows; /* [PQ_SAMPLE][k]: n of those that count */
    float *most; /* [k]: the largest |x_j| of all that count */
    int n;
};

/* For inputs of at most `widest`. */
enum pq_status pq_moments_open(struct pq_moments *out, struct pq_stream *stream,
                               const struct pq_moments_mode *modes, int n_modes, const bool *skip,
                               const struct pq_exact *exact, int widest, struct pq_pool *pool,
                               struct pq_err *err);
void pq_moments_close(struct pq_moments *m);

/* Look at an input of the layer in all modes and set m->h and, with exact, m->cross.  Given a
 * sample it is filled, and the moments are of rows as they are, not rounded.  PQ_EFORMAT: an input
 * that is not finite, naming its token. */
enum pq_status pq_moments_gather(struct pq_moments *m, const struct pq_layer *layer,
                                 enum pq_input input, struct pq_sample *sample, struct pq_err *err);

#endif
