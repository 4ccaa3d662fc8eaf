#include "tok/nfc.h"

#include "tok/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* utf8proc sorts marks by exchanging neighbours, which is quadratic in a run of them.  So it only
 * decomposes and composes here, and marks are sorted as numbers: class, place, character. */
enum { CODE_BITS = 21, PLACE_BITS = 35 };

static int compare(const void *pa, const void *pb) {
    uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;
    return (a > b) - (a < b);
}

/* Put chars [n] into canonical order; keys [n] is room. */
static void order(utf8proc_int32_t *chars, size_t n, uint64_t *keys) {
    for (size_t start = 0, end; start < n; start = end) {
        bool ordered = true;
        for (end = start; end < n; end++) {
            uint64_t class = (uint64_t)utf8proc_get_property(chars[end])->combining_class;
            if (class == 0)
                break;
            keys[end] = class << (CODE_BITS + PLACE_BITS) | (uint64_t)(end - start) << CODE_BITS |
                        (uint64_t)chars[end];
            ordered = ordered && (end == start || keys[end - 1] < keys[end]);
        }
        if (!ordered)
            qsort(keys + start, end - start, sizeof *keys, compare);
        for (size_t i = start; i < end && !ordered; i++)
            chars[i] = (utf8proc_int32_t)(keys[i] & ((1u << CODE_BITS) - 1));
        end += end == start; /* a starter */
    }
}

/* The characters of text [len], decomposed, into chars; returns how many: at most 1.5 for a byte
 * (U+0390 has 3 parts and 2 bytes). */
static size_t decompose(const char *text, size_t len, utf8proc_int32_t *chars, size_t room) {
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        utf8proc_int32_t code;
        int boundary;
        at += (size_t)utf8proc_iterate(bytes + at, (utf8proc_ssize_t)(len - at), &code);
        n += (size_t)utf8proc_decompose_char(code, chars + n, (utf8proc_ssize_t)(room - n),
                                             UTF8PROC_DECOMPOSE, &boundary);
    }
    return n;
}

/* The form C of text [len], which has no inert character; chars and keys [room] are room. */
static enum pq_status compose(const char *text, size_t len, utf8proc_int32_t *chars, uint64_t *keys,
                              size_t room, struct pq_buffer *out, struct pq_err *err) {
    size_t n = decompose(text, len, chars, room);
    order(chars, n, keys);
    n = (size_t)utf8proc_normalize_utf32(chars, (utf8proc_ssize_t)n,
                                         UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (size_t i = 0; i < n; i++) {
        utf8proc_uint8_t bytes[4];
        size_t size = (size_t)utf8proc_encode_char(chars[i], bytes);
        PQ_TRY(pq_buffer_append(out, bytes, size, err));
    }
    return PQ_OK;
}

/* Whether nothing composes with the character or across it.  U+11A7 is among them: utf8proc 2.8
 * takes it for a final consonant of Hangul, the one before the first, and drops it. */
static bool is_inert(utf8proc_int32_t code) {
    return code == 0x11a7 || pq_unicode_inert(code);
}

/* The same for any text, between its inert characters. */
static enum pq_status compose_all(const char *text, size_t len, utf8proc_int32_t *chars,
                                  uint64_t *keys, size_t room, struct pq_buffer *out,
                                  struct pq_err *err) {
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text;
    size_t start = 0; /* text[start .. at) has no inert character and waits */
    for (size_t at = 0, step; at < len; at += step) {
        utf8proc_int32_t code;
        step = (size_t)utf8proc_iterate(bytes + at, (utf8proc_ssize_t)(len - at), &code);
        if (!is_inert(code))
            continue;
        PQ_TRY(compose(text + start, at - start, chars, keys, room, out, err));
        PQ_TRY(pq_buffer_append(out, text + at, step, err));
        start = at + step;
    }
    return compose(text + start, len - start, chars, keys, room, out, err);
}

enum pq_status pq_nfc(const char *text, size_t len, struct pq_buffer *out, struct pq_err *err) {
    size_t room = 2 * len + 1;
    utf8proc_int32_t *chars = malloc(room * sizeof *chars);
    uint64_t *keys = malloc(room * sizeof *keys);
    enum pq_status status = PQ_ENOMEM;
    if (chars && keys)
        status = compose_all(text, len, chars, keys, room, out, err);
    else
        pq_fail(err, PQ_ENOMEM, "out of memory to normalize a text of %zu bytes", len);
    free(keys);
    free(chars);
    return status;
}
