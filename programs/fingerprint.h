/* fingerprint.h - whether files are what they were: 16 hexadecimal digits of FNV-1a.  Against
 * mistakes, not against forgery. */
#ifndef PQ_PROGRAMS_FINGERPRINT_H
#define PQ_PROGRAMS_FINGERPRINT_H

#include "panq.h"

enum { PQ_FINGERPRINT = 17 };

/* All of a file. */
enum pq_status pq_fingerprint_file(char out[PQ_FINGERPRINT], const char *path, struct pq_err *err);
/* The JSON, model and safetensors files of a checkpoint: their names, sizes and contents; of what
 * is longer than 1 MiB, 256 pieces of 4 KiB evenly apart, so that 7B takes no time. */
enum pq_status pq_fingerprint_checkpoint(char out[PQ_FINGERPRINT], const char *dir,
                                         struct pq_err *err);

#endif
