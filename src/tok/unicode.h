/* unicode.h - what Hugging Face's tokenizers library knows of Unicode and the C libraries do not,
 * or the other way round; unicode.inc has the tables, and tools/unicode_tables.py how they are
 * made.  Without them some ids would differ for a few hundred rare characters. */
#ifndef PQ_TOK_UNICODE_H
#define PQ_TOK_UNICODE_H

#include "tok/buffer.h"

/* Append, as the inside of a class of PCRE2, the characters of a general category ("Nd", or "N" for
 * all that begin so) that are newer than Unicode 14. */
enum pq_status pq_unicode_newer(struct pq_buffer *class, const char *category, size_t len,
                                struct pq_err *err);

/* Whether form C leaves the character alone, and with it what might reach across it. */
bool pq_unicode_inert(int32_t code);

#endif
