/* fidelity.h - a checkpoint and others made from it, run over the same tokens and compared. */
#ifndef PQ_PROGRAMS_FIDELITY_H
#define PQ_PROGRAMS_FIDELITY_H

#include "engine.h"
#include "noise.h"
#include "panq.h"
#include "report.h"
#include "worst.h"

/* The parts of a trace whose tokens are predicted: a prompt is given, not predicted. */
enum pq_fidelity_part {
    PQ_FIDELITY_TEXT,
    PQ_FIDELITY_THINKING,
    PQ_FIDELITY_ANSWER,
    PQ_FIDELITY_PARTS
};

enum { PQ_FIDELITY_MODELS = 8 }; /* most that are compared with the reference */

/* One prediction: that of ids[at] from all ids before it. */
struct pq_place {
    int trace; /* index */
    int at;    /* >= 2: what a first token alone predicts says nothing, and it is often BOS */
    enum pq_trace_mode mode;
    enum pq_fidelity_part part;
};

struct pq_fidelity {
    const struct pq_traces *traces;    /* borrowed */
    int models;                        /* that are compared with the first */
    struct pq_place *place;            /* [n] owned */
    struct pq_divergence **divergence; /* [models][n] owned */
    int n;
    struct pq_worst *worst; /* [models] owned */
    struct pq_noise noise;  /* of models of the same shape; points = 0: there are others */
};

/* Run engines[0], the reference, and engines [1..models] over the traces. */
enum pq_status pq_fidelity_measure(struct pq_fidelity *out, const struct pq_engine *engines,
                                   int models, const struct pq_traces *traces, struct pq_pool *pool,
                                   struct pq_progress *progress, struct pq_err *err);
void pq_fidelity_free(struct pq_fidelity *fidelity);

/* What the predictions of some places have in common. */
struct pq_fidelity_summary {
    int n;
    double kl_mean, kl_p99, kl_max; /* of KL(reference || model), nats */
    double kl_error;                /* standard error of the mean, from the traces' means */
    int flips;                      /* places whose likeliest token is another one */
    double agreement;               /* 1 - flips / n */
    double top_drop;                /* mean fall of the probability of the reference's likeliest */
    double reference_ppl, ppl;      /* exp of the mean loss */
};

/* The predictions of one mode and part, or all of them. */
struct pq_fidelity_row {
    const char *mode, *part; /* "slow", "thinking"; "all" */
    struct pq_fidelity_summary model[PQ_FIDELITY_MODELS];
};
enum { PQ_FIDELITY_ROWS = 1 + PQ_TRACE_MODES * PQ_FIDELITY_PARTS };

/* All, and then, where there are several, every mode's parts; *n receives how many rows. */
enum pq_status pq_fidelity_rows(struct pq_fidelity_row rows[PQ_FIDELITY_ROWS], int *n,
                                const struct pq_fidelity *fidelity, struct pq_err *err);

#endif
