/* input.h - a file or standard input as a text. */
#ifndef PQ_PROGRAMS_INPUT_H
#define PQ_PROGRAMS_INPUT_H

#include "panq.h"

/* All of the file at path, or of standard input where that is "-", malloc'd, NUL-terminated; *size
 * excludes the NUL.  NULL with *err: it cannot be read. */
char *pq_read_input(const char *path, size_t *size, struct pq_err *err);

#endif
