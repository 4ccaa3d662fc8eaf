/* pq_tensors_save: a few tensors from memory to a file of their own. */
#include "panq.h"

#include "io/safetensors.h"
#include "io/safetensors_write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum pq_status write_all(struct pq_writer *writer, const char *path,
                                const struct pq_tensor_info *infos, const void *const *data, int n,
                                struct pq_err *err) {
    for (int i = 0; i < n; i++)
        PQ_TRY(pq_writer_declare(writer, infos[i].name, infos[i].dtype, infos[i].rank,
                                 infos[i].shape, err));
    PQ_TRY(pq_writer_begin(writer, err));
    for (int i = 0; i < n; i++) {
        size_t bytes;
        PQ_TRY(pq_safetensors_measure(&infos[i], path, &bytes, err));
        PQ_TRY(pq_writer_append(writer, data[i], bytes, err));
    }
    return pq_writer_end(writer, err);
}

enum pq_status pq_tensors_save(const char *path, const struct pq_tensor_info *infos,
                               const void *const *data, int n, struct pq_err *err) {
    char *partial = NULL;
    if (asprintf(&partial, "%s.partial", path) < 0)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", path);
    struct pq_writer *writer = NULL;
    enum pq_status status = pq_writer_open(&writer, partial, err);
    bool made = status == PQ_OK;
    if (status == PQ_OK)
        status = write_all(writer, path, infos, data, n, err);
    pq_writer_close(writer);
    if (status == PQ_OK && rename(partial, path) != 0)
        status =
            pq_fail(err, PQ_EIO, "%s: cannot rename to %s: %s", partial, path, strerror(errno));
    if (status != PQ_OK && made)
        unlink(partial);
    free(partial);
    return status;
}
