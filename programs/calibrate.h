/* calibrate.h - the sequences that a checkpoint is calibrated with: replies that it gives itself,
 * in each of its modes, and windows of plain text. */
#ifndef PQ_PROGRAMS_CALIBRATE_H
#define PQ_PROGRAMS_CALIBRATE_H

#include "engine.h"
#include "options.h"
#include "panq.h"

struct pq_calibrate_options {
    struct pq_engine_options engine;
    const char *out;
    const char *prompts, *modes; /* replies to these, in this list of modes; or NULL */
    const char *text, *fields;   /* windows of this, as pq_windows_read takes it; or NULL */
    struct pq_texts exclude;     /* files of tasks that must not be in prompts or text */
    int limit;                   /* the first prompts only; 0 = all */
    int batch, max_tokens;       /* replies at a time; the longest */
    bool greedy;                 /* else as generation_config.json has it, but for these: */
    float temperature, top_p;    /* < 0 = not given */
    uint64_t seed;               /* of the replies and of the windows */
    int window, samples;         /* tokens of a window; how many windows */
    bool json;
};

/* What was written of one mode. */
struct pq_calibrate_count {
    int sequences, cut;               /* cut: replies that did not end */
    int64_t prompt, thinking, answer; /* tokens; of plain text all are answer */
};

/* Write traces of the checkpoint in dir to options->out, which appears whole or not at all.
 * counts [PQ_TRACE_MODES] receive what is in it. */
enum pq_status pq_calibrate(struct pq_calibrate_count *counts,
                            const struct pq_calibrate_options *options, const char *dir,
                            struct pq_err *err);

#endif
