#include "input.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All of a stream, as pq_read_input gives it. */
static char *read_stream(FILE *file, const char *name, size_t *size, struct pq_err *err) {
    size_t used = 0, room = 1 << 16;
    char *text = malloc(room);
    while (text) {
        used += fread(text + used, 1, room - 1 - used, file);
        if (used + 1 < room)
            break;
        char *larger = room < SIZE_MAX / 2 ? realloc(text, room *= 2) : NULL;
        if (!larger)
            free(text);
        text = larger;
    }
    if (!text) {
        pq_refuse(err, PQ_ENOMEM, "no memory for %s after %zu bytes", name, used);
        return NULL;
    }
    if (ferror(file)) {
        free(text);
        pq_refuse(err, PQ_EIO, "%s cannot be read: %s", name, strerror(errno));
        return NULL;
    }
    text[used] = 0;
    *size = used;
    return text;
}

char *pq_read_input(const char *path, size_t *size, struct pq_err *err) {
    if (strcmp(path, "-") == 0)
        return read_stream(stdin, "standard input", size, err);
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    if (file)
        text = read_stream(file, path, size, err);
    else
        pq_refuse(err, PQ_EIO, "%s: %s", path, strerror(errno));
    if (file)
        fclose(file);
    return text;
}
