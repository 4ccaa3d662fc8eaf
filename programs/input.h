/* input.h - standard input as a text. */
#ifndef PQ_PROGRAMS_INPUT_H
#define PQ_PROGRAMS_INPUT_H

#include "panq.h"

/* All of it, malloc'd, NUL-terminated; *size excludes the NUL.  NULL with *err: it cannot be read.
 */
char *pq_read_input(size_t *size, struct pq_err *err);

#endif
