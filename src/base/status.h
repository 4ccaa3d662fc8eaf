/* status.h - the one error convention of the library.
 *
 * A function that can fail returns enum pq_status and takes struct pq_err *err last.  The place
 * that finds the fault writes the sentence; everybody above only passes the status on. */
#ifndef PQ_BASE_STATUS_H
#define PQ_BASE_STATUS_H

#include "panq.h"

/* Write the sentence, if anybody wants it, and return `status`. */
enum pq_status pq_fail(struct pq_err *err, enum pq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Return the status of a call that failed. */
#define PQ_TRY(call)                                                                               \
    do {                                                                                           \
        enum pq_status pq_try_ = (call);                                                           \
        if (pq_try_ != PQ_OK)                                                                      \
            return pq_try_;                                                                        \
    } while (0)

#endif
