/* output.h - a file that appears whole or not at all: written beside and renamed. */
#ifndef PQ_PROGRAMS_OUTPUT_H
#define PQ_PROGRAMS_OUTPUT_H

#include "panq.h"

#include <stdio.h>

struct pq_output {
    FILE *file;       /* to write to, until it is closed */
    const char *path; /* borrowed */
    char *partial;    /* owned */
};

enum pq_status pq_output_open(struct pq_output *out, const char *path, struct pq_err *err);
/* Put the file in its place if status is PQ_OK and all of it could be written, else remove it.
 * Returns status, or what went wrong now. */
enum pq_status pq_output_close(struct pq_output *out, enum pq_status status, struct pq_err *err);

#endif
