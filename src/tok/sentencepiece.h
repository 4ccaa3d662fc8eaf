/* sentencepiece.h - the SentencePiece library, from C.  All its exceptions end here. */
#ifndef PQ_TOK_SENTENCEPIECE_H
#define PQ_TOK_SENTENCEPIECE_H

#include "tok/buffer.h"

struct pq_sentencepiece;

/* model [size] has passed pq_spmodel_read: the library ends the process, or reads beyond its
 * arrays, on some of what that refuses.  `file` is only named in the sentence. */
enum pq_status pq_sentencepiece_open(struct pq_sentencepiece **out, const char *model, size_t size,
                                     const char *file, struct pq_err *err);
void pq_sentencepiece_close(struct pq_sentencepiece *sp);

/* Append the ids, int32_t each, of text [len], valid UTF-8.  Any number of threads may encode. */
enum pq_status pq_sentencepiece_encode(const struct pq_sentencepiece *sp, const char *text,
                                       size_t len, struct pq_buffer *ids, struct pq_err *err);

#endif
