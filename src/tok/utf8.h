/* utf8.h - where UTF-8 characters begin and end (RFC 3629: no overlong forms, no surrogates). */
#ifndef PQ_TOK_UTF8_H
#define PQ_TOK_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#define PQ_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD, 3 bytes */

enum { PQ_UTF8_BAD = -1, PQ_UTF8_CUT = 0 };

/* The length, 1 .. 4, of the character that text [n], n >= 1, begins with; PQ_UTF8_CUT when all n
 * bytes are the beginning of one; PQ_UTF8_BAD when the first byte belongs to none. */
int pq_utf8_length(const char *text, size_t n);

/* Leave out whitespace at both ends of *text [*len], as Python's str.strip does. */
void pq_utf8_trim(const char **text, size_t *len);

#endif
