/* runs.h - a run of panq eval on disk: JSON lines that are appended and flushed one by one.
 *
 *   {"run": {...}}          the settings, once, first
 *   {"task_id": ...}        a reply and its verdict, once for each task, mode and sample
 *   {"session": {...}}      what it took, once for each time that panq eval worked on it */
#ifndef PQ_PROGRAMS_RUNS_H
#define PQ_PROGRAMS_RUNS_H

#include "panq.h"

#include <jansson.h>
#include <stdio.h>

struct pq_run {
    const char *path;                   /* borrowed; NULL: in memory only */
    json_t *settings, *rows, *sessions; /* owned: an object and two arrays */
    json_t *known;                      /* the rows by their keys */
    FILE *file;                         /* to append to; NULL: read only, or in memory */
    int resumed;                        /* rows that were there before */
    bool torn;                          /* a torn last line was cut off */
};

/* For reading. */
enum pq_status pq_run_read(struct pq_run *out, const char *path, struct pq_err *err);
/* Begin a run, or go on with the one at path if its settings are the same.  Takes the reference to
 * settings.  Two processes cannot have the same run open.  path NULL keeps it in memory. */
enum pq_status pq_run_open(struct pq_run *out, const char *path, json_t *settings,
                           struct pq_err *err);
void pq_run_close(struct pq_run *run); /* accepts one of zeros */

/* The row of a reply, borrowed; NULL: the run does not have it. */
const json_t *pq_run_row(const struct pq_run *run, const char *task, const char *mode, int sample);
/* Append to rows, and to the file.  Takes the reference. */
enum pq_status pq_run_add_row(struct pq_run *run, json_t *row, struct pq_err *err);
enum pq_status pq_run_add_session(struct pq_run *run, json_t *session, struct pq_err *err);

#endif
