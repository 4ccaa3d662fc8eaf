/* windows.h - a text file, cut into windows of equally many tokens. */
#ifndef PQ_PROGRAMS_WINDOWS_H
#define PQ_PROGRAMS_WINDOWS_H

#include "exclude.h"
#include "panq.h"

struct pq_windows_options {
    const char *file;
    const char *fields; /* "prompt,canonical_solution": of JSON lines, these texts, joined; NULL:
                           the file is the text */
    int window;         /* tokens of each, BOS included where the tokenizer has one; >= 2 */
    int n;              /* at most this many windows */
    /* Which: NULL, every so-maniest of those that the text is cut into from its beginning, spread
     * over all of it; else windows that begin at random tokens of this stream. */
    const uint64_t *seed;
    const struct pq_exclusion *exclude; /* what the text must not contain; NULL: nothing */
};

/* The windows as traces of plain text.  PQ_EINVAL: the text is shorter than a window, or contains
 * what it must not. */
enum pq_status pq_windows_read(struct pq_traces *out, const struct pq_windows_options *options,
                               const struct pq_tokenizer *tok, struct pq_err *err);

#endif
