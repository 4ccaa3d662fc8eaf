#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

enum pq_status pq_fail(struct pq_err *err, enum pq_status status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
        /* File names may hold anything; a sentence is one line. */
        for (char *c = err->text; *c; c++)
            if ((unsigned char)*c < ' ' || *c == 0x7f)
                *c = '?';
    }
    return status;
}
