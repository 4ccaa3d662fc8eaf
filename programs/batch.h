/* batch.h - many replies at once: a ragged batch whose slots never wait for each other.  A reply
 * that ends leaves its slot to the next prompt at once, so that one forward call mixes chunks of
 * prompts with single tokens. */
#ifndef PQ_PROGRAMS_BATCH_H
#define PQ_PROGRAMS_BATCH_H

#include "engine.h"
#include "panq.h"

struct pq_job {
    int32_t *prompt; /* [n] owned; shorter than the context */
    int n;
    uint64_t seed; /* of its random stream */
    /* Results; texts and ids are owned. */
    int32_t *ids; /* [tokens] of the reply; ids[answer..tokens) are its answer */
    int answer;
    char *thinking, *content;
    int thinking_tokens, tokens; /* tokens: all that were generated, the end of the turn too */
    bool ended;                  /* by the end of the turn, not by a limit */
};

void pq_job_free(struct pq_job *job);

struct pq_batch_options {
    int slots;       /* most sequences at a time, 1..256 */
    double kv_bytes; /* memory for their KV cache, of which one has it in any case; 0: half of
                        what the system has free */
    int positions;   /* room of each */
    int max_tokens;  /* longest reply */
    const struct pq_sampler_options *sampling; /* the seed aside; no penalty for repetition */
    /* Told of every reply, in the order of their ends. */
    enum pq_status (*done)(void *user, int job, struct pq_err *err);
    /* Called after every forward call; PQ_ECANCELLED asks to stop, and so does any failure. */
    enum pq_status (*step)(void *user, struct pq_err *err);
    void *user;
};

/* What generating took.  A call of the model that runs prompts counts as prefill, though other
 * sequences take a token in it as well; those tokens count nowhere. */
struct pq_batch_stats {
    int slots; /* that the memory had room for */
    size_t kv_bytes, scratch_bytes;
    double prefill_s, decode_s;
    int64_t prefill_tokens, decode_tokens;
};

/* Generate the replies to jobs [n].  A job's reply depends on its prompt, its seed and the options,
 * not on the other jobs. */
enum pq_status pq_batch_generate(const struct pq_engine *engine, struct pq_pool *pool,
                                 struct pq_job *jobs, int n, const struct pq_batch_options *options,
                                 struct pq_batch_stats *stats, struct pq_err *err);

#endif
