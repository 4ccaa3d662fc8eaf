/* bpe.h - merging the bytes of a word into tokens.
 *
 * Byte pair encoding as Sennrich et al., arXiv:1508.07909, section 3.2, applied to bytes (Radford
 * et al., "Language Models are Unsupervised Multitask Learners", section 2.2): of all neighbours
 * that a merge joins, the merge of the lowest rank is done first, the leftmost among equals, until
 * none is left.  With a heap of candidates that is n log n in the bytes of a word. */
#ifndef PQ_TOK_BPE_H
#define PQ_TOK_BPE_H

#include "tok/buffer.h"

struct pq_bpe;

/* Tokens `left` and `right` become `made`; the rank is the place in the array. */
struct pq_merge {
    int32_t left, right, made;
};

/* bytes: the token of each byte, -1 where there is none; merges [n]: of a pair that comes twice the
 * last one counts.  Both are copied. */
enum pq_status pq_bpe_open(struct pq_bpe **out, const int32_t bytes[256],
                           const struct pq_merge *merges, int n, struct pq_err *err);
void pq_bpe_close(struct pq_bpe *bpe);

/* Words that are tokens as they are, whatever the merges would make of them: token id stands for
 * text[ends[id] .. ends[id + 1]), which are borrowed until pq_bpe_close; whole [vocab] says which
 * ids count. */
enum pq_status pq_bpe_whole_words(struct pq_bpe *bpe, const char *text, const size_t *ends,
                                  const bool *whole, int vocab, struct pq_err *err);

/* What encoding needs; not shared between threads.  All zero before its first use. */
struct pq_bpe_scratch {
    struct pq_buffer symbols, heap;
};
void pq_bpe_scratch_close(struct pq_bpe_scratch *scratch);

/* Append the ids, int32_t each, of word [len], any bytes.  A byte without a token is left out, as
 * in Hugging Face's library. */
enum pq_status pq_bpe_encode(const struct pq_bpe *bpe, const char *word, size_t len,
                             struct pq_bpe_scratch *scratch, struct pq_buffer *ids,
                             struct pq_err *err);

#endif
