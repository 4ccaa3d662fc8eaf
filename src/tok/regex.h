/* regex.h - the patterns of tokenizer.json, run by PCRE2.
 *
 * Hugging Face's library runs them with Oniguruma.  What both engines read alike is passed on,
 * what they read differently is rewritten (\s, whose set of characters is Unicode's White_Space in
 * Oniguruma and another one in PCRE2), and everything else is refused. */
#ifndef PQ_TOK_REGEX_H
#define PQ_TOK_REGEX_H

#include "tok/buffer.h"

struct pq_regex;

/* `file` and `key` name the pattern in the sentences.  PQ_EUNSUPPORTED: it has something that panq
 * does not know both engines to read alike, or it matches the empty text. */
enum pq_status pq_regex_open(struct pq_regex **out, const char *pattern, const char *file,
                             const char *key, struct pq_err *err);
void pq_regex_close(struct pq_regex *regex);

/* What one match after another needs; not shared between threads.  All zero before its first use.
 */
struct pq_regex_scratch {
    void *match; /* owned */
};
void pq_regex_scratch_close(struct pq_regex_scratch *scratch);

/* The first match in text [len], valid UTF-8, that begins at `from` or later: text[*start .. *end).
 * Where there is none, *start and *end are len.  PQ_EFORMAT: the pattern takes too long. */
enum pq_status pq_regex_find(const struct pq_regex *regex, const char *text, size_t len,
                             size_t from, size_t *start, size_t *end,
                             struct pq_regex_scratch *scratch, struct pq_err *err);

#endif
