#include "tok/tokenizer.h"

#include "base/map.h"
#include "io/json.h"
#include "tok/spmodel.h"
#include "tok/utf8.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* SentencePiece counts the bytes of a text, in which a space takes three, in int. */
static const size_t max_text = (size_t)1 << 29;

/* ---- Added tokens ---------------------------------------------------------------------------- */

/* An id as the keys of added_tokens_decoder write it; -1: it is none. */
static int parse_id(const char *key) {
    int id = 0;
    for (const char *c = key; *c; c++) {
        if (*c < '0' || *c > '9' || (c > key && id == 0))
            return -1;
        id = id * 10 + (*c - '0');
        if (id >= PQ_MAX_VOCAB)
            return -1;
    }
    return *key ? id : -1;
}

static enum pq_status read_entry(const struct pq_json *all, const char *key, struct pq_added *out,
                                 struct pq_err *err) {
    int id = parse_id(key);
    if (id < 0)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: key \"added_tokens_decoder.%.64s\" is no id from 0 to %d", all->file,
                       key, PQ_MAX_VOCAB - 1);
    struct pq_json entry;
    const char *text;
    PQ_TRY(pq_json_object(all, key, &entry, err));
    PQ_TRY(pq_json_string(&entry, "content", &text, err));
    size_t len = strlen(text);
    if (len == 0 || len > PQ_MAX_PIECE)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%scontent\" has %zu bytes, not 1 to %d",
                       all->file, entry.path, len, PQ_MAX_PIECE);
    static const char *const unsupported[] = {"lstrip", "rstrip", "single_word"};
    for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++) {
        bool set;
        PQ_TRY(pq_json_bool_or(&entry, unsupported[i], false, &set, err));
        if (set)
            return pq_fail(err, PQ_EUNSUPPORTED,
                           "%s: key \"%s%s\" is true, which panq does not support", all->file,
                           entry.path, unsupported[i]);
    }
    *out = (struct pq_added){text, (int)len, id};
    return PQ_OK;
}

static int compare_added(const void *pa, const void *pb) {
    const struct pq_added *a = pa, *b = pb;
    return strcmp(a->text, b->text);
}

/* Fills tok->added; the texts are the document's until lay_out_text. */
static enum pq_status read_added(struct pq_tokenizer *tok, const struct pq_json *config,
                                 struct pq_err *err) {
    struct pq_json all;
    PQ_TRY(pq_json_object(config, "added_tokens_decoder", &all, err));
    size_t n = json_object_size(all.object);
    tok->added = calloc(n ? n : 1, sizeof *tok->added);
    if (!tok->added)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory for %zu added tokens", config->file, n);
    const char *key;
    json_t *value;
    json_object_foreach(all.object, key, value) {
        PQ_TRY(read_entry(&all, key, &tok->added[tok->n_added], err));
        tok->n_added++;
    }
    qsort(tok->added, n, sizeof *tok->added, compare_added);
    for (int i = 1; i < tok->n_added; i++)
        if (compare_added(&tok->added[i - 1], &tok->added[i]) == 0)
            return pq_fail(err, PQ_EFORMAT, "%s: added tokens %d and %d are both \"%.64s\"",
                           config->file, tok->added[i - 1].id, tok->added[i].id,
                           tok->added[i].text);
    for (int i = 0, byte = 0; byte <= 256; byte++) {
        while (i < tok->n_added && (unsigned char)tok->added[i].text[0] < byte)
            i++;
        tok->first[byte] = i;
    }
    return PQ_OK;
}

/* The first of added[lo .. hi), which are longer than `depth` and share all bytes before it, whose
 * byte there is not below `byte`. */
static int below(const struct pq_added *added, int lo, int hi, int depth, int byte) {
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if ((unsigned char)added[mid].text[depth] < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest added token that text [len], len >= 1, begins with; NULL: none. */
static const struct pq_added *match_added(const struct pq_tokenizer *tok, const char *text,
                                          size_t len) {
    unsigned char byte = (unsigned char)text[0];
    int lo = tok->first[byte], hi = tok->first[byte + 1];
    const struct pq_added *longest = NULL;
    for (int depth = 1; lo < hi; depth++) {
        if (tok->added[lo].len == depth) /* sorted: what ends here comes first */
            longest = &tok->added[lo++];
        if ((size_t)depth == len)
            break;
        byte = (unsigned char)text[depth];
        int start = below(tok->added, lo, hi, depth, byte);
        hi = below(tok->added, start, hi, depth, byte + 1);
        lo = start;
    }
    return longest;
}

int32_t pq_tokenizer_added(const struct pq_tokenizer *tok, const char *text) {
    size_t len = strlen(text);
    const struct pq_added *added = len ? match_added(tok, text, len) : NULL;
    return added && (size_t)added->len == len ? added->id : -1;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* bos_token and its like: a string, or an object that has it as its content. */
static enum pq_status read_special(const struct pq_tokenizer *tok, const struct pq_json *config,
                                   const char *key, int32_t *id, struct pq_err *err) {
    const char *text;
    struct pq_json object;
    if (json_is_object(pq_json_find(config, key))) {
        PQ_TRY(pq_json_object(config, key, &object, err));
        PQ_TRY(pq_json_string(&object, "content", &text, err));
    } else {
        PQ_TRY(pq_json_string(config, key, &text, err));
    }
    int32_t found = pq_tokenizer_added(tok, text);
    if (found < 0)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%s\" is \"%.64s\", which is no added token",
                       config->file, key, text);
    *id = found;
    return PQ_OK;
}

/* Append what a piece decodes to: its bytes, with a space for each U+2581. */
static enum pq_status append_piece(struct pq_buffer *text, const struct pq_piece *piece,
                                   struct pq_err *err) {
    static const char space[] = "\xe2\x96\x81";
    if (piece->type == PQ_PIECE_CONTROL || piece->type == PQ_PIECE_UNKNOWN)
        return PQ_OK;
    if (piece->type == PQ_PIECE_BYTE)
        return pq_buffer_append(text, &piece->byte, 1, err);
    for (int i = 0, step; i < piece->len; i += step) {
        bool is_space = piece->len - i >= 3 && memcmp(piece->text + i, space, 3) == 0;
        step = is_space ? 3 : 1;
        PQ_TRY(pq_buffer_append(text, is_space ? " " : piece->text + i, 1, err));
    }
    return PQ_OK;
}

/* Fill text and ends, from the pieces and, in their place where they share an id, the added
 * tokens; by_id [vocab] is room for those. */
static enum pq_status lay_out_text(struct pq_tokenizer *tok, const struct pq_spmodel *model,
                                   struct pq_added **by_id, struct pq_err *err) {
    for (int i = 0; i < tok->n_added; i++)
        by_id[tok->added[i].id] = &tok->added[i];
    for (int id = 0; id < tok->vocab; id++) {
        const struct pq_added *added = by_id[id];
        if (added)
            PQ_TRY(pq_buffer_append(&tok->text, added->text, (size_t)added->len, err));
        else if (id < model->n)
            PQ_TRY(append_piece(&tok->text, &model->pieces[id], err));
        tok->ends[id + 1] = tok->text.size;
    }
    for (int i = 0; i < tok->n_added; i++)
        tok->added[i].text = tok->text.data + tok->ends[tok->added[i].id];
    return PQ_OK;
}

static enum pq_status make_text(struct pq_tokenizer *tok, const struct pq_spmodel *model,
                                struct pq_err *err) {
    tok->vocab = model->n;
    for (int i = 0; i < tok->n_added; i++)
        if (tok->added[i].id >= tok->vocab)
            tok->vocab = tok->added[i].id + 1;
    struct pq_added **by_id = calloc((size_t)tok->vocab, sizeof(struct pq_added *));
    tok->ends = calloc((size_t)tok->vocab + 1, sizeof *tok->ends);
    enum pq_status status = PQ_ENOMEM;
    if (by_id && tok->ends)
        status = lay_out_text(tok, model, by_id, err);
    else
        pq_fail(err, PQ_ENOMEM, "out of memory for the text of %d tokens", tok->vocab);
    free(by_id);
    return status;
}

static enum pq_status read_config(struct pq_tokenizer *tok, const struct pq_json *config,
                                  struct pq_err *err) {
    PQ_TRY(read_added(tok, config, err));
    PQ_TRY(read_special(tok, config, "bos_token", &tok->bos, err));
    PQ_TRY(read_special(tok, config, "eos_token", &tok->eos, err));
    PQ_TRY(read_special(tok, config, "unk_token", &tok->unk, err));
    return pq_template_find(tok, config->file, err);
}

/* tok is all zero; on failure it is left in parts for pq_tokenizer_close. */
static enum pq_status fill(struct pq_tokenizer *tok, const struct pq_tokenizer_files *files,
                           const struct pq_spmodel *model, json_t *root, struct pq_err *err) {
    struct pq_json config = pq_json_root(root, files->config_file);
    PQ_TRY(read_config(tok, &config, err));
    PQ_TRY(make_text(tok, model, err));
    memcpy(tok->bytes, model->bytes, sizeof tok->bytes);
    return pq_sentencepiece_open(&tok->sp, model->proto.data, model->proto.size, files->model_file,
                                 err);
}

enum pq_status pq_tokenizer_parse(struct pq_tokenizer **out, const struct pq_tokenizer_files *files,
                                  struct pq_err *err) {
    struct pq_spmodel model;
    PQ_TRY(pq_spmodel_read(&model, files->model, files->model_size, files->model_file, err));
    json_t *root = NULL;
    struct pq_tokenizer *tok = calloc(1, sizeof *tok);
    enum pq_status status =
        tok ? pq_json_parse(&root, files->config, files->config_size, files->config_file, err)
            : pq_fail(err, PQ_ENOMEM, "%s: out of memory", files->model_file);
    if (status == PQ_OK)
        status = fill(tok, files, &model, root, err);
    json_decref(root);
    pq_spmodel_close(&model);
    if (status != PQ_OK) {
        pq_tokenizer_close(tok);
        return status;
    }
    *out = tok;
    return PQ_OK;
}

enum pq_status pq_tokenizer_open(struct pq_tokenizer **out, const char *dir, struct pq_err *err) {
    struct pq_map model = {0}, config = {0};
    char *model_file = pq_path_join(dir, "tokenizer.model");
    char *config_file = pq_path_join(dir, "tokenizer_config.json");
    enum pq_status status = PQ_OK;
    if (!model_file || !config_file)
        status = pq_fail(err, PQ_ENOMEM, "%s: out of memory", dir);
    if (status == PQ_OK)
        status = pq_map_open(&model, model_file, err);
    if (status == PQ_OK)
        status = pq_map_open(&config, config_file, err);
    if (status == PQ_OK) {
        struct pq_tokenizer_files files = {(const char *)model.data,
                                           (const char *)config.data,
                                           model.size,
                                           config.size,
                                           model_file,
                                           config_file};
        status = pq_tokenizer_parse(out, &files, err);
    }
    pq_map_close(&config);
    pq_map_close(&model);
    free(config_file);
    free(model_file);
    return status;
}

void pq_tokenizer_close(struct pq_tokenizer *tok) {
    if (!tok)
        return;
    pq_sentencepiece_close(tok->sp);
    free(tok->added);
    free(tok->ends);
    free(tok->text.data);
    free(tok);
}

int pq_tokenizer_vocab(const struct pq_tokenizer *tok) {
    return tok->vocab;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

static enum pq_status append_id(struct pq_buffer *ids, int32_t id, struct pq_err *err) {
    return pq_buffer_append(ids, &id, sizeof id, err);
}

/* text [len] without added tokens: UTF-8 by SentencePiece, other bytes by their own pieces. */
static enum pq_status encode_gap(const struct pq_tokenizer *tok, const char *text, size_t len,
                                 struct pq_buffer *ids, struct pq_err *err) {
    size_t start = 0, at = 0; /* text[start .. at) is UTF-8 and waits */
    while (at < len) {
        int step = pq_utf8_length(text + at, len - at);
        if (step > 0) {
            at += (size_t)step;
            continue;
        }
        if (at > start)
            PQ_TRY(pq_sentencepiece_encode(tok->sp, text + start, at - start, ids, err));
        PQ_TRY(append_id(ids, tok->bytes[(unsigned char)text[at]], err));
        start = ++at;
    }
    return at > start ? pq_sentencepiece_encode(tok->sp, text + start, at - start, ids, err)
                      : PQ_OK;
}

static enum pq_status encode_text(const struct pq_tokenizer *tok, const char *text, size_t len,
                                  struct pq_buffer *ids, struct pq_err *err) {
    size_t start = 0, at = 0; /* text[start .. at) has no added token and waits */
    while (at < len) {
        const struct pq_added *added = match_added(tok, text + at, len - at);
        if (!added) {
            at++;
            continue;
        }
        PQ_TRY(encode_gap(tok, text + start, at - start, ids, err));
        PQ_TRY(append_id(ids, added->id, err));
        start = at += (size_t)added->len;
    }
    return encode_gap(tok, text + start, at - start, ids, err);
}

enum pq_status pq_encode(const struct pq_tokenizer *tok, const char *text, size_t len, bool bos,
                         int32_t **ids, int *n, struct pq_err *err) {
    if (len > max_text)
        return pq_fail(err, PQ_EINVAL, "a text of %zu bytes is longer than %zu", len, max_text);
    struct pq_buffer found = {0};
    enum pq_status status = pq_buffer_reserve(&found, sizeof(int32_t), err); /* never NULL */
    if (status == PQ_OK && bos)
        status = append_id(&found, tok->bos, err);
    if (status == PQ_OK)
        status = encode_text(tok, text, len, &found, err);
    size_t count = found.size / sizeof(int32_t);
    if (status == PQ_OK && count > INT_MAX)
        status =
            pq_fail(err, PQ_EINVAL, "a text of %zu bytes makes %zu tokens, too many", len, count);
    if (status != PQ_OK) {
        free(found.data);
        return status;
    }
    *ids = (int32_t *)(void *)found.data;
    *n = (int)count;
    return PQ_OK;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

const char *pq_tokenizer_text(const struct pq_tokenizer *tok, int32_t id, bool skip_special,
                              size_t *len) {
    bool special = id == tok->bos || id == tok->eos || id == tok->unk;
    if (id >= tok->vocab || (skip_special && special)) {
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
