/* batch.h - many replies at once, greedily: a ragged batch whose slots never wait for each other.
 * A reply that ends leaves its slot to the next prompt at once, so that one forward call mixes
 * chunks of prompts with single tokens. */
#ifndef PQ_PROGRAMS_BATCH_H
#define PQ_PROGRAMS_BATCH_H

#include "engine.h"
#include "panq.h"

struct pq_job {
    int32_t *prompt; /* [n] owned; shorter than the context */
    int n;
    /* Results; texts are owned. */
    char *thinking, *content;
    int thinking_tokens, tokens; /* tokens: all that were generated, the end of the turn too */
    bool ended;                  /* by the end of the turn, not by a limit */
};

void pq_job_free(struct pq_job *job);

struct pq_batch_options {
    int slots;                /* sequences at a time, 1..256 */
    int positions;            /* room of each */
    int max_tokens;           /* longest reply */
    pq_progress_fn *progress; /* counts jobs; may be NULL */
    void *user;
};

/* Generate the replies to jobs [n]. */
enum pq_status pq_batch_generate(const struct pq_engine *engine, struct pq_pool *pool,
                                 struct pq_job *jobs, int n, const struct pq_batch_options *options,
                                 struct pq_err *err);

#endif
