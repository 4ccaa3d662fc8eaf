#include "tok/utf8.h"

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
