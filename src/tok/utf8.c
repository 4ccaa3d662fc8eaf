#include "tok/utf8.h"

#include <string.h>

/* Bytes that the lead byte promises; 0: no lead byte. */
static int promised(unsigned char lead) {
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

int pq_utf8_length(const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    int length = promised(s[0]);
    if (length == 0)
        return PQ_UTF8_BAD;
    /* The second byte rules out overlong forms, surrogates and what lies above U+10FFFF. */
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    for (int i = 1; i < length; i++) {
        if ((size_t)i == n)
            return PQ_UTF8_CUT;
        if (s[i] < low || s[i] > high)
            return PQ_UTF8_BAD;
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

/* The length of the whitespace character that text [n] begins with; 0: it begins with none. */
static size_t space_length(const char *text, size_t n) {
    static const char *const spaces[] = {
        " ",      "\t",     "\n",       "\v",     "\f",     "\r",     "\x1c",   "\x1d",
        "\x1e",   "\x1f",   "\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002",
        "\u2003", "\u2004", "\u2005",   "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
        "\u2028", "\u2029", "\u202f",   "\u205f", "\u3000",
    };
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        size_t length = strlen(spaces[i]);
        if (length <= n && memcmp(text, spaces[i], length) == 0)
            return length;
    }
    return 0;
}

void pq_utf8_trim(const char **text, size_t *len) {
    size_t step;
    while ((step = space_length(*text, *len)) > 0) {
        *text += step;
        *len -= step;
    }
    for (size_t length = 1; length <= 3 && length <= *len; length++)
        if (space_length(*text + *len - length, length) == length) {
            *len -= length;
            length = 0;
        }
}
