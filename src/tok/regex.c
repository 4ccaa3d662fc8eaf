#define PCRE2_CODE_UNIT_WIDTH 8
#include "tok/regex.h"

#include "tok/unicode.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct pq_regex {
    pcre2_code *code; /* owned */
};

/* ---- Translation ----------------------------------------------------------------------------- */

/* Unicode's White_Space, as the inside of a class. */
#define WHITE_SPACE                                                                                \
    "\\t-\\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"       \
    "\\x{3000}"

struct translation {
    const char *at; /* what is left of the pattern */
    bool in_class;
    struct pq_buffer out;
};

static enum pq_status put(struct translation *t, const char *text, size_t len, struct pq_err *err) {
    return pq_buffer_append(&t->out, text, len, err);
}

static enum pq_status put_text(struct translation *t, const char *text, struct pq_err *err) {
    return put(t, text, strlen(text), err);
}

/* Whether name [len] is a general category or the first letter of some. */
static bool is_category(const char *name, size_t len) {
    static const char *const letters[] = {
        "Cc", "Cf", "Cn", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl",
        "No", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl", "Zp", "Zs"};
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++)
        if ((len == 1 || len == 2) && strncmp(letters[i], name, len) == 0)
            return true;
    return false;
}

/* Put the inside of a class, as a class unless the pattern is in one. */
static enum pq_status put_class(struct translation *t, const char *open, const char *inside,
                                const char *category, size_t len, struct pq_err *err) {
    if (!t->in_class)
        PQ_TRY(put_text(t, open, err));
    PQ_TRY(put_text(t, inside, err));
    if (len > 0) {
        PQ_TRY(put_text(t, "\\p{", err));
        PQ_TRY(put(t, category, len, err));
        PQ_TRY(put_text(t, "}", err));
        PQ_TRY(pq_unicode_newer(&t->out, category, len, err));
    }
    return t->in_class ? PQ_OK : put_text(t, "]", err);
}

/* \p{..} or \P{..}; *length 0: panq does not know it. */
static enum pq_status put_category(struct translation *t, size_t *length, struct pq_err *err) {
    const char *name = t->at + 3, *end = t->at[2] == '{' ? strchr(name, '}') : NULL;
    bool negated = t->at[1] == 'P';
    *length = 0;
    if (!end || !is_category(name, (size_t)(end - name)) || (negated && t->in_class))
        return PQ_OK;
    *length = (size_t)(end + 1 - t->at);
    return put_class(t, negated ? "[^" : "[", "", name, (size_t)(end - name), err);
}

/* The escape at t->at, which begins with a backslash.  *length 0: panq does not know it. */
static enum pq_status put_escape(struct translation *t, size_t *length, struct pq_err *err) {
    char c = t->at[1];
    *length = 2;
    if (c == 's')
        return put_class(t, "[", WHITE_SPACE, "", 0, err);
    if (c == 'S' && !t->in_class)
        return put_class(t, "[^", WHITE_SPACE, "", 0, err);
    if (c == 'd')
        return put_class(t, "[", "", "Nd", 2, err);
    if (c == 'p' || c == 'P')
        return put_category(t, length, err);
    if (c && strchr("rntf\\/.-+*?|()[]{}^$\"'#&~@!%:;,<>=_`", c))
        return put(t, t->at, 2, err);
    *length = 0;
    return PQ_OK;
}

/* The number of bytes of {m}, {m,} or {m,n} at `text`; 0: it is none of them, or another operator
 * follows, which the engines take to mean different things. */
static size_t repeat_length(const char *text) {
    size_t n = 1 + strspn(text + 1, "0123456789");
    if (n == 1 || n > 4)
        return 0;
    if (text[n] == ',')
        n += 1 + strspn(text + n + 1, "0123456789");
    return text[n] == '}' && n < 10 && !strchr("+*{", text[n + 1] ? text[n + 1] : ' ') ? n + 1 : 0;
}

/* How many bytes at t->at both engines read alike outside of a class; 0: panq does not know. */
static size_t plain_length(const char *text) {
    static const char *const groups[] = {"(?i:", "(?:", "(?=", "(?!"};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (strncmp(text, groups[i], strlen(groups[i])) == 0)
            return strlen(groups[i]);
    if (text[0] == '{')
        return repeat_length(text);
    if (text[0] == '(')
        return text[1] != '?' && text[1] != '*';
    return !strchr(".^$]}", text[0]);
}

/* Translate what is at t->at and go on; *length 0: panq does not know it. */
static enum pq_status put_next(struct translation *t, size_t *length, struct pq_err *err) {
    if (*t->at == '\\') {
        PQ_TRY(put_escape(t, length, err));
        t->at += *length;
        return PQ_OK;
    }
    *length = 1;
    if (t->in_class) {
        *length = *t->at != '[' && strncmp(t->at, "&&", 2) != 0; /* Oniguruma's own operators */
        t->in_class = *t->at != ']';
    } else if (*t->at == '[') {
        *length = t->at[1] == '^' ? 2 : 1;
        if (t->at[*length] == ']') /* a literal in one engine, an empty class in the other */
            *length = 0;
        t->in_class = true;
    } else {
        *length = plain_length(t->at);
    }
    PQ_TRY(put(t, t->at, *length, err));
    t->at += *length;
    return PQ_OK;
}

static enum pq_status translate(struct translation *t, const char *file, const char *key,
                                struct pq_err *err) {
    PQ_TRY(pq_buffer_reserve(&t->out, 0, err));
    const char *pattern = t->at;
    while (*t->at) {
        size_t length;
        PQ_TRY(put_next(t, &length, err));
        if (length == 0)
            return pq_fail(err, PQ_EUNSUPPORTED,
                           "%s: key \"%s\" has the pattern \"%.160s\", of which panq does not "
                           "support \"%.24s\"",
                           file, key, pattern, t->at);
    }
    return PQ_OK;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static enum pq_status compile(struct pq_regex *regex, const char *pattern, size_t size,
                              const char *file, const char *key, struct pq_err *err) {
    int fault;
    PCRE2_SIZE where;
    uint32_t matches_empty = 0;
    regex->code =
        pcre2_compile((PCRE2_SPTR)pattern, size, PCRE2_UTF | PCRE2_UCP, &fault, &where, NULL);
    if (!regex->code) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(fault, text, sizeof text);
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%s\" is no pattern that PCRE2 takes: %s", file,
                       key, (const char *)text);
    }
    pcre2_pattern_info(regex->code, PCRE2_INFO_MATCHEMPTY, &matches_empty);
    if (matches_empty)
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "%s: key \"%s\" is a pattern that matches the empty text, which panq does "
                       "not support",
                       file, key);
    pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE); /* where there is none, it is interpreted */
    return PQ_OK;
}

enum pq_status pq_regex_open(struct pq_regex **out, const char *pattern, const char *file,
                             const char *key, struct pq_err *err) {
    struct translation t = {.at = pattern};
    struct pq_regex *regex = calloc(1, sizeof *regex);
    enum pq_status status =
        regex ? translate(&t, file, key, err) : pq_fail(err, PQ_ENOMEM, "%s: out of memory", file);
    if (status == PQ_OK)
        status = compile(regex, t.out.data, t.out.size, file, key, err);
    free(t.out.data);
    if (status == PQ_OK)
        *out = regex;
    else
        pq_regex_close(regex);
    return status;
}

void pq_regex_close(struct pq_regex *regex) {
    if (regex)
        pcre2_code_free(regex->code);
    free(regex);
}

/* ---- Matching -------------------------------------------------------------------------------- */

struct match {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

void pq_regex_scratch_close(struct pq_regex_scratch *scratch) {
    struct match *match = scratch->match;
    if (match) {
        pcre2_match_data_free(match->data);
        pcre2_match_context_free(match->context);
    }
    free(match);
    scratch->match = NULL;
}

static enum pq_status open_match(struct pq_regex_scratch *scratch, struct pq_err *err) {
    struct match *match = scratch->match = calloc(1, sizeof *match);
    if (match) {
        match->data = pcre2_match_data_create(1, NULL);
        match->context = pcre2_match_context_create(NULL);
    }
    if (!match || !match->data || !match->context)
        return pq_fail(err, PQ_ENOMEM, "out of memory to match a pattern");
    return PQ_OK;
}

enum pq_status pq_regex_find(const struct pq_regex *regex, const char *text, size_t len,
                             size_t from, size_t *start, size_t *end,
                             struct pq_regex_scratch *scratch, struct pq_err *err) {
    if (!scratch->match)
        PQ_TRY(open_match(scratch, err));
    struct match *match = scratch->match;
    /* Published patterns try each place of the text a few times; others may try exponentially. */
    uint64_t limit = 1000000 + (uint64_t)16 * len;
    pcre2_set_match_limit(match->context, limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX);
    int n = pcre2_match(regex->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, match->data,
                        match->context);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT)
        n = pcre2_match(regex->code, (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        match->data, match->context);
    if (n == PCRE2_ERROR_NOMEMORY)
        return pq_fail(err, PQ_ENOMEM, "out of memory to match a pattern");
    if (n < 0 && n != PCRE2_ERROR_NOMATCH)
        return pq_fail(err, PQ_EFORMAT,
                       "tokenizer.json: a pattern takes too long on a text of %zu bytes (PCRE2 "
                       "error %d)",
                       len, n);
    const PCRE2_SIZE *found = pcre2_get_ovector_pointer(match->data);
    bool none = n == PCRE2_ERROR_NOMATCH || found[1] <= found[0];
    *start = none ? len : found[0];
    *end = none ? len : found[1];
    return PQ_OK;
}
