#include "tok/unicode.h"

#include "tok/unicode.inc"

#include <stdio.h>
#include <string.h>

/* Sorted by their characters. */
static const struct {
    int32_t first, last;
    char category[3];
} newer[] = {PQ_UNICODE_NEWER};

static const struct { int32_t first, last; } inert[] = {PQ_UNICODE_INERT};

enum pq_status pq_unicode_newer(struct pq_buffer *class, const char *category, size_t len,
                                struct pq_err *err) {
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++) {
        char range[32];
        if (strncmp(newer[i].category, category, len) != 0)
            continue;
        snprintf(range, sizeof range, "\\x{%x}-\\x{%x}", (unsigned)newer[i].first,
                 (unsigned)newer[i].last);
        PQ_TRY(pq_buffer_append(class, range, strlen(range), err));
    }
    return PQ_OK;
}

bool pq_unicode_inert(int32_t code) {
    size_t lo = 0, hi = sizeof inert / sizeof inert[0];
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (code > inert[mid].last)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof inert / sizeof inert[0] && code >= inert[lo].first;
}
