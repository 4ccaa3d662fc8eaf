/* generate.h - one reply: the prompt in chunks, then a token at a time. */
#ifndef PQ_PROGRAMS_GENERATE_H
#define PQ_PROGRAMS_GENERATE_H

#include "engine.h"
#include "options.h"
#include "panq.h"

#include <signal.h>

#define PQ_CHUNK 512 /* most tokens of a prompt in one forward call */

/* ---- Options --------------------------------------------------------------------------------- */

struct pq_sampling_options {
    float temperature, top_p, repetition_penalty; /* < 0 = not given */
    int top_k;                                    /* < 0 = not given */
    uint64_t seed;
    bool greedy;
};

#define PQ_SAMPLING_DEFAULTS                                                                       \
    { .temperature = -1, .top_p = -1, .repetition_penalty = -1, .top_k = -1, .seed = UINT64_MAX }

#define PQ_SAMPLING_OPTIONS(type, member)                                                          \
    {.name = "greedy",                                                                             \
     .kind = PQ_OPTION_FLAG,                                                                       \
     .offset = offsetof(type, member.greedy),                                                      \
     .help = "always take the likeliest token"},                                                   \
        {.name = "temperature",                                                                    \
         .kind = PQ_OPTION_FLOAT,                                                                  \
         .value = "T",                                                                             \
         .offset = offsetof(type, member.temperature),                                             \
         .min = 0,                                                                                 \
         .max = 100,                                                                               \
         .help = "sample; 0 is greedy (default: generation_config.json's)"},                       \
        {.name = "top-k",                                                                          \
         .kind = PQ_OPTION_INT,                                                                    \
         .value = "K",                                                                             \
         .offset = offsetof(type, member.top_k),                                                   \
         .min = 0,                                                                                 \
         .max = 1 << 30,                                                                           \
         .help = "sample among the K likeliest tokens; 0 is all"},                                 \
        {.name = "top-p",                                                                          \
         .kind = PQ_OPTION_FLOAT,                                                                  \
         .value = "P",                                                                             \
         .offset = offsetof(type, member.top_p),                                                   \
         .min = 0,                                                                                 \
         .max = 1,                                                                                 \
         .help = "sample among the likeliest tokens that make up P"},                              \
        {.name = "repetition-penalty",                                                             \
         .kind = PQ_OPTION_FLOAT,                                                                  \
         .value = "R",                                                                             \
         .offset = offsetof(type, member.repetition_penalty),                                      \
         .min = 0.01,                                                                              \
         .max = 100,                                                                               \
         .help = "make tokens that were used less likely; 1 is off"},                              \
    {                                                                                              \
        .name = "seed", .kind = PQ_OPTION_U64, .value = "N",                                       \
        .offset = offsetof(type, member.seed), .help = "of the random stream (default: a new one)" \
    }

/* Those of a command that shows replies to somebody. */
struct pq_reply_options {
    struct pq_sampling_options sampling;
    int think; /* enum pq_think; < 0 = the model's default */
    const char *system;
    int max_tokens;
    bool show_thinking;
};

#define PQ_REPLY_DEFAULTS                                                                          \
    { .sampling = PQ_SAMPLING_DEFAULTS, .think = -1, .max_tokens = 4096 }

#define PQ_REPLY_OPTIONS(type, member)                                                             \
    {.name = "think",                                                                              \
     .kind = PQ_OPTION_CHOICE,                                                                     \
     .value = "slow|auto|no",                                                                      \
     .offset = offsetof(type, member.think),                                                       \
     .help = "how to think (default: slow if the model can, else no)"},                            \
        {.name = "show-thinking",                                                                  \
         .kind = PQ_OPTION_FLAG,                                                                   \
         .offset = offsetof(type, member.show_thinking),                                           \
         .help = "show the thinking before the answer"},                                           \
        {.name = "system",                                                                         \
         .kind = PQ_OPTION_TEXT,                                                                   \
         .value = "TEXT",                                                                          \
         .offset = offsetof(type, member.system),                                                  \
         .help = "the system turn (default: the template's)"},                                     \
        {.name = "max-tokens",                                                                     \
         .kind = PQ_OPTION_INT,                                                                    \
         .value = "N",                                                                             \
         .offset = offsetof(type, member.max_tokens),                                              \
         .min = 1,                                                                                 \
         .max = 1 << 30,                                                                           \
         .help = "longest reply, thinking included (default 4096)"},                               \
        PQ_SAMPLING_OPTIONS(type, member.sampling)

/* What was given, over what generation_config.json says: its do_sample false means greedy, unless
 * a temperature is given.  The seed is as given. */
struct pq_sampler_options pq_choose_sampling(const struct pq_engine *engine,
                                             const struct pq_sampling_options *options);
/* The same, with a random seed where none is given, opened. */
enum pq_status pq_open_sampler(struct pq_sampler **out, const struct pq_engine *engine,
                               const struct pq_sampling_options *options, struct pq_err *err);

/* ---- Generation ------------------------------------------------------------------------------ */

enum { PQ_MODES = PQ_THINK_NO + 1, PQ_MODES_TEXT = 32 };

/* The names of the model's modes; returns text, which is empty where there is no template. */
const char *pq_modes_text(const struct pq_tokenizer *tok, const struct pq_config *config,
                          const char *between, char text[PQ_MODES_TEXT]);

/* Whether the model has the mode: PQ_EUNSUPPORTED says that it has not.  *think < 0 becomes its
 * default: slow, else no.  Where there is no template, which pq_chat_encode says, any mode is
 * taken.
 */
enum pq_status pq_choose_think(const struct pq_tokenizer *tok, const struct pq_config *config,
                               int *think, struct pq_err *err);

/* The modes that list, "slow,auto,no", names, each once, into modes; *n receives their number. NULL
 * is all modes that the model has, or "no" where there is no template, which pq_chat_encode says.
 * `option` is named in sentences. */
enum pq_status pq_parse_modes(enum pq_think modes[PQ_MODES], int *n, const char *list,
                              const char *option, const struct pq_engine *engine,
                              struct pq_err *err);

/* Shows what a token added to the reply. */
typedef void pq_show_fn(void *user, enum pq_part part, const char *text, size_t length);

struct pq_generator {
    struct pq_context *ctx;
    struct pq_sampler *sampler;
    struct pq_reply *reply;            /* receives every token */
    float *logits;                     /* [vocab] */
    int32_t *ids;                      /* [positions + 1]: the prompt, then what is generated */
    int n;                             /* how many there are */
    int positions;                     /* room of the context */
    const volatile sig_atomic_t *stop; /* nonzero: end the reply; may be NULL */
    pq_show_fn *show;                  /* may be NULL */
    void *user;
};

struct pq_generated {
    int prompt_tokens; /* fed before the first token, those in the cache left out */
    int tokens;        /* generated, the end of the turn included */
    bool ended;        /* by an end of turn; else the room, max_tokens or *stop ended it */
    double prefill_s, decode_s;
};

/* raw: no template, all of the reply is content. */
enum pq_status pq_generator_open(struct pq_generator *out, const struct pq_engine *engine,
                                 struct pq_sampler *sampler, struct pq_pool *pool, int positions,
                                 bool raw, struct pq_err *err);
void pq_generator_close(struct pq_generator *generator); /* not the sampler */

/* Feed ids[from..to) to slot 0 in chunks, where from is the slot's length; logits of the last into
 * logits [vocab].  Stops early when *stop becomes nonzero (stop may be NULL). */
enum pq_status pq_feed_chunks(struct pq_context *ctx, const int32_t *ids, int from, int to,
                              float *logits, const volatile sig_atomic_t *stop, struct pq_err *err);

/* Generate a reply to ids[0..n) of at most max_tokens.  What the context already holds must be a
 * beginning of ids, shorter than n. */
enum pq_status pq_generate(struct pq_generator *generator, int max_tokens,
                           struct pq_generated *result, struct pq_err *err);

#endif
