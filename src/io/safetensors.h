/* safetensors.h - reading a safetensors file.
 *
 *   8 bytes     length of the header, little-endian
 *   header      JSON: {"name": {"dtype": "BF16", "shape": [n, k], "data_offsets": [begin, end]}}
 *   data        the tensors, row-major and little-endian; offsets count from here
 *
 * As strict as the reference library (github.com/huggingface/safetensors): the tensors cover the
 * data without overlap, hole or remainder. */
#ifndef PQ_IO_SAFETENSORS_H
#define PQ_IO_SAFETENSORS_H

#include "base/map.h"
#include "io/json.h"

struct pq_safetensors_tensor {
    struct pq_tensor_info info; /* info.name and info.file are borrowed from the file */
    const void *data;           /* [info.bytes], borrowed from the mapping; may be unaligned */
};

struct pq_safetensors {
    struct pq_map map;
    char *path;                            /* owned */
    json_t *header;                        /* owned: the names */
    struct pq_safetensors_tensor *tensors; /* owned [n], in the order of their data */
    int n;
};

/* Map the file at path and validate all of its header.  Types: BF16 F16 F32 I8 U8 I32 I64; ranks 0
 * to 4.  *.rotary_emb.inv_freq is left out whatever its type: rope_theta says the same.
 * Errors: PQ_EIO, PQ_ENOMEM, PQ_EFORMAT, PQ_EUNSUPPORTED for another type or a higher rank. */
enum pq_status pq_safetensors_open(struct pq_safetensors *out, const char *path,
                                   struct pq_err *err);
void pq_safetensors_close(struct pq_safetensors *st);

/* Is the tensor one that readers leave out? */
bool pq_safetensors_skips(const char *name);

/* Validate info's name, dtype, rank and shape and set *bytes to its size.  `path` is only named in
 * the sentence. */
enum pq_status pq_safetensors_measure(const struct pq_tensor_info *info, const char *path,
                                      size_t *bytes, struct pq_err *err);

#endif
