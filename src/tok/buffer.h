/* buffer.h - bytes that grow at the end, geometrically, and are always followed by a NUL. */
#ifndef PQ_TOK_BUFFER_H
#define PQ_TOK_BUFFER_H

#include "base/status.h"

/* All zero is an empty buffer.  data is owned: free(data) when done, or hand it on. */
struct pq_buffer {
    char *data; /* NULL until the first append or reserve */
    size_t size, room;
};

/* Make room for `more` bytes and the NUL, so that appending them cannot fail. */
enum pq_status pq_buffer_reserve(struct pq_buffer *buffer, size_t more, struct pq_err *err);
enum pq_status pq_buffer_append(struct pq_buffer *buffer, const void *bytes, size_t n,
                                struct pq_err *err);

#endif
