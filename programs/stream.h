/* stream.h - a reply on standard output while it comes. */
#ifndef PQ_PROGRAMS_STREAM_H
#define PQ_PROGRAMS_STREAM_H

#include "panq.h"

/* Thinking is dimmed on a terminal and stands between plain markers elsewhere. */
struct pq_stream {
    bool thinking;      /* show the thinking too */
    enum pq_part part;  /* of what was shown last */
    bool waiting;       /* a notice that the model thinks is on the terminal */
    bool line_complete; /* the last thing shown ended in a newline */
};

/* A pq_show_fn; user is the struct. */
void pq_stream_show(void *user, enum pq_part part, const char *text, size_t length);
/* Close what is open, and end the line. */
void pq_stream_end(struct pq_stream *stream);

#endif
