/* progress.h - how far a quantization has come, for the caller's function. */
#ifndef PQ_QUANT_PROGRESS_H
#define PQ_QUANT_PROGRESS_H

#include "base/status.h"

struct pq_progress {
    pq_progress_fn *fn; /* may be NULL */
    void *user;
    uint64_t done, total; /* bytes of source weights */
};

/* Another `bytes` of the tensor called `what` are done.  PQ_ECANCELLED: the caller wants to stop.
 */
static inline enum pq_status pq_progress_add(struct pq_progress *p, const char *what, size_t bytes,
                                             struct pq_err *err) {
    p->done += bytes;
    if (p->fn && !p->fn(p->user, what, p->done, p->total))
        return pq_fail(err, PQ_ECANCELLED, "stopped at %s", what);
    return PQ_OK;
}

#endif
