/* traces.h - the sequences that calibration runs over: panq.h's struct pq_traces, from a file. */
#ifndef PQ_QUANT_TRACES_H
#define PQ_QUANT_TRACES_H

#include "base/status.h"

/* The same from memory: text [size] bytes; `file` is only named in the sentences. */
enum pq_status pq_traces_parse(struct pq_traces *out, const char *text, size_t size,
                               const char *file, int vocab, struct pq_err *err);

#endif
