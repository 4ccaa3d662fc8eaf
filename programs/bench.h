/* bench.h - checkpoints measured in turn at the same works, beside what the machine can do. */
#ifndef PQ_PROGRAMS_BENCH_H
#define PQ_PROGRAMS_BENCH_H

#include "engine.h"
#include "resident.h"

#include <jansson.h>

enum {
    PQ_BENCH_MODELS = 8,
    PQ_BENCH_WORKS = 128,
    PQ_BENCH_BATCH = 256,
    PQ_BENCH_REPEAT = 1000,
    PQ_BENCH_FIRST = 16
};

/* Prefill of `prompt` tokens in each of `batch` sequences; or, where decode > 0, decoding of so
 * many in each after them.  prompt may be 0 then. */
struct pq_bench_work {
    int batch, prompt, decode;
};

/* A work, once. */
struct pq_bench_round {
    double seconds, speed;        /* tokens/s, of all sequences together */
    double gops_share, gbs_share; /* of what the machine gave then; 0: nothing to compare with */
    struct pq_machine machine;    /* the mean of before and after */
    struct pq_profile profile;
};

/* The way to the first token, from a directory that the page cache may or may not hold. */
struct pq_bench_load {
    double open_s;    /* all files are mapped and checked */
    double weights_s; /* the weights are where products find them */
    double first_s;   /* a context, and the logits after PQ_BENCH_FIRST tokens */
    double resident;  /* bytes that the process had gained when the weights were ready */
};

struct pq_bench_subject {
    const char *dir;         /* borrowed */
    struct pq_engine engine; /* owned, as what follows */
    struct pq_bench_load load;
    struct pq_context *ctx;
    struct pq_bench_round *round[PQ_BENCH_WORKS]; /* [repeat] of each, measured: by speed */
};

struct pq_bench {
    json_t *arguments;                       /* borrowed: an array, what was asked */
    const struct pq_engine_options *options; /* borrowed */
    struct pq_bench_subject subject[PQ_BENCH_MODELS];
    int subjects;
    struct pq_bench_work work[PQ_BENCH_WORKS];
    int works;
    int repeat;
    bool profile;                /* operators are measured, too */
    struct pq_machine machine;   /* the best of before and after all works */
    struct pq_resident resident; /* after all works */
    int threads;
    int sequences, positions; /* of the contexts: what the works need */
    int32_t *ids;             /* owned [positions], random */
    float *logits;            /* owned [sequences][largest vocabulary] */
};

/* Open a subject's checkpoint and measure that. */
enum pq_status pq_bench_load(struct pq_bench *bench, int subject, struct pq_pool *pool,
                             struct pq_err *err);
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

/* An operator, or all of them, in a whole prefill or in a step of decoding. */
struct pq_bench_part {
    double ms, of_all; /* time, and its share of the whole */
    double gops, gbs;
    double share; /* of the limit: the time that arithmetic or memory at their best would take, the
                     longer of the two, to the time taken; 0: there is nothing to compare with */
    bool memory;  /* the longer is memory's */
    double typical_ms, typical_share; /* had all layers taken what their median took */
};

/* The parts of the round at the median (the slower of the two in the middle). */
struct pq_bench_profile {
    struct pq_bench_part part[PQ_OPERATORS];
    struct pq_bench_part between; /* what is left of the whole: no operator */
    struct pq_bench_part all;     /* its limit is the sum of the operators' */
    /* The law that they follow: ms = once_ms + layers (tokens token_us 1e-3 + pairs pair_ns 1e-6),
     * a pair being a token and one that attention shows it, itself among them. */
    double once_ms; /* embedding, head, and between operators */
    double token_us, pair_ns;
};
struct pq_bench_profile pq_bench_profile_of(const struct pq_bench *bench, int subject, int work);

/* "prefill 32 x 1024", "decode 64 at 2048", "decode 32 x 64 at 1024"; into buf, returned. */
const char *pq_bench_work_name(const struct pq_bench_work *work, char buf[64]);
/* "1b (w8a8)" */
const char *pq_bench_label(const struct pq_bench_subject *subject, char buf[256]);
struct pq_table;
/* Cells of a table: GOPS or GB/s, and a share in per cent; "-" where there is none. */
void pq_bench_add_rate(struct pq_table *table, double value);
void pq_bench_add_share(struct pq_table *table, double share);
void pq_bench_print_profile(const struct pq_bench *bench);
json_t *pq_bench_profile_json(const struct pq_bench *bench, int subject, int work);

void pq_bench_print_load(const struct pq_bench *bench); /* and memory */
json_t *pq_bench_load_json(const struct pq_bench_load *load);

void pq_bench_print(const struct pq_bench *bench);     /* as tables */
int pq_bench_print_json(const struct pq_bench *bench); /* returns the exit code */

#endif
