/* spmodel.h - tokenizer.model, read and validated before SentencePiece sees it.
 *
 * The file is a protocol buffer, ModelProto of sentencepiece_model.proto; its wire format is
 * described at protobuf.dev/programming-guides/encoding.  What panq takes is narrower than what
 * SentencePiece takes: BPE models with byte pieces and without a normaliser table, as openPangu's
 * and Llama 2's are.  Everything else in the proto is either harmless or left out. */
#ifndef PQ_TOK_SPMODEL_H
#define PQ_TOK_SPMODEL_H

#include "tok/added.h"
#include "tok/buffer.h"

/* ModelProto.SentencePiece.Type */
enum pq_piece_type {
    PQ_PIECE_NORMAL = 1,
    PQ_PIECE_UNKNOWN,
    PQ_PIECE_CONTROL,
    PQ_PIECE_USER,
    PQ_PIECE_UNUSED,
    PQ_PIECE_BYTE,
};

struct pq_piece {
    const char *text; /* borrowed from the file; not NUL-terminated */
    int len;          /* 1 .. PQ_MAX_PIECE */
    enum pq_piece_type type;
    char byte; /* that a PQ_PIECE_BYTE stands for */
};

struct pq_spmodel {
    struct pq_piece *pieces; /* [n], owned */
    int n;                   /* 1 .. PQ_MAX_VOCAB */
    int32_t bytes[256];      /* the id of each byte's piece */
    struct pq_buffer proto;  /* the fields SentencePiece gets, owned */
};

/* data [size] is borrowed until pq_spmodel_close; `file` is only named in the sentences. */
enum pq_status pq_spmodel_read(struct pq_spmodel *out, const void *data, size_t size,
                               const char *file, struct pq_err *err);
void pq_spmodel_close(struct pq_spmodel *model);

#endif
