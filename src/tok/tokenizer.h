/* tokenizer.h - inside a tokenizer: the tables behind pq_encode and pq_decode, and the marks of
 * its chat template.
 *
 * Encoding, as Huawei's class does it: the text is cut at every added token (the leftmost, then the
 * longest; nothing is stripped around it), and SentencePiece encodes each gap on its own.
 * tokenizer_config.json's "add_prefix_space" has no effect there, and none here.
 *
 * decode(encode(text)) == text for all bytes where tokenizer.model keeps whitespace as it is
 * (openPangu's does), with one exception: SentencePiece writes a space as U+2581, so a U+2581 in
 * the text gets the ids of a space and decodes as one.  The ids are the model's, so they win.
 * A byte that is no UTF-8, which no Python string holds, becomes its <0xXX> piece. */
#ifndef PQ_TOK_TOKENIZER_H
#define PQ_TOK_TOKENIZER_H

#include "tok/buffer.h"
#include "tok/sentencepiece.h"

enum { PQ_ROLES = PQ_FUNCTION + 1, PQ_THINKS = PQ_THINK_NO + 1 };

/* A family's chat template.  A turn is
 *     turn role colon content end
 * and the prompt ends in an assistant's turn up to its colon. */
struct pq_template {
    const char *family;
    const char *turn, *end;      /* added tokens around a turn */
    const char *think, *answer;  /* added tokens in front of a reply's parts */
    const char *roles[PQ_ROLES]; /* by enum pq_role */
    const char *colon;
    const char *suffixes[PQ_THINKS]; /* by enum pq_think, at the end of a user turn's content */
    bool opens_with_system;          /* an empty system turn where the messages have none first */
};

struct pq_added {
    const char *text; /* in the tokenizer's text */
    int len, id;
};

struct pq_tokenizer {
    struct pq_sentencepiece *sp; /* owned */
    int vocab;                   /* one more than the highest id */
    struct pq_buffer text;       /* what all ids decode to, one after another, owned */
    size_t *ends;                /* [vocab + 1]: id stands for text[ends[id] .. ends[id + 1]) */
    struct pq_added *added;      /* [n_added], owned, sorted by their bytes */
    int n_added;
    int first[257];        /* added[first[b] .. first[b + 1]) begin with byte b */
    int32_t bytes[256];    /* the id of each byte's piece */
    int32_t bos, eos, unk; /* the ids that skip_special drops */
    const struct pq_template *template;
    int32_t turn, end, think, answer; /* the template's marks */
};

/* pq_tokenizer_open on files in memory: tokenizer.model and tokenizer_config.json, called
 * model_file and config_file in sentences. */
struct pq_tokenizer_files {
    const char *model, *config;
    size_t model_size, config_size;
    const char *model_file, *config_file;
};
enum pq_status pq_tokenizer_parse(struct pq_tokenizer **out, const struct pq_tokenizer_files *files,
                                  struct pq_err *err);

/* The id of the added token `text`; -1: there is none. */
int32_t pq_tokenizer_added(const struct pq_tokenizer *tok, const char *text);

/* The bytes, *len of them, that id >= 0 decodes to; none where skip_special drops it or the
 * tokenizer does not have it (a model's vocabulary may be larger). */
const char *pq_tokenizer_text(const struct pq_tokenizer *tok, int32_t id, bool skip_special,
                              size_t *len);

/* Find the template whose marks are all added tokens (chat.c) and fill template and marks in. */
enum pq_status pq_template_find(struct pq_tokenizer *tok, const char *config_file,
                                struct pq_err *err);

#endif
