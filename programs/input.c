#include "input.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

char *pq_read_input(size_t *size, struct pq_err *err) {
    size_t used = 0, room = 1 << 16;
    char *text = malloc(room);
    while (text) {
        used += fread(text + used, 1, room - 1 - used, stdin);
        if (used + 1 < room)
            break;
        char *larger = room < SIZE_MAX / 2 ? realloc(text, room *= 2) : NULL;
        if (!larger)
            free(text);
        text = larger;
    }
    if (!text) {
        pq_refuse(err, PQ_ENOMEM, "no memory for standard input after %zu bytes", used);
        return NULL;
    }
    if (ferror(stdin)) {
        free(text);
        pq_refuse(err, PQ_EIO, "standard input cannot be read");
        return NULL;
    }
    text[used] = 0;
    *size = used;
    return text;
}
