/* exclude.h - tasks that a model is going to be judged by, and texts in which they must not be.
 *
 * Texts are compared by their letters and digits alone, in lower case: other spacing, line breaks,
 * quotes and indentation make no difference.  A text contains a task when any of these is in it:
 *   HumanEval's fields   the description in the entry point's docstring, up to its first example;
 *                        the line that defines the entry point
 *   MBPP's fields        "text", or "prompt" of the sanitized set
 * Lines of fewer than 24 letters and digits, and other texts of fewer than 12, are not looked for.
 * Paraphrases are not found. */
#ifndef PQ_PROGRAMS_EXCLUDE_H
#define PQ_PROGRAMS_EXCLUDE_H

#include "panq.h"

struct pq_exclusion {
    char **needle;     /* [n] owned, normalized */
    char **task;       /* [n] owned: whose it is, "HumanEval/3" */
    const char **file; /* [n] owned; which file it is of, borrowed */
    int n;
};

/* Add the tasks of a file of JSON lines or a JSON array, gzip'd or not.  On failure *exclusion
 * still wants to be freed. */
enum pq_status pq_exclude_read(struct pq_exclusion *exclusion, const char *path,
                               struct pq_err *err);
void pq_exclusion_free(struct pq_exclusion *exclusion);

/* PQ_EINVAL when text [size] contains a task: the sentence begins with what the text is called and
 * names its line and the task. */
enum pq_status pq_exclude_check(const struct pq_exclusion *exclusion, const char *text, size_t size,
                                const char *called, struct pq_err *err);

#endif
