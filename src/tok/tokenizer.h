/* tokenizer.h - inside a tokenizer: the tables behind pq_encode and pq_decode, and the marks of
 * its chat template.
 *
 * There are two kinds, which share all but the middle of encoding:
 *
 *   text -> cut at added tokens -> tokenizer.model: SentencePiece encodes each gap
 *                               -> tokenizer.json: NFC, words (splitter.h), merges (bpe.h)
 *
 * The text is cut at the leftmost added token, then the longest, and nothing is stripped around it.
 *
 * decode(encode(text)) == text for all bytes, where tokenizer.model keeps whitespace as it is
 * (openPangu's does) and tokenizer.json neither normalizes nor prefixes a space, with these
 * exceptions: SentencePiece writes a space as U+2581, so a U+2581 in the text gets the ids of a
 * space and decodes as one; and a byte for which a vocabulary of tokenizer.json has no token is
 * left out (SmolLM2 has none for 21, as 0x04).  The ids are Hugging Face's, so they win.  A byte
 * that is no UTF-8, which no Python string holds, becomes its byte's token. */
#ifndef PQ_TOK_TOKENIZER_H
#define PQ_TOK_TOKENIZER_H

#include "io/json.h"
#include "tok/added.h"
#include "tok/bpe.h"
#include "tok/sentencepiece.h"
#include "tok/splitter.h"
#include "tok/template.h"

struct pq_tokenizer {
    struct pq_sentencepiece *sp; /* owned; NULL: tokenizer.json */
    struct pq_bpe *bpe;          /* owned; NULL: tokenizer.model, for which the next two are not */
    struct pq_splitter splitter;
    bool nfc;
    int vocab;                      /* one more than the highest id */
    struct pq_buffer text;          /* what all ids decode to, one after another, owned */
    size_t *ends;                   /* [vocab + 1]: id stands for text[ends[id] .. ends[id + 1]) */
    bool *special;                  /* [vocab], owned: the ids that skip_special drops */
    struct pq_added_set raw;        /* added tokens found in the text as it is */
    struct pq_added_set normalized; /* those found in a normalized gap between them */
    int32_t bytes[256];             /* the id of each byte's own token; -1: it has none */
    int32_t bos;                    /* that pq_encode puts in front; -1: none */
    int32_t eos;                    /* -1: none */
    const struct pq_template *template; /* NULL: the checkpoint has none that panq knows, */
    struct pq_err no_template;          /* as this sentence says */
    int32_t end, think, answer;         /* the template's marks; -1: none */
};

/* pq_tokenizer_open on files in memory; data NULL: there is no such file.  The names are for
 * sentences. */
struct pq_tokenizer_file {
    const char *data, *name;
    size_t size;
};
struct pq_tokenizer_files {
    struct pq_tokenizer_file model;  /* tokenizer.model, */
    struct pq_tokenizer_file json;   /* or tokenizer.json */
    struct pq_tokenizer_file config; /* tokenizer_config.json; tokenizer.json can do without */
    struct pq_tokenizer_file jinja;  /* chat_template.jinja, which goes before the config's */
};
enum pq_status pq_tokenizer_parse(struct pq_tokenizer **out, const struct pq_tokenizer_files *files,
                                  struct pq_err *err);

/* The id of the added token `text`; -1: there is none. */
int32_t pq_tokenizer_added(const struct pq_tokenizer *tok, const char *text);

/* The bytes, *len of them, that id >= 0 decodes to; none where skip_special drops it or the
 * tokenizer does not have it (a model's vocabulary may be larger). */
const char *pq_tokenizer_text(const struct pq_tokenizer *tok, int32_t id, bool skip_special,
                              size_t *len);

/* ---- The two kinds, for tokenizer_open.c ----------------------------------------------------- */

/* Fill a tokenizer of zeros from its files; config is tokenizer_config.json, for tokenizer.json
 * perhaps an empty object.  On failure it is left in parts for pq_tokenizer_close. */
enum pq_status pq_tokenizer_read_model(struct pq_tokenizer *tok,
                                       const struct pq_tokenizer_files *files,
                                       const struct pq_json *config, struct pq_err *err);
enum pq_status pq_tokenizer_read_json(struct pq_tokenizer *tok,
                                      const struct pq_tokenizer_files *files,
                                      const struct pq_json *config, struct pq_err *err);

/* Allocate ends and special for ids 0 .. vocab-1. */
enum pq_status pq_tokenizer_reserve(struct pq_tokenizer *tok, int vocab, const char *file,
                                    struct pq_err *err);
/* The id that bos_token or its like names in tokenizer_config.json: an added token as a string, or
 * as an object that has it as its content.  -1: the key is absent. */
enum pq_status pq_tokenizer_named(const struct pq_tokenizer *tok, const struct pq_json *config,
                                  const char *key, int32_t *id, struct pq_err *err);

#endif
