/* verdicts.h - replies to tasks, and whether their programs pass the tests. */
#ifndef PQ_PROGRAMS_VERDICTS_H
#define PQ_PROGRAMS_VERDICTS_H

#include "batch.h"
#include "sandbox.h"
#include "tasks.h"

struct pq_answer {
    const struct pq_task *task; /* borrowed */
    const char *mode;           /* borrowed; "slow", ... */
    struct pq_job reply;        /* owned */
    bool passed;
    char reason[160]; /* why not */
};

/* Judge the programs in answers [n].  Those that are the same for the same task are judged once.
 * parallel: how many at a time. */
enum pq_status pq_judge_answers(const struct pq_sandbox *sandbox, struct pq_answer *answers, int n,
                                int parallel, pq_progress_fn *progress, void *user,
                                struct pq_err *err);

#endif
