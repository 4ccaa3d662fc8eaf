/* The tokenizers that have a tokenizer.model: openPangu's.  Its added tokens and their ids are in
 * tokenizer_config.json, whose "add_prefix_space" has no effect in Huawei's class, and none here.
 */
#include "io/keys.h"
#include "tok/spmodel.h"
#include "tok/tokenizer.h"

#include <stdlib.h>
#include <string.h>

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

static enum pq_status read_entry(struct pq_tokenizer *tok, const struct pq_json *all,
                                 const char *key, struct pq_err *err) {
    int id = parse_id(key);
    if (id < 0)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: key \"added_tokens_decoder.%.64s\" is no id from 0 to %d", all->file,
                       key, PQ_MAX_VOCAB - 1);
    struct pq_json entry;
    const char *text;
    PQ_TRY(pq_json_object(all, key, &entry, err));
    PQ_TRY(pq_json_string(&entry, "content", &text, err));
    PQ_TRY(pq_keys_false(&entry, "lstrip", err));
    PQ_TRY(pq_keys_false(&entry, "rstrip", err));
    PQ_TRY(pq_keys_false(&entry, "single_word", err));
    return pq_added_put(&tok->raw, text, strlen(text), id, all->file, entry.path, err);
}

static enum pq_status read_added(struct pq_tokenizer *tok, const struct pq_json *config,
                                 struct pq_err *err) {
    struct pq_json all;
    const char *key;
    json_t *value;
    PQ_TRY(pq_json_object(config, "added_tokens_decoder", &all, err));
    json_object_foreach(all.object, key, value) {
        PQ_TRY(read_entry(tok, &all, key, err));
    }
    return pq_added_sort(&tok->raw, config->file, err);
}

/* ---- Text ------------------------------------------------------------------------------------ */

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
                                   const struct pq_added **by_id, struct pq_err *err) {
    for (int i = 0; i < tok->raw.n; i++)
        by_id[tok->raw.added[i].id] = &tok->raw.added[i];
    for (int id = 0; id < tok->vocab; id++) {
        const struct pq_added *added = by_id[id];
        if (added)
            PQ_TRY(pq_buffer_append(&tok->text, added->text, (size_t)added->len, err));
        else if (id < model->n)
            PQ_TRY(append_piece(&tok->text, &model->pieces[id], err));
        tok->ends[id + 1] = tok->text.size;
    }
    return PQ_OK;
}

static enum pq_status make_text(struct pq_tokenizer *tok, const struct pq_spmodel *model,
                                const char *file, struct pq_err *err) {
    int vocab = model->n;
    for (int i = 0; i < tok->raw.n; i++)
        if (tok->raw.added[i].id >= vocab)
            vocab = tok->raw.added[i].id + 1;
    PQ_TRY(pq_tokenizer_reserve(tok, vocab, file, err));
    const struct pq_added **by_id = calloc((size_t)vocab, sizeof *by_id);
    enum pq_status status = by_id ? lay_out_text(tok, model, by_id, err)
                                  : pq_fail(err, PQ_ENOMEM, "%s: out of memory", file);
    free(by_id);
    return status;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* The id of bos_token or its like, which has to be there, and which skip_special drops, as
 * Huawei's class does. */
static enum pq_status read_special(struct pq_tokenizer *tok, const struct pq_json *config,
                                   const char *key, int32_t *id, struct pq_err *err) {
    PQ_TRY(pq_tokenizer_named(tok, config, key, id, err));
    if (*id < 0)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%s\" is missing", config->file, key);
    tok->special[*id] = true;
    return PQ_OK;
}

static enum pq_status fill(struct pq_tokenizer *tok, const struct pq_spmodel *model,
                           const char *model_file, const struct pq_json *config,
                           struct pq_err *err) {
    int32_t unk;
    PQ_TRY(read_added(tok, config, err));
    PQ_TRY(make_text(tok, model, model_file, err));
    PQ_TRY(read_special(tok, config, "bos_token", &tok->bos, err));
    PQ_TRY(read_special(tok, config, "eos_token", &tok->eos, err));
    PQ_TRY(read_special(tok, config, "unk_token", &unk, err));
    memcpy(tok->bytes, model->bytes, sizeof tok->bytes);
    return pq_sentencepiece_open(&tok->sp, model->proto.data, model->proto.size, model_file, err);
}

enum pq_status pq_tokenizer_read_model(struct pq_tokenizer *tok,
                                       const struct pq_tokenizer_files *files,
                                       const struct pq_json *config, struct pq_err *err) {
    const struct pq_tokenizer_file *file = &files->model;
    struct pq_spmodel model;
    PQ_TRY(pq_spmodel_read(&model, file->data, file->size, file->name, err));
    enum pq_status status = fill(tok, &model, file->name, config, err);
    pq_spmodel_close(&model);
    return status;
}
