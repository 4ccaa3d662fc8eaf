#include "input.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    MOST_AT_ONCE = 1 << 30,  /* zlib counts what it returns in an int */
    MOST_UNPACKED = 1 << 30, /* a small file can be made that unpacks to more than memory holds */
};

/* As pq_input_read. */
static enum pq_status read_all(char **text, size_t *size, gzFile file, const char *name,
                               struct pq_err *err) {
    size_t used = 0, room = 1 << 16;
    char *bytes = malloc(room);
    for (int got = 1; bytes && got > 0;) {
        size_t left = room - 1 - used;
        got = gzread(file, bytes + used, (unsigned)(left < MOST_AT_ONCE ? left : MOST_AT_ONCE));
        used += got > 0 ? (size_t)got : 0;
        if (used + 1 < room)
            continue;
        if (room >= MOST_UNPACKED && !gzdirect(file)) {
            free(bytes);
            return pq_refuse(err, PQ_EFORMAT, "%s has %zu bytes or more, unpacked", name, used);
        }
        char *larger = room <= SIZE_MAX / 2 ? realloc(bytes, room *= 2) : NULL;
        if (!larger)
            free(bytes);
        bytes = larger;
    }
    if (!bytes)
        return pq_refuse(err, PQ_ENOMEM, "no memory for %s after %zu bytes", name, used);
    int error = Z_OK;
    const char *message = gzerror(file, &error);
    if (error != Z_OK && error != Z_STREAM_END) {
        free(bytes);
        return pq_refuse(err, PQ_EIO, "%s cannot be read: %s", name,
                         error == Z_ERRNO ? strerror(errno) : message);
    }
    bytes[used] = 0;
    *text = bytes;
    *size = used;
    return PQ_OK;
}

enum pq_status pq_input_read(char **text, size_t *size, const char *path, struct pq_err *err) {
    bool standard = strcmp(path, "-") == 0;
    gzFile file = standard ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path, "rb");
    if (!file)
        return pq_refuse(err, PQ_EIO, "%s: %s", path, strerror(errno));
    enum pq_status status = read_all(text, size, file, standard ? "standard input" : path, err);
    gzclose(file);
    return status;
}
