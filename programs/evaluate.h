/* evaluate.h - a run of tasks: generate what it lacks, judge it, and keep it. */
#ifndef PQ_PROGRAMS_EVALUATE_H
#define PQ_PROGRAMS_EVALUATE_H

#include "engine.h"
#include "runs.h"

struct pq_eval_options {
    struct pq_engine_options engine;
    const char *tasks, *think, *replies, *out, *baseline;
    int split, limit, shots, batch, max_tokens, samples, top_k;
    float timeout, temperature, top_p, kv_memory; /* kv_memory in GiB; 0 = half of what is free */
    uint64_t seed;
    bool unsafe, json;
};

/* Run, or go on with, what options->out has, with the checkpoint in dir (NULL with --replies).  A
 * baseline of other tasks, or NULL for none, is refused before anything is done.
 * *out receives the run even when Ctrl-C, PQ_ECANCELLED, ended it before its time; it is to be
 * closed in any case. */
enum pq_status pq_evaluate(struct pq_run *out, const struct pq_eval_options *options,
                           const char *dir, const struct pq_run *baseline, struct pq_err *err);

#endif
