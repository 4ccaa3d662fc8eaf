/* verdicts.h - replies to tasks, and whether their programs pass the tests, found out while other
 * replies are still being generated. */
#ifndef PQ_PROGRAMS_VERDICTS_H
#define PQ_PROGRAMS_VERDICTS_H

#include "batch.h"
#include "sandbox.h"
#include "tasks.h"

struct pq_answer {
    const struct pq_task *task; /* borrowed */
    const char *mode;           /* borrowed; "slow", ... */
    int sample;                 /* 0 .. */
    struct pq_job reply;        /* owned */
    bool passed;
    char reason[160];       /* why not */
    struct pq_answer *next; /* that waits for the same verdict */
};

/* Told of every verdict, once; the answer has it. */
typedef enum pq_status pq_verdict_fn(void *user, struct pq_answer *answer, struct pq_err *err);

struct pq_judge;

/* parallel: how many programs run at a time. */
enum pq_status pq_judge_open(struct pq_judge **out, const struct pq_sandbox *sandbox, int parallel,
                             pq_verdict_fn *verdict, void *user, struct pq_err *err);
void pq_judge_close(struct pq_judge *judge);
/* Take a reply, which must stay where it is until its verdict.  A program that a task has had
 * before is not run again. */
enum pq_status pq_judge_add(struct pq_judge *judge, struct pq_answer *answer, struct pq_err *err);
int pq_judge_waiting(const struct pq_judge *judge); /* answers without a verdict */
/* Go on judging, waiting up to `wait` seconds for a verdict. */
enum pq_status pq_judge_attend(struct pq_judge *judge, double wait, struct pq_err *err);

#endif
