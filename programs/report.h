/* report.h - what the commands print: errors, tables, progress, and numbers for people. */
#ifndef PQ_PROGRAMS_REPORT_H
#define PQ_PROGRAMS_REPORT_H

#include "panq.h"

#include <jansson.h>

/* "panq: <sentence>" on stderr; returns PQ_EXIT_FAILURE. */
int pq_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Write the sentence to *err, if anybody wants it, and return `status`: for the parts of the
 * program that report as the library does. */
enum pq_status pq_refuse(struct pq_err *err, enum pq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

double pq_seconds(void); /* of a clock that only goes forward */

/* 1536 as "1.5 KiB"; into buf [24], which is returned. */
char *pq_human_bytes(double bytes, char buf[24]);
/* 75 s as "1:15"; into buf [24], which is returned. */
char *pq_human_time(double seconds, char buf[24]);

/* json, indented, and a newline on stdout.  Takes the reference.  Returns the exit code. */
int pq_print_json(json_t *json);

/* A table of text whose columns are as wide as they must be.  The first row is its heading; a
 * column is aligned right unless it is among the first `left`. */
struct pq_table {
    int columns, left;
    int n;        /* cells so far */
    char **cells; /* [n], row-major, owned */
};
void pq_table_add(struct pq_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Print and free it. */
void pq_table_print(struct pq_table *table);

/* Progress on stderr: a bar with the time left on a terminal, else a line every ten seconds. */
struct pq_progress {
    double start, last; /* pq_seconds of the beginning and of the last line; zeros to begin */
    bool shown;
};
void pq_progress_show(struct pq_progress *progress, const char *what, double done, double total);
void pq_progress_clear(struct pq_progress *progress);
/* The next Ctrl-C does not end the program: it makes pq_progress_step return false.  The one after
 * it does. */
void pq_progress_catch_interrupt(void);
/* A pq_progress_fn: pq_progress_show on the struct pq_progress, and whether to go on. */
bool pq_progress_step(void *progress, const char *what, uint64_t done, uint64_t total);

#endif
