/* bench.h - checkpoints measured in turn at the same works, beside what the machine can do. */
#ifndef PQ_PROGRAMS_BENCH_H
#define PQ_PROGRAMS_BENCH_H

#include "engine.h"

enum { PQ_BENCH_MODELS = 8, PQ_BENCH_WORKS = 128, PQ_BENCH_BATCH = 256, PQ_BENCH_REPEAT = 1000 };

/* Prefill of `prompt` tokens in each of `batch` sequences; or, where decode > 0, decoding of so
 * many in each after them.  prompt may be 0 then. */
struct pq_bench_work {
    int batch, prompt, decode;
};

struct pq_bench_subject {
    const char *dir;         /* borrowed */
    struct pq_engine engine; /* owned, as what follows */
    struct pq_context *ctx;
    double *speed[PQ_BENCH_WORKS]; /* [repeat] tokens/s of each work */
    double *share[PQ_BENCH_WORKS]; /* [repeat] of the read speed that each decoding came to */
};

struct pq_bench {
    const struct pq_engine_options *options; /* borrowed */
    struct pq_bench_subject subject[PQ_BENCH_MODELS];
    int subjects;
    struct pq_bench_work work[PQ_BENCH_WORKS];
    int works;
    int repeat;
    struct pq_machine machine;
    int threads;
    int sequences, positions; /* of the contexts: what the works need */
    int32_t *ids;             /* owned [positions], random */
    float *logits;            /* owned [sequences][largest vocabulary] */
};

/* Open the subjects' checkpoints. */
enum pq_status pq_bench_open(struct pq_bench *bench, struct pq_pool *pool, struct pq_err *err);
/* Make room for the works, which fit the models, and measure the machine. */
enum pq_status pq_bench_prepare(struct pq_bench *bench, struct pq_pool *pool, struct pq_err *err);
/* All works, round by round through all checkpoints, so that a slow minute of the machine meets all
 * alike.  The first round warms up and is not counted. */
enum pq_status pq_bench_measure(struct pq_bench *bench, struct pq_pool *pool, struct pq_err *err);
void pq_bench_close(struct pq_bench *bench);

/* What a work came to on a checkpoint. */
struct pq_bench_result {
    double median, least, most; /* tokens a second, of all sequences together */
    double ms;                  /* of the whole prefill, or of a step of decoding, at the median */
    double gops, gbs;           /* at the median; gbs 0 for a prefill */
    double gops_share, gbs_share; /* of the machine's peak; 0 = there is none to compare with */
};
struct pq_bench_result pq_bench_conclude(const struct pq_bench *bench, int subject, int work);

void pq_bench_print(const struct pq_bench *bench);     /* as tables */
int pq_bench_print_json(const struct pq_bench *bench); /* returns the exit code */

#endif
