/* jsonl.h - files of JSON lines, gzip'd or not. */
#ifndef PQ_PROGRAMS_JSONL_H
#define PQ_PROGRAMS_JSONL_H

#include "panq.h"

#include <jansson.h>

/* The objects of text [size]: one a line, blank lines aside, or all of them in one JSON array.
 * name is what errors call it. */
enum pq_status pq_jsonl_parse(json_t **out, const char *text, size_t size, const char *name,
                              struct pq_err *err);
/* The same of the file at path, as input.h reads it. */
enum pq_status pq_jsonl_read(json_t **out, const char *path, struct pq_err *err);
/* The same of a file of lines that a program appends to: a last line that is damaged or has no
 * newline was torn when that program ended and is left out.  *whole receives the bytes up to it. */
enum pq_status pq_jsonl_read_torn(json_t **out, size_t *whole, const char *path,
                                  struct pq_err *err);

#endif
