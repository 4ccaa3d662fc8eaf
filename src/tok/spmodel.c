#include "tok/spmodel.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- Wire format ----------------------------------------------------------------------------- */

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct cursor {
    const unsigned char *at, *end;
};

struct field {
    uint32_t number;
    int wire;
    uint64_t value;      /* VARINT */
    struct cursor bytes; /* BYTES */
};

static bool read_varint(struct cursor *c, uint64_t *value) {
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        unsigned char byte = *c->at++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = v;
            return true;
        }
    }
    return false;
}

/* The next field of a message; false: the message is damaged there.  Groups count as damage: they
 * went out of use before SentencePiece came. */
static bool read_field(struct cursor *c, struct field *field) {
    uint64_t tag, size = 0;
    *field = (struct field){0};
    if (!read_varint(c, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
        return false;
    field->number = (uint32_t)(tag >> 3);
    field->wire = (int)(tag & 7);
    switch (field->wire) {
    case VARINT:
        return read_varint(c, &field->value);
    case BYTES:
        if (!read_varint(c, &size))
            return false;
        break;
    case FIXED64:
        size = 8;
        break;
    case FIXED32:
        size = 4;
        break;
    default:
        return false;
    }
    if (size > (uint64_t)(c->end - c->at))
        return false;
    field->bytes = (struct cursor){c->at, c->at + size};
    c->at += size;
    return true;
}

/* ---- The messages ---------------------------------------------------------------------------- */

struct reader {
    struct pq_spmodel *model;
    const char *file;
    struct pq_err *err;
    int room;                            /* of model->pieces */
    bool bpe;                            /* the trainer_spec said so */
    bool user_lengths[PQ_MAX_PIECE + 1]; /* of user-defined pieces */
    int n_user_lengths;
};

/* SentencePiece looks user-defined pieces up with room for 64 that begin one another, and does not
 * look whether there were more. */
enum { MAX_USER_LENGTHS = 64 };

static enum pq_status damaged(const struct reader *r, const char *message) {
    return pq_fail(r->err, PQ_EFORMAT, "%s: damaged, or no SentencePiece model, in its %s", r->file,
                   message);
}

static enum pq_status check_user_piece(struct reader *r, const struct pq_piece *piece) {
    if (memchr(piece->text, 0, (size_t)piece->len))
        return pq_fail(r->err, PQ_EFORMAT, "%s: user-defined piece %d holds a NUL", r->file,
                       r->model->n);
    r->n_user_lengths += !r->user_lengths[piece->len];
    r->user_lengths[piece->len] = true;
    if (r->n_user_lengths > MAX_USER_LENGTHS)
        return pq_fail(r->err, PQ_EUNSUPPORTED,
                       "%s: the user-defined pieces have more than %d different lengths", r->file,
                       MAX_USER_LENGTHS);
    return PQ_OK;
}

/* "<0x0A>": as printf's %02X writes it, the only form SentencePiece knows. */
static int byte_of(const struct pq_piece *piece) {
    static const char digits[] = "0123456789ABCDEF";
    if (piece->len != 6 || memcmp(piece->text, "<0x", 3) != 0 || piece->text[5] != '>')
        return -1;
    const char *high = memchr(digits, piece->text[3], 16),
               *low = memchr(digits, piece->text[4], 16);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

static enum pq_status check_piece(struct reader *r, struct pq_piece *piece) {
    int id = r->model->n;
    if (piece->len == 0 || piece->len > PQ_MAX_PIECE)
        return pq_fail(r->err, PQ_EFORMAT, "%s: piece %d has %d bytes, not 1 to %d", r->file, id,
                       piece->len, PQ_MAX_PIECE);
    if (piece->type == PQ_PIECE_USER)
        return check_user_piece(r, piece);
    if (piece->type == PQ_PIECE_BYTE) {
        int byte = byte_of(piece);
        if (byte < 0)
            return pq_fail(r->err, PQ_EFORMAT, "%s: byte piece %d is \"%.*s\", not \"<0xXX>\"",
                           r->file, id, piece->len, piece->text);
        r->model->bytes[byte] = id;
        piece->byte = (char)byte;
    }
    return PQ_OK;
}

static enum pq_status add_piece(struct reader *r, struct pq_piece *piece) {
    struct pq_spmodel *model = r->model;
    PQ_TRY(check_piece(r, piece));
    if (model->n == PQ_MAX_VOCAB)
        return pq_fail(r->err, PQ_EUNSUPPORTED, "%s: more than %d pieces", r->file, PQ_MAX_VOCAB);
    if (model->n == r->room) {
        int room = r->room ? 2 * r->room : 1024;
        struct pq_piece *pieces = realloc(model->pieces, (size_t)room * sizeof *pieces);
        if (!pieces)
            return pq_fail(r->err, PQ_ENOMEM, "%s: out of memory for %d pieces", r->file, room);
        model->pieces = pieces;
        r->room = room;
    }
    model->pieces[model->n++] = *piece;
    return PQ_OK;
}

static enum pq_status read_piece(struct reader *r, struct cursor c) {
    struct pq_piece piece = {.text = "", .type = PQ_PIECE_NORMAL};
    while (c.at < c.end) {
        struct field field;
        if (!read_field(&c, &field))
            return damaged(r, "pieces");
        if (field.number == 1 && field.wire == BYTES) {
            size_t len = (size_t)(field.bytes.end - field.bytes.at);
            piece.text = (const char *)field.bytes.at;
            piece.len = len < INT_MAX ? (int)len : INT_MAX;
        } else if (field.number == 3 && field.wire == VARINT) {
            if (field.value < PQ_PIECE_NORMAL || field.value > PQ_PIECE_BYTE)
                return pq_fail(r->err, PQ_EFORMAT, "%s: piece %d has type %llu, not 1 to 6",
                               r->file, r->model->n, (unsigned long long)field.value);
            piece.type = (enum pq_piece_type)field.value;
        } else if (field.number == 1 || field.number == 3) {
            return damaged(r, "pieces");
        }
    }
    return add_piece(r, &piece);
}

static enum pq_status read_trainer(struct reader *r, struct cursor c) {
    while (c.at < c.end) {
        struct field field;
        if (!read_field(&c, &field))
            return damaged(r, "trainer_spec");
        if (field.number != 3) /* model_type */
            continue;
        if (field.wire != VARINT || field.value != 2)
            return pq_fail(r->err, PQ_EUNSUPPORTED,
                           "%s: trainer_spec.model_type is %llu, not 2 (BPE)", r->file,
                           field.wire == VARINT ? (unsigned long long)field.value : 0);
        r->bpe = true;
    }
    return PQ_OK;
}

/* A normaliser table would change the text, and SentencePiece does not check its offsets. */
static enum pq_status read_normalizer(struct reader *r, struct cursor c) {
    while (c.at < c.end) {
        struct field field;
        if (!read_field(&c, &field))
            return damaged(r, "normalizer_spec");
        if (field.number == 2 && (field.wire != BYTES || field.bytes.at < field.bytes.end))
            return pq_fail(r->err, PQ_EUNSUPPORTED,
                           "%s: normalizer_spec.precompiled_charsmap is not empty, which panq does "
                           "not support",
                           r->file);
    }
    return PQ_OK;
}

static enum pq_status read_fields(struct reader *r, struct cursor c) {
    static enum pq_status (*const readers[])(struct reader *, struct cursor) = {
        [1] = read_piece, [2] = read_trainer, [3] = read_normalizer};
    while (c.at < c.end) {
        const unsigned char *start = c.at;
        struct field field;
        if (!read_field(&c, &field))
            return damaged(r, "outermost message");
        /* self_test_data would be run at load, and its failures printed. */
        if (field.number > 3)
            continue;
        if (field.wire != BYTES)
            return damaged(r, "outermost message");
        PQ_TRY(readers[field.number](r, field.bytes));
        PQ_TRY(pq_buffer_append(&r->model->proto, start, (size_t)(c.at - start), r->err));
    }
    return PQ_OK;
}

static enum pq_status check_model(const struct reader *r) {
    if (r->model->n == 0)
        return pq_fail(r->err, PQ_EFORMAT, "%s: no SentencePiece model: it has no pieces", r->file);
    if (!r->bpe) /* unigram is the proto's default */
        return pq_fail(r->err, PQ_EUNSUPPORTED, "%s: trainer_spec.model_type is 1, not 2 (BPE)",
                       r->file);
    for (int i = 0; i < 256; i++)
        if (r->model->bytes[i] < 0)
            return pq_fail(r->err, PQ_EUNSUPPORTED, "%s: no byte piece <0x%02X>", r->file,
                           (unsigned)i);
    return PQ_OK;
}

enum pq_status pq_spmodel_read(struct pq_spmodel *out, const void *data, size_t size,
                               const char *file, struct pq_err *err) {
    if (size > INT_MAX) /* the library counts in int */
        return pq_fail(err, PQ_EUNSUPPORTED, "%s: %zu bytes are too many", file, size);
    struct pq_spmodel model = {0};
    for (int i = 0; i < 256; i++)
        model.bytes[i] = -1;
    struct reader r = {.model = &model, .file = file, .err = err};
    const unsigned char *bytes = size ? data : ""; /* an empty map has no address */
    enum pq_status status = read_fields(&r, (struct cursor){bytes, bytes + size});
    if (status == PQ_OK)
        status = check_model(&r);
    if (status != PQ_OK) {
        pq_spmodel_close(&model);
        return status;
    }
    *out = model;
    return PQ_OK;
}

void pq_spmodel_close(struct pq_spmodel *model) {
    free(model->pieces);
    free(model->proto.data);
}
