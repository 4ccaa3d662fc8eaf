/* safetensors_write.h - writing a safetensors file as a stream.
 *
 * Declare every tensor, begin, append their bytes in the order of the declarations in pieces of
 * any size, end.  What it holds in memory is the header and one buffer, whatever the tensors' size.
 *
 * A misuse (a declaration after begin, a byte too many) is PQ_EINVAL; what the operating system
 * refuses is PQ_EIO with its reason.  After a failure only close is left to call; the file is
 * incomplete then, and the caller's to remove. */
#ifndef PQ_IO_SAFETENSORS_WRITE_H
#define PQ_IO_SAFETENSORS_WRITE_H

#include "base/status.h"

struct pq_writer;

/* Create the file at path, or empty it. */
enum pq_status pq_writer_open(struct pq_writer **out, const char *path, struct pq_err *err);
/* One string of __metadata__. */
enum pq_status pq_writer_metadata(struct pq_writer *w, const char *key, const char *value,
                                  struct pq_err *err);
/* dtype: BF16 F16 F32 I8 U8 I32 I64; rank: 0 to 4; everything is copied. */
enum pq_status pq_writer_declare(struct pq_writer *w, const char *name, const char *dtype, int rank,
                                 const int64_t *shape, struct pq_err *err);
/* Write the header, padded with spaces so that the data begins at a multiple of 64. */
enum pq_status pq_writer_begin(struct pq_writer *w, struct pq_err *err);
enum pq_status pq_writer_append(struct pq_writer *w, const void *data, size_t bytes,
                                struct pq_err *err);
/* Check that every declared byte has been written and wait until the file is on the disk. */
enum pq_status pq_writer_end(struct pq_writer *w, struct pq_err *err);
void pq_writer_close(struct pq_writer *w);

#endif
