/* nfc.h - Unicode's Normalization Form C (Unicode Standard Annex #15), over utf8proc, for the
 * characters that Hugging Face's library normalizes (unicode.h). */
#ifndef PQ_TOK_NFC_H
#define PQ_TOK_NFC_H

#include "tok/buffer.h"

/* Append the form C of text [len], valid UTF-8.  The time is that of a sort, n log n at worst,
 * whatever marks the text piles up. */
enum pq_status pq_nfc(const char *text, size_t len, struct pq_buffer *out, struct pq_err *err);

#endif
