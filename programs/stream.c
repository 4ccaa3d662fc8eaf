#include "stream.h"

#include <stdio.h>
#include <unistd.h>

static void leave_part(struct pq_stream *stream) {
    if (stream->waiting)
        fputs("\r\033[K", stderr);
    stream->waiting = false;
    if (stream->part != PQ_PART_THINKING)
        return;
    if (isatty(STDOUT_FILENO))
        fputs("\033[0m\n\n", stdout);
    else
        fputs("\n[/thinking]\n", stdout);
    stream->line_complete = true;
}

static void enter_part(struct pq_stream *stream, enum pq_part part) {
    leave_part(stream);
    stream->part = part;
    if (part == PQ_PART_THINKING)
        fputs(isatty(STDOUT_FILENO) ? "\033[2m" : "[thinking]\n", stdout);
}

void pq_stream_show(void *user, enum pq_part part, const char *text, size_t length) {
    struct pq_stream *stream = user;
    if (part == PQ_PART_THINKING && !stream->thinking) {
        if (!stream->waiting && isatty(STDERR_FILENO) && isatty(STDOUT_FILENO)) {
            fputs("\033[2mthinking ...\033[0m", stderr);
            stream->waiting = true;
        }
        return;
    }
    if (part != stream->part)
        enter_part(stream, part);
    fwrite(text, 1, length, stdout);
    fflush(stdout);
    stream->line_complete = text[length - 1] == '\n';
}

void pq_stream_end(struct pq_stream *stream) {
    bool shown = stream->part != PQ_PART_NONE;
    leave_part(stream);
    if (shown && !stream->line_complete)
        putchar('\n');
    fflush(stdout);
    stream->part = PQ_PART_NONE;
}
