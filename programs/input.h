/* input.h - a file or standard input as a text. */
#ifndef PQ_PROGRAMS_INPUT_H
#define PQ_PROGRAMS_INPUT_H

#include "panq.h"

/* All of the file at path, or of standard input where that is "-", malloc'd and NUL-terminated;
 * gzip is recognised by its content.  *size excludes the NUL. */
enum pq_status pq_input_read(char **text, size_t *size, const char *path, struct pq_err *err);

#endif
