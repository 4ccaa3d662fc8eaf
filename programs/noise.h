/* noise.h - signal to noise inside: the residual streams of checkpoints against a reference's.
 *
 * At every point of pq_context_watch two vectors of a token are compared with the reference's: the
 * stream itself, and what the attention or MLP before it has added, both in the reference's basis.
 * A token's noise is |y - x|^2 / |x|^2; the signal to noise of a point is -10 log10 of the mean
 * over tokens, so that a token with massive activations counts as any other.  The first token of a
 * sequence, which has them most often, is left out. */
#ifndef PQ_PROGRAMS_NOISE_H
#define PQ_PROGRAMS_NOISE_H

#include "panq.h"

struct pq_noise_point {
    double stream, added; /* sums of noise over tokens; at point 0 both are of the embeddings */
    double *channel;      /* [width] squares of what is wrong in what was added; borrowed */
};

struct pq_noise_model {
    struct pq_basis *basis;       /* NULL: not found yet, or none */
    bool alien;                   /* none: sums stay 0 */
    struct pq_noise_point *point; /* [points] owned */
    double *channels;             /* owned */
};

struct pq_noise {
    int points, width, rows;      /* 2 * layers + 1; hidden; most tokens of a call */
    int skip;                     /* first tokens of this call that do not count */
    long tokens;                  /* counted so far */
    float *reference;             /* [points][rows][width] of this call, owned */
    float *turned;                /* [2][rows][width] a model's, at even and odd points, owned */
    struct pq_noise_model *model; /* [models] owned */
    int models;
};

enum pq_status pq_noise_open(struct pq_noise *out, int models, int layers, int width, int rows,
                             struct pq_err *err);
void pq_noise_close(struct pq_noise *noise);

/* For contexts of the reference (user: the pq_noise) and of a model (user: a pq_noise_watch): first
 * the reference runs a call, then each model. */
struct pq_noise_watch {
    struct pq_noise *noise;
    int model;
};
void pq_noise_reference(void *user, int point, const float *x, int m);
void pq_noise_compare(void *user, int point, const float *x, int m);

/* In dB, at a point; NAN: unknown, INFINITY: none. */
double pq_noise_stream(const struct pq_noise *noise, int model, int point);
double pq_noise_added(const struct pq_noise *noise, int model, int point);

#endif
