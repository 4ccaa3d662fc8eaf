#include "tok/buffer.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 256 };

enum pq_status pq_buffer_reserve(struct pq_buffer *buffer, size_t more, struct pq_err *err) {
    if (more < buffer->room - buffer->size) /* both zero at first */
        return PQ_OK;
    if (more >= SIZE_MAX / 2 - buffer->size)
        return pq_fail(err, PQ_ENOMEM, "%zu more bytes of text are more than memory holds", more);
    size_t need = buffer->size + more + 1;
    size_t room = need > 2 * buffer->room ? need : 2 * buffer->room;
    if (room < FIRST_ROOM)
        room = FIRST_ROOM;
    char *data = realloc(buffer->data, room);
    if (!data)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %zu bytes of text", room);
    buffer->data = data;
    buffer->room = room;
    data[buffer->size] = 0;
    return PQ_OK;
}

enum pq_status pq_buffer_append(struct pq_buffer *buffer, const void *bytes, size_t n,
                                struct pq_err *err) {
    PQ_TRY(pq_buffer_reserve(buffer, n, err));
    if (n > 0)
        memcpy(buffer->data + buffer->size, bytes, n);
    buffer->size += n;
    buffer->data[buffer->size] = 0;
    return PQ_OK;
}
