/* splitter.h - tokenizer.json's "pre_tokenizer": how text is cut into words, which merges never
 * cross.
 *
 * A step runs its pattern over each piece that the step before left, and makes pieces of what
 * matches and of what lies between ("Isolated"); "Digits" is the pattern \p{N} or \p{N}+, and
 * "ByteLevel" with use_regex that of GPT-2.  A piece is a text of its own: no step looks beyond. */
#ifndef PQ_TOK_SPLITTER_H
#define PQ_TOK_SPLITTER_H

#include "io/json.h"
#include "tok/regex.h"

enum { PQ_MAX_STEPS = 8 };

struct pq_splitter {
    struct pq_regex *steps[PQ_MAX_STEPS]; /* [n], owned */
    int n;
    int prefix_step; /* pieces that this step gets (n: the words) have a space in front; -1: none */
};

/* The value of key "pre_tokenizer" of tokenizer.json.  On failure it is left in parts for
 * pq_splitter_close. */
enum pq_status pq_splitter_read(struct pq_splitter *out, const struct pq_json *root,
                                struct pq_err *err);
void pq_splitter_close(struct pq_splitter *splitter);

/* What a run needs; not shared between threads.  All zero before its first use. */
struct pq_splitter_scratch {
    struct pq_regex_scratch regex;
    struct pq_buffer prefixed;
};
void pq_splitter_scratch_close(struct pq_splitter_scratch *scratch);

/* Takes a word, which it borrows. */
typedef enum pq_status pq_word_fn(void *user, const char *word, size_t len, struct pq_err *err);

/* Hand the words of text [len], valid UTF-8, to `word` in their order. */
enum pq_status pq_splitter_run(const struct pq_splitter *splitter, const char *text, size_t len,
                               struct pq_splitter_scratch *scratch, pq_word_fn *word, void *user,
                               struct pq_err *err);

#endif
