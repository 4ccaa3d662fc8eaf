/* fidelity.h - a checkpoint and others made from it, run over the same tokens and compared. */
#ifndef PQ_PROGRAMS_FIDELITY_H
#define PQ_PROGRAMS_FIDELITY_H

#include "engine.h"
#include "panq.h"
#include "report.h"

/* The parts of a trace whose tokens are predicted: a prompt is given, not predicted. */
enum pq_fidelity_part { PQ_FIDELITY_TEXT, PQ_FIDELITY_THINKING, PQ_FIDELITY_ANSWER };

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
    int flips;                      /* places whose likeliest token is another one */
    double agreement;               /* 1 - flips / n */
    double top_drop;                /* mean fall of the probability of the reference's likeliest */
    double reference_ppl, ppl;      /* exp of the mean loss */
};

/* Of model's (0 .. models-1) predictions in the mode and part; -1: in any.  n = 0: there are none.
 */
enum pq_status pq_fidelity_summarize(struct pq_fidelity_summary *out,
                                     const struct pq_fidelity *fidelity, int model, int mode,
                                     int part, struct pq_err *err);

const char *pq_fidelity_part_name(enum pq_fidelity_part part); /* "text", "thinking", "answer" */

#endif
