/* The tokenizers that have a tokenizer.json, the file of Hugging Face's tokenizers library: byte-
 * level BPE as Llama 3, Qwen and SmolLM have it.  Everything in the file is understood or refused;
 * tokenizer_config.json only says what BOS and EOS are.
 *
 * The vocabulary writes bytes as characters, GPT-2's way (encoder.py, bytes_to_unicode): printable
 * Latin-1 as itself, the others as U+0100 and what follows, in their order. */
#include "io/keys.h"
#include "tok/nfc.h"
#include "tok/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reading {
    struct pq_tokenizer *tok;
    json_t *vocab;         /* token to id, all valid; borrowed from the document */
    int n_ids;             /* one more than the highest id of a token or an added token */
    const char **tokens;   /* [n_ids] by id, borrowed from the document; NULL: none */
    const char **contents; /* [n_ids] of the added tokens, likewise */
    bool *whole;           /* [n_ids] tokens that are text, which a word may be as a whole */
    struct pq_merge *merges;
    int n_merges;
};

/* ---- Bytes as characters --------------------------------------------------------------------- */

static bool is_itself(int byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
}

/* The character of each byte, U+0021 to U+0143, in UTF-8 and NUL-terminated. */
struct alphabet {
    char text[256][3];
    int16_t byte[0x144]; /* the byte of a character; -1: it stands for none */
};

static void fill_alphabet(struct alphabet *a) {
    memset(a, 0, sizeof *a);
    memset(a->byte, 0xff, sizeof a->byte);
    for (int byte = 0, other = 0x100; byte < 256; byte++) {
        int code = is_itself(byte) ? byte : other++;
        a->byte[code] = (int16_t)byte;
        if (code < 0x80) {
            a->text[byte][0] = (char)code;
        } else {
            a->text[byte][0] = (char)(0xc0 | code >> 6);
            a->text[byte][1] = (char)(0x80 | (code & 0x3f));
        }
    }
}

/* Append the bytes that the characters of `token` stand for.  *mapped false: one of them stands for
 * none; the token, which no merge reaches, is text as it is then. */
static enum pq_status append_token(struct pq_buffer *text, const char *token,
                                   const struct alphabet *a, bool *mapped, struct pq_err *err) {
    size_t start = text->size;
    *mapped = true;
    for (const unsigned char *c = (const unsigned char *)token; *c && *mapped; c++) {
        int code = *c >= 0xe0 ? 0x144 : *c;
        if (*c >= 0xc0 && *c < 0xe0) {
            c++;
            code = (code & 0x1f) << 6 | (*c & 0x3f);
        }
        *mapped = code < 0x144 && a->byte[code] >= 0;
        if (*mapped)
            PQ_TRY(pq_buffer_append(text, &(char){(char)a->byte[code]}, 1, err));
    }
    if (*mapped)
        return PQ_OK;
    text->size = start;
    return pq_buffer_append(text, token, strlen(token), err);
}

/* ---- The vocabulary -------------------------------------------------------------------------- */

static enum pq_status read_vocab(struct reading *r, const struct pq_json *model,
                                 struct pq_err *err) {
    struct pq_json vocab;
    const char *token;
    json_t *value;
    PQ_TRY(pq_json_object(model, "vocab", &vocab, err));
    r->vocab = vocab.object;
    json_object_foreach(vocab.object, token, value) {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= PQ_MAX_VOCAB)
            return pq_fail(err, PQ_EFORMAT,
                           "%s: key \"model.vocab.%.64s\" is %s, not an integer from 0 to %d",
                           vocab.file, token, pq_json_show(value).text, PQ_MAX_VOCAB - 1);
        if (id >= r->n_ids)
            r->n_ids = (int)id + 1;
    }
    return PQ_OK;
}

/* The id of a token; -1: the vocabulary does not have it. */
static int32_t find(const struct reading *r, const char *token) {
    const json_t *value = json_object_get(r->vocab, token);
    return value ? (int32_t)json_integer_value(value) : -1;
}

/* One entry of added_tokens.  The library gives a token that is not in the vocabulary the next free
 * id whatever the file says, so anything else is damage. */
static enum pq_status read_added(struct reading *r, const struct pq_json *at, int *next,
                                 struct pq_err *err) {
    const char *text;
    int id;
    bool normalized;
    PQ_TRY(pq_keys_only(at, "id content single_word lstrip rstrip normalized special", err));
    PQ_TRY(pq_json_string(at, "content", &text, err));
    PQ_TRY(pq_json_int(at, "id", 0, PQ_MAX_VOCAB - 1, &id, err));
    PQ_TRY(pq_keys_false(at, "lstrip", err));
    PQ_TRY(pq_keys_false(at, "rstrip", err));
    PQ_TRY(pq_keys_false(at, "single_word", err));
    PQ_TRY(pq_json_bool_or(at, "normalized", false, &normalized, err));
    int expected = find(r, text) >= 0 ? find(r, text) : *next;
    if (id != expected)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%sid\" is %d, where the vocabulary makes it %d",
                       at->file, at->path, id, expected);
    if (id >= *next)
        *next = id + 1;
    if (id >= r->n_ids)
        r->n_ids = id + 1;
    struct pq_buffer normal = {0};
    enum pq_status status = pq_buffer_append(&normal, text, 0, err);
    if (status == PQ_OK && normalized && r->tok->nfc)
        status = pq_nfc(text, strlen(text), &normal, err);
    else if (status == PQ_OK)
        status = pq_buffer_append(&normal, text, strlen(text), err);
    if (status == PQ_OK)
        status = pq_added_put(normalized ? &r->tok->normalized : &r->tok->raw, normal.data,
                              normal.size, id, at->file, at->path, err);
    free(normal.data);
    return status;
}

static enum pq_status read_all_added(struct reading *r, const struct pq_json *root,
                                     struct pq_err *err) {
    json_t *list;
    int next = (int)json_object_size(r->vocab);
    if (!pq_json_find(root, "added_tokens"))
        return PQ_OK;
    PQ_TRY(pq_keys_array(root, "added_tokens", &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct pq_json entry;
        PQ_TRY(pq_keys_entry(root, "added_tokens", i, &entry, err));
        PQ_TRY(read_added(r, &entry, &next, err));
    }
    PQ_TRY(pq_added_sort(&r->tok->raw, root->file, err));
    return pq_added_sort(&r->tok->normalized, root->file, err);
}

/* Put every token, and every added token, in its place by id. */
static enum pq_status sort_by_id(struct reading *r, const struct pq_json *root,
                                 struct pq_err *err) {
    const char *token;
    json_t *value;
    size_t i;
    json_object_foreach(r->vocab, token, value) {
        json_int_t id = json_integer_value(value);
        if (r->tokens[id])
            return pq_fail(err, PQ_EFORMAT,
                           "%s: key \"model.vocab\" has id %d twice: \"%.64s\" and \"%.64s\"",
                           root->file, (int)id, r->tokens[id], token);
        r->tokens[id] = token;
    }
    json_array_foreach(pq_json_find(root, "added_tokens"), i, value) {
        json_int_t id = json_integer_value(json_object_get(value, "id"));
        r->contents[id] = json_string_value(json_object_get(value, "content"));
        r->tok->special[id] = json_is_true(json_object_get(value, "special"));
    }
    return PQ_OK;
}

static enum pq_status lay_out_text(struct reading *r, const struct alphabet *a,
                                   struct pq_err *err) {
    struct pq_tokenizer *tok = r->tok;
    PQ_TRY(pq_buffer_reserve(&tok->text, 0, err));
    for (int id = 0; id < r->n_ids; id++) {
        const char *content = r->contents[id];
        if (content)
            PQ_TRY(pq_buffer_append(&tok->text, content, strlen(content), err));
        else if (r->tokens[id])
            PQ_TRY(append_token(&tok->text, r->tokens[id], a, &r->whole[id], err));
        tok->ends[id + 1] = tok->text.size;
    }
    for (int byte = 0; byte < 256; byte++)
        tok->bytes[byte] = find(r, a->text[byte]);
    return PQ_OK;
}

/* ---- Merges ---------------------------------------------------------------------------------- */

/* The two tokens of entry i, "left right" or ["left", "right"]: *right follows a space in the same
 * string, or is NUL-terminated like *left. */
static bool split_merge(const json_t *entry, const char **left, size_t *n_left,
                        const char **right) {
    if (json_is_array(entry)) {
        *left = json_string_value(json_array_get(entry, 0));
        *right = json_string_value(json_array_get(entry, 1));
        *n_left = *left ? strlen(*left) : 0;
        return *left && *right && json_array_size(entry) == 2;
    }
    const char *space = json_is_string(entry) ? strchr(json_string_value(entry), ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return false;
    *left = json_string_value(entry);
    *n_left = (size_t)(space - *left);
    *right = space + 1;
    return true;
}

static enum pq_status read_merge(struct reading *r, const char *file, size_t i, const json_t *entry,
                                 struct pq_buffer *made, struct pq_err *err) {
    const char *left, *right;
    size_t n_left;
    if (!split_merge(entry, &left, &n_left, &right))
        return pq_fail(err, PQ_EFORMAT, "%s: key \"model.merges[%zu]\" is %s, not two tokens", file,
                       i, pq_json_show(entry).text);
    struct pq_merge merge;
    made->size = 0;
    PQ_TRY(pq_buffer_append(made, left, n_left, err));
    merge.left = find(r, made->data);
    merge.right = find(r, right);
    PQ_TRY(pq_buffer_append(made, right, strlen(right), err));
    merge.made = find(r, made->data);
    if (merge.left < 0 || merge.right < 0 || merge.made < 0)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: key \"model.merges[%zu]\" is %s, of which the vocabulary lacks %s",
                       file, i, pq_json_show(entry).text,
                       merge.left < 0    ? "the left part"
                       : merge.right < 0 ? "the right part"
                                         : "the whole");
    r->merges[r->n_merges++] = merge;
    return PQ_OK;
}

static enum pq_status read_merges(struct reading *r, const struct pq_json *model,
                                  struct pq_err *err) {
    static const char header[] = "#version"; /* of the text file that merges once came in */
    struct pq_buffer made = {0};
    enum pq_status status = PQ_OK;
    json_t *list;
    PQ_TRY(pq_keys_array(model, "merges", &list, err));
    size_t n = json_array_size(list);
    if (n >= INT32_MAX / 4)
        return pq_fail(err, PQ_EUNSUPPORTED, "%s: key \"model.merges\" has %zu entries, too many",
                       model->file, n);
    r->merges = calloc(n + 1, sizeof *r->merges);
    if (!r->merges)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory for %zu merges", model->file, n);
    for (size_t i = 0; i < n && status == PQ_OK; i++) {
        const json_t *entry = json_array_get(list, i);
        const char *text = json_string_value(entry);
        if (!text || strncmp(text, header, sizeof header - 1) != 0)
            status = read_merge(r, model->file, i, entry, &made, err);
    }
    free(made.data);
    return status;
}

/* ---- What surrounds the model ---------------------------------------------------------------- */

static enum pq_status read_normalizer(struct pq_tokenizer *tok, const struct pq_json *root,
                                      struct pq_err *err) {
    struct pq_json at;
    const char *type;
    if (!pq_json_find(root, "normalizer"))
        return PQ_OK;
    PQ_TRY(pq_json_object(root, "normalizer", &at, err));
    PQ_TRY(pq_json_string(&at, "type", &type, err));
    if (strcmp(type, "Sequence") == 0) {
        json_t *list;
        PQ_TRY(pq_keys_only(&at, "type normalizers", err));
        PQ_TRY(pq_keys_array(&at, "normalizers", &list, err));
        if (json_array_size(list) == 0)
            return PQ_OK;
        if (json_array_size(list) > 1)
            return pq_keys_refuse(&at, "normalizers", err);
        PQ_TRY(pq_keys_entry(&at, "normalizers", 0, &at, err));
        PQ_TRY(pq_json_string(&at, "type", &type, err));
    }
    PQ_TRY(pq_keys_only(&at, "type", err));
    if (strcmp(type, "NFC") != 0)
        return pq_keys_refuse(&at, "type", err);
    tok->nfc = true;
    return PQ_OK;
}

/* TemplateProcessing's "single": a special token perhaps, then the text. */
static enum pq_status read_template(struct pq_tokenizer *tok, const struct pq_json *at,
                                    struct pq_err *err) {
    json_t *single;
    PQ_TRY(pq_keys_only(at, "type single pair special_tokens", err));
    PQ_TRY(pq_keys_array(at, "single", &single, err));
    size_t n = json_array_size(single);
    json_t *last = json_array_get(single, n - 1);
    const char *bos = json_string_value(
        json_object_get(json_object_get(json_array_get(single, 0), "SpecialToken"), "id"));
    if (n < 1 || n > 2 || !json_object_get(last, "Sequence") || (n == 2 && !bos))
        return pq_keys_refuse(at, "single", err);
    if (n == 1)
        return PQ_OK;
    struct pq_json tokens, token;
    json_t *ids;
    PQ_TRY(pq_json_object(at, "special_tokens", &tokens, err));
    PQ_TRY(pq_json_object(&tokens, bos, &token, err));
    PQ_TRY(pq_keys_array(&token, "ids", &ids, err));
    json_int_t id = json_integer_value(json_array_get(ids, 0));
    if (json_array_size(ids) != 1 || !json_is_integer(json_array_get(ids, 0)) || id < 0 ||
        id >= tok->vocab)
        return pq_keys_refuse(&token, "ids", err);
    tok->bos = (int32_t)id;
    return PQ_OK;
}

/* ByteLevel after the model concerns offsets only. */
static enum pq_status read_processor(struct pq_tokenizer *tok, const struct pq_json *at,
                                     struct pq_err *err) {
    const char *type;
    PQ_TRY(pq_json_string(at, "type", &type, err));
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(tok, at, err);
    if (strcmp(type, "ByteLevel") != 0)
        return pq_keys_refuse(at, "type", err);
    return pq_keys_only(at, "type add_prefix_space trim_offsets use_regex", err);
}

static enum pq_status read_processors(struct pq_tokenizer *tok, const struct pq_json *root,
                                      struct pq_err *err) {
    struct pq_json at, entry;
    json_t *list;
    if (!pq_json_find(root, "post_processor"))
        return PQ_OK;
    PQ_TRY(pq_json_object(root, "post_processor", &at, err));
    const char *type = json_string_value(pq_json_find(&at, "type"));
    if (!type || strcmp(type, "Sequence") != 0)
        return read_processor(tok, &at, err);
    PQ_TRY(pq_keys_only(&at, "type processors", err));
    PQ_TRY(pq_keys_array(&at, "processors", &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        PQ_TRY(pq_keys_entry(&at, "processors", i, &entry, err));
        PQ_TRY(read_processor(tok, &entry, err));
    }
    return PQ_OK;
}

static enum pq_status check_decoder(const struct pq_json *root, struct pq_err *err) {
    struct pq_json at;
    const char *type;
    PQ_TRY(pq_json_object(root, "decoder", &at, err));
    PQ_TRY(pq_keys_only(&at, "type add_prefix_space trim_offsets use_regex", err));
    PQ_TRY(pq_json_string(&at, "type", &type, err));
    return strcmp(type, "ByteLevel") == 0 ? PQ_OK : pq_keys_refuse(&at, "type", err);
}

/* ---- The model ------------------------------------------------------------------------------- */

/* Refuse what would change ids; fuse_unk is about unk_token alone. */
static enum pq_status check_model(const struct pq_json *model, struct pq_err *err) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    PQ_TRY(pq_keys_only(model,
                        "type dropout unk_token continuing_subword_prefix end_of_word_suffix "
                        "fuse_unk byte_fallback ignore_merges vocab merges",
                        err));
    const char *type;
    PQ_TRY(pq_json_string_or(model, "type", "BPE", &type, err));
    if (strcmp(type, "BPE") != 0)
        return pq_keys_refuse(model, "type", err);
    json_t *dropout = pq_json_find(model, "dropout");
    if (dropout && !(json_is_number(dropout) && json_number_value(dropout) == 0))
        return pq_keys_refuse(model, "dropout", err);
    for (int i = 0; i < 2; i++) {
        const char *affix;
        PQ_TRY(pq_json_string_or(model, affixes[i], "", &affix, err));
        if (*affix)
            return pq_keys_refuse(model, affixes[i], err);
    }
    return pq_keys_false(model, "byte_fallback", err);
}

/* unk_token matters for bytes that have no token only. */
static enum pq_status check_unknown(const struct pq_tokenizer *tok, const struct pq_json *model,
                                    struct pq_err *err) {
    for (int byte = 0; byte < 256; byte++)
        if (tok->bytes[byte] < 0 && pq_json_find(model, "unk_token"))
            return pq_keys_refuse(model, "unk_token", err);
    return PQ_OK;
}

/* Memory for what is kept by id. */
static enum pq_status reserve(struct reading *r, const char *file, struct pq_err *err) {
    PQ_TRY(pq_tokenizer_reserve(r->tok, r->n_ids, file, err));
    size_t n = (size_t)r->n_ids + 1;
    r->tokens = calloc(n, sizeof *r->tokens);
    r->contents = calloc(n, sizeof *r->contents);
    r->whole = calloc(n, sizeof *r->whole);
    if (!r->tokens || !r->contents || !r->whole)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory for %d tokens", file, r->n_ids);
    return PQ_OK;
}

static enum pq_status read_model(struct reading *r, const struct pq_json *root,
                                 struct pq_err *err) {
    struct alphabet alphabet;
    struct pq_json model;
    bool ignore_merges;
    fill_alphabet(&alphabet);
    PQ_TRY(pq_json_object(root, "model", &model, err));
    PQ_TRY(check_model(&model, err));
    PQ_TRY(read_vocab(r, &model, err));
    PQ_TRY(read_all_added(r, root, err));
    PQ_TRY(reserve(r, root->file, err));
    PQ_TRY(sort_by_id(r, root, err));
    PQ_TRY(lay_out_text(r, &alphabet, err));
    PQ_TRY(check_unknown(r->tok, &model, err));
    PQ_TRY(read_merges(r, &model, err));
    PQ_TRY(pq_bpe_open(&r->tok->bpe, r->tok->bytes, r->merges, r->n_merges, err));
    PQ_TRY(pq_json_bool_or(&model, "ignore_merges", false, &ignore_merges, err));
    if (!ignore_merges)
        return PQ_OK;
    return pq_bpe_whole_words(r->tok->bpe, r->tok->text.data, r->tok->ends, r->whole, r->n_ids,
                              err);
}

/* ---- tokenizer_config.json ------------------------------------------------------------------- */

/* transformers adds the tokens that only added_tokens_decoder has; here both files must agree. */
static enum pq_status check_config_added(const struct pq_tokenizer *tok,
                                         const struct pq_json *config, struct pq_err *err) {
    struct pq_json all, entry;
    const char *key, *text;
    json_t *value;
    if (!pq_json_find(config, "added_tokens_decoder"))
        return PQ_OK;
    PQ_TRY(pq_json_object(config, "added_tokens_decoder", &all, err));
    json_object_foreach(all.object, key, value) {
        char id[16];
        PQ_TRY(pq_json_object(&all, key, &entry, err));
        PQ_TRY(pq_json_string(&entry, "content", &text, err));
        snprintf(id, sizeof id, "%d", pq_tokenizer_added(tok, text));
        if (strcmp(id, key) != 0)
            return pq_fail(err, PQ_EFORMAT,
                           "%s: key \"%scontent\" is \"%.64s\", whose id in tokenizer.json is %s",
                           config->file, entry.path, text, id[0] == '-' ? "none" : id);
    }
    return PQ_OK;
}

static enum pq_status read_config(struct pq_tokenizer *tok, const struct pq_json *config,
                                  struct pq_err *err) {
    bool add_bos;
    PQ_TRY(check_config_added(tok, config, err));
    PQ_TRY(pq_tokenizer_named(tok, config, "eos_token", &tok->eos, err));
    PQ_TRY(pq_json_bool_or(config, "add_bos_token", false, &add_bos, err));
    if (add_bos && tok->bos < 0)
        PQ_TRY(pq_tokenizer_named(tok, config, "bos_token", &tok->bos, err));
    return PQ_OK;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static enum pq_status read_all(struct reading *r, const struct pq_json *root,
                               const struct pq_json *config, struct pq_err *err) {
    PQ_TRY(pq_keys_only(root,
                        "version added_tokens normalizer pre_tokenizer post_processor decoder "
                        "model",
                        err));
    PQ_TRY(read_normalizer(r->tok, root, err));
    PQ_TRY(pq_splitter_read(&r->tok->splitter, root, err));
    PQ_TRY(check_decoder(root, err));
    PQ_TRY(read_model(r, root, err));
    PQ_TRY(read_processors(r->tok, root, err));
    return read_config(r->tok, config, err);
}

enum pq_status pq_tokenizer_read_json(struct pq_tokenizer *tok,
                                      const struct pq_tokenizer_files *files,
                                      const struct pq_json *config, struct pq_err *err) {
    const struct pq_tokenizer_file *file = &files->json;
    struct reading r = {.tok = tok};
    json_t *document;
    tok->bos = tok->eos = -1;
    PQ_TRY(pq_json_parse(&document, file->data, file->size, file->name, err));
    struct pq_json root = pq_json_root(document, file->name);
    enum pq_status status = read_all(&r, &root, config, err);
    free(r.tokens);
    free(r.contents);
    free(r.whole);
    free(r.merges);
    json_decref(document);
    return status;
}
