#include "tok/tokenizer.h"

#include "tok/nfc.h"
#include "tok/utf8.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* SentencePiece counts the bytes of a text, in which a space takes three, in int. */
static const size_t max_text = (size_t)1 << 29;

/* ---- Parts ----------------------------------------------------------------------------------- */

int32_t pq_tokenizer_added(const struct pq_tokenizer *tok, const char *text) {
    int32_t id = pq_added_find(&tok->raw, text);
    return id >= 0 ? id : pq_added_find(&tok->normalized, text);
}

enum pq_status pq_tokenizer_reserve(struct pq_tokenizer *tok, int vocab, const char *file,
                                    struct pq_err *err) {
    tok->vocab = vocab;
    tok->ends = calloc((size_t)vocab + 1, sizeof *tok->ends);
    tok->special = calloc((size_t)vocab + 1, sizeof *tok->special);
    if (!tok->ends || !tok->special)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory for the text of %d tokens", file, vocab);
    return PQ_OK;
}

enum pq_status pq_tokenizer_named(const struct pq_tokenizer *tok, const struct pq_json *config,
                                  const char *key, int32_t *id, struct pq_err *err) {
    const char *text;
    struct pq_json object;
    *id = -1;
    if (!pq_json_find(config, key))
        return PQ_OK;
    if (json_is_object(pq_json_find(config, key))) {
        PQ_TRY(pq_json_object(config, key, &object, err));
        PQ_TRY(pq_json_string(&object, "content", &text, err));
    } else {
        PQ_TRY(pq_json_string(config, key, &text, err));
    }
    *id = pq_tokenizer_added(tok, text);
    if (*id < 0)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%s\" is \"%.64s\", which is no added token",
                       config->file, key, text);
    return PQ_OK;
}

void pq_tokenizer_close(struct pq_tokenizer *tok) {
    if (!tok)
        return;
    pq_sentencepiece_close(tok->sp);
    pq_bpe_close(tok->bpe);
    pq_splitter_close(&tok->splitter);
    pq_added_close(&tok->raw);
    pq_added_close(&tok->normalized);
    free(tok->ends);
    free(tok->special);
    free(tok->text.data);
    free(tok);
}

int pq_tokenizer_vocab(const struct pq_tokenizer *tok) {
    return tok->vocab;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

/* One call of pq_encode; a pointer to it is the user of every callback below. */
struct encoding {
    const struct pq_tokenizer *tok;
    struct pq_buffer ids; /* int32_t each, owned */
    struct pq_buffer normal;
    struct pq_splitter_scratch splitter;
    struct pq_bpe_scratch bpe;
};

static enum pq_status append_id(void *user, int32_t id, struct pq_err *err) {
    struct encoding *e = user;
    return pq_buffer_append(&e->ids, &id, sizeof id, err);
}

static enum pq_status encode_word(void *user, const char *word, size_t len, struct pq_err *err) {
    struct encoding *e = user;
    return pq_bpe_encode(e->tok->bpe, word, len, &e->bpe, &e->ids, err);
}

/* Normalized text without added tokens. */
static enum pq_status encode_words(void *user, const char *text, size_t len, struct pq_err *err) {
    struct encoding *e = user;
    return pq_splitter_run(&e->tok->splitter, text, len, &e->splitter, encode_word, e, err);
}

/* Whether form C might differ: no character below U+0300 ever changes or composes. */
static bool may_compose(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= 0xcc)
            return true;
    return false;
}

/* UTF-8 without raw added tokens. */
static enum pq_status encode_utf8(struct encoding *e, const char *text, size_t len,
                                  struct pq_err *err) {
    const struct pq_tokenizer *tok = e->tok;
    if (tok->sp)
        return pq_sentencepiece_encode(tok->sp, text, len, &e->ids, err);
    if (tok->nfc && may_compose(text, len)) {
        e->normal.size = 0;
        PQ_TRY(pq_nfc(text, len, &e->normal, err));
        text = e->normal.data;
        len = e->normal.size;
    }
    return pq_added_split(&tok->normalized, text, len, encode_words, append_id, e, err);
}

/* Text without raw added tokens: bytes that are no UTF-8 by their own tokens. */
static enum pq_status encode_gap(void *user, const char *text, size_t len, struct pq_err *err) {
    struct encoding *e = user;
    size_t start = 0, at = 0; /* text[start .. at) is UTF-8 and waits */
    while (at < len) {
        int step = pq_utf8_length(text + at, len - at);
        if (step > 0) {
            at += (size_t)step;
            continue;
        }
        int32_t id = e->tok->bytes[(unsigned char)text[at]];
        if (at > start)
            PQ_TRY(encode_utf8(e, text + start, at - start, err));
        if (id >= 0)
            PQ_TRY(append_id(e, id, err));
        start = ++at;
    }
    return at > start ? encode_utf8(e, text + start, at - start, err) : PQ_OK;
}

enum pq_status pq_encode(const struct pq_tokenizer *tok, const char *text, size_t len, bool bos,
                         int32_t **ids, int *n, struct pq_err *err) {
    if (len > max_text)
        return pq_fail(err, PQ_EINVAL, "a text of %zu bytes is longer than %zu", len, max_text);
    struct encoding e = {.tok = tok};
    enum pq_status status = pq_buffer_reserve(&e.ids, sizeof(int32_t), err); /* never NULL */
    if (status == PQ_OK && bos && tok->bos >= 0)
        status = append_id(&e, tok->bos, err);
    if (status == PQ_OK)
        status = pq_added_split(&tok->raw, text, len, encode_gap, append_id, &e, err);
    size_t count = e.ids.size / sizeof(int32_t);
    if (status == PQ_OK && count > INT_MAX)
        status =
            pq_fail(err, PQ_EINVAL, "a text of %zu bytes makes %zu tokens, too many", len, count);
    pq_splitter_scratch_close(&e.splitter);
    pq_bpe_scratch_close(&e.bpe);
    free(e.normal.data);
    if (status != PQ_OK) {
        free(e.ids.data);
        return status;
    }
    *ids = (int32_t *)(void *)e.ids.data;
    *n = (int)count;
    return PQ_OK;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

const char *pq_tokenizer_text(const struct pq_tokenizer *tok, int32_t id, bool skip_special,
                              size_t *len) {
    if (id >= tok->vocab || (skip_special && tok->special[id])) {
        *len = 0;
        return "";
    }
    *len = tok->ends[id + 1] - tok->ends[id];
    return tok->text.data + tok->ends[id];
}

enum pq_status pq_decode(const struct pq_tokenizer *tok, const int32_t *ids, int n,
                         bool skip_special, char **text, size_t *len, struct pq_err *err) {
    if (n < 0)
        return pq_fail(err, PQ_EINVAL, "%d ids cannot be decoded", n);
    for (int i = 0; i < n; i++)
        if (ids[i] < 0)
            return pq_fail(err, PQ_EINVAL, "id %d at position %d is negative", ids[i], i);
    struct pq_buffer found = {0};
    enum pq_status status = pq_buffer_reserve(&found, 0, err); /* never NULL */
    for (int i = 0; status == PQ_OK && i < n; i++) {
        size_t size;
        const char *piece = pq_tokenizer_text(tok, ids[i], skip_special, &size);
        status = pq_buffer_append(&found, piece, size, err);
    }
    if (status != PQ_OK) {
        free(found.data);
        return status;
    }
    *text = found.data;
    *len = found.size;
    return PQ_OK;
}
