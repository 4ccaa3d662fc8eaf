/* tasks.h - programming tasks out of their published files: HumanEval's fields (HumanEval,
 * HumanEval+ in its original format, anything else that has them) and MBPP's (all, sanitized, and
 * MBPP+ with its tests). */
#ifndef PQ_PROGRAMS_TASKS_H
#define PQ_PROGRAMS_TASKS_H

#include "panq.h"

struct pq_task {
    char *id;          /* "HumanEval/0", "Mbpp/11"; owned, as the others are */
    char *message;     /* the user's turn */
    char *stub;        /* code that a reply may complete; MBPP has none, "" */
    char *entry_point; /* the function that the test is about */
    char *reference;   /* defines what the test may use besides; MBPP: "" */
    char *test;        /* a script that raises on a failure */
};

enum pq_split {
    PQ_SPLIT_DEFAULT,
    PQ_SPLIT_TEST,
    PQ_SPLIT_VALIDATION,
    PQ_SPLIT_TRAIN,
    PQ_SPLIT_ALL
};
#define PQ_SPLIT_WORDS "default|test|validation|train|all"
enum { PQ_MOST_SHOTS = 10 }; /* as many as MBPP's prompt split has */

struct pq_tasks {
    struct pq_task *task; /* [n], owned */
    int n;
    const char *format; /* "HumanEval", "MBPP" or "MBPP+" */
    const char *split;  /* "test", ..., "all" */
    /* [2 * n_shots] what goes before every task: a user's turn and its answer by turns; owned, as
     * their texts are */
    struct pq_message *shots;
    int n_shots;
};

/* The tasks of the file, of one split, the first `limit` only (0 = all).  A split is part of MBPP
 * by its task_ids: 11 to 510 test, 511 to 600 validation, 601 to 974 train; the default is "test"
 * for MBPP and all for the others, MBPP+ among them.  `shots` of MBPP's tasks 2, 3, ..., 10 and 1,
 * the first that the file has, become examples. */
enum pq_status pq_tasks_read(struct pq_tasks *out, const char *path, enum pq_split split, int limit,
                             int shots, struct pq_err *err);
void pq_tasks_free(struct pq_tasks *tasks);

#endif
