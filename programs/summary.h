/* summary.h - what a run amounts to, mode by mode, alone and against another run. */
#ifndef PQ_PROGRAMS_SUMMARY_H
#define PQ_PROGRAMS_SUMMARY_H

#include "runs.h"

enum { PQ_RUN_MODES = 8 };

struct pq_summary {
    const char *mode;        /* borrowed from the run */
    int tasks;               /* that have a row */
    int replies;             /* rows; tasks x samples */
    int passed;              /* of the replies */
    double pass1, low, high; /* the mean over the tasks, and Wilson's 95 % interval for so many */
    int k;        /* the largest of 1, 2, 5, 10, 20, 50, 100 that every task has samples for */
    double passk; /* pass@k, unbiased */
    double thinking, answer; /* mean tokens of a reply: of its thinking, and of the rest */
    int truncated;           /* replies that a limit cut */
    int loops;               /* replies that go round in circles (loops.h) */
    int thought;             /* replies with a thinking that is not blank */
};

/* Replies of the same task, mode and sample in two runs. */
struct pq_comparison {
    int pairs;
    int both, lost, gained, neither; /* passed in both; in the baseline only; in this run only */
    double retention;                /* passed here for each passed in the baseline; NAN: none */
    double p;                        /* McNemar's exact */
    double thinking, answer;         /* tokens to the baseline's, both over the pairs; NAN: none */
};

/* What the sessions of a run took, all together; 0 where nobody measured. */
struct pq_effort {
    double replies, seconds, per_minute; /* replies */
    double prefill, decode;              /* tokens a second */
    double peak_bytes;
};

/* The modes of the rows into modes; slow, auto and no in this order, then others.  Returns their
 * number. */
int pq_run_modes(const struct pq_run *run, const char *modes[PQ_RUN_MODES]);
void pq_summarize(struct pq_summary *out, const struct pq_run *run, const char *mode);
void pq_compare(struct pq_comparison *out, const struct pq_run *run, const struct pq_run *baseline,
                const char *mode);

/* Of two runs' settings the first of those that make the tasks what they are, and how they are
 * asked, that differs; NULL: replies can be compared. */
const char *pq_other_tasks(const json_t *settings, const json_t *other);

void pq_sum_sessions(struct pq_effort *out, const struct pq_run *run);

/* As JSON; NULL when out of memory.  comparison may be NULL. */
json_t *pq_summary_json(const struct pq_summary *summary, const struct pq_comparison *comparison);

/* Fields of a row or of settings, with "" and 0 where they are missing. */
const char *pq_row_text(const json_t *row, const char *key);
double pq_row_number(const json_t *row, const char *key);
bool pq_row_true(const json_t *row, const char *key);

#endif
