/* tasks.h - files of JSON lines, gzip'd or not: programming tasks in HumanEval's fields, and
 * replies to them. */
#ifndef PQ_PROGRAMS_TASKS_H
#define PQ_PROGRAMS_TASKS_H

#include "panq.h"

#include <jansson.h>

struct pq_task {
    const char *id, *prompt, *entry_point, *solution, *test; /* borrowed from json */
};

struct pq_tasks {
    struct pq_task *task; /* [n] */
    int n;
    json_t *json; /* owned: the lines, an array of objects */
};

/* Every line of the file at path (gzip is recognised by its content) that is not blank, as an array
 * of objects. */
enum pq_status pq_jsonl_read(json_t **out, const char *path, struct pq_err *err);
/* The first `limit` tasks of the file (0 = all); each has all five fields. */
enum pq_status pq_tasks_read(struct pq_tasks *out, const char *path, int limit, struct pq_err *err);
void pq_tasks_free(struct pq_tasks *tasks);

#endif
