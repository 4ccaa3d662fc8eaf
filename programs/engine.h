/* engine.h - a checkpoint opened to generate with, and the options that every such command has. */
#ifndef PQ_PROGRAMS_ENGINE_H
#define PQ_PROGRAMS_ENGINE_H

#include "options.h"
#include "panq.h"

struct pq_engine_options {
    int threads;       /* 0 = one per processor */
    const char *isa;   /* NULL = the best */
    int precision;     /* enum pq_precision */
    int kv;            /* enum pq_kv_format */
    bool without_text; /* no tokenizer is wanted */
};

/* Rows of an option table, for `struct pq_engine_options member` in struct type. */
#define PQ_ENGINE_OPTIONS(type, member)                                                            \
    PQ_THREADS_OPTION(type, member.threads),                                                       \
        {.name = "isa",                                                                            \
         .kind = PQ_OPTION_TEXT,                                                                   \
         .value = "NAME",                                                                          \
         .offset = offsetof(type, member.isa),                                                     \
         .help = "use no better instructions than c, avx2, avx512, avx512vnni, ..."},              \
        {.name = "precision",                                                                      \
         .kind = PQ_OPTION_CHOICE,                                                                 \
         .value = "native|fp32",                                                                   \
         .offset = offsetof(type, member.precision),                                               \
         .help = "arithmetic of what is not quantized (default native: BF16)"},                    \
    {                                                                                              \
        .name = "kv", .kind = PQ_OPTION_CHOICE, .value = "native|int8",                            \
        .offset = offsetof(type, member.kv),                                                       \
        .help = "keys and values of past tokens (default native: as precision; int8: half)"        \
    }

struct pq_engine {
    struct pq_checkpoint *ckpt; /* owned, as the others are */
    struct pq_tokenizer *tok;   /* NULL: without_text */
    struct pq_model *model;
    const struct pq_config *config; /* borrowed from ckpt */
    enum pq_kv_format kv;           /* of the contexts that are opened for it */
    double open_s, load_s;          /* until ckpt and tok were open; until all was */
};

/* What --isa names; NULL: no cap. */
enum pq_status pq_isa_option(const char *name, enum pq_isa *isa, struct pq_err *err);

/* Open all of dir; the pool must outlive it. */
enum pq_status pq_engine_open(struct pq_engine *out, const char *dir,
                              const struct pq_engine_options *options, struct pq_pool *pool,
                              struct pq_err *err);
void pq_engine_close(struct pq_engine *engine); /* accepts one of zeros */

/* Memory for rows of logits, which free() releases; NULL: there is none.  It begins with a cache
 * line: all stores of logits would meet two otherwise. */
float *pq_logits_open(size_t rows, int vocab);

/* Whether arg is a directory with a config.json in it. */
bool pq_is_checkpoint(const char *arg);
/* The checkpoint that comes with the program, having said on stderr that it is used; malloc'd.
 * NULL with *err: it is not where it belongs. */
char *pq_builtin_checkpoint(struct pq_err *err);

#endif
