#include "quant/parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COPY_BYTES = 16 << 20 }; /* between two looks at the pages that have been read */

static const char MODEL[] = "model.safetensors";

struct name {
    char s[40];
};

static struct name part_name(int index) {
    struct name name;
    snprintf(name.s, sizeof name.s, "part-%05d.safetensors", index);
    return name;
}

/* What a file is called until it is whole. */
static struct name unfinished(const char *name) {
    struct name out;
    snprintf(out.s, sizeof out.s, "unfinished-%.24s", name);
    return out;
}

static bool exists(const struct pq_staging *staging, const char *name) {
    return faccessat(staging->fd, name, F_OK, 0) == 0;
}

bool pq_parts_joined(const struct pq_staging *staging) {
    return exists(staging, MODEL);
}

bool pq_part_exists(const struct pq_staging *staging, int index) {
    return exists(staging, part_name(index).s);
}

static enum pq_status open_unfinished(struct pq_writer **out, const struct pq_staging *staging,
                                      const char *name, struct pq_err *err) {
    char *path = pq_path_join(staging->path, unfinished(name).s);
    if (!path)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", staging->path);
    enum pq_status status = pq_writer_open(out, path, err);
    free(path);
    return status;
}

static enum pq_status finish(struct pq_writer *writer, const struct pq_staging *staging,
                             const char *name, struct pq_err *err) {
    PQ_TRY(pq_writer_end(writer, err));
    if (renameat(staging->fd, unfinished(name).s, staging->fd, name) != 0 ||
        fsync(staging->fd) != 0)
        return pq_fail(err, PQ_EIO, "%s/%s: cannot rename: %s", staging->path, name,
                       strerror(errno));
    return PQ_OK;
}

enum pq_status pq_part_open(struct pq_writer **out, const struct pq_staging *staging, int index,
                            struct pq_err *err) {
    return open_unfinished(out, staging, part_name(index).s, err);
}

enum pq_status pq_part_end(struct pq_writer *writer, const struct pq_staging *staging, int index,
                           struct pq_err *err) {
    enum pq_status status = finish(writer, staging, part_name(index).s, err);
    pq_writer_close(writer);
    return status;
}

enum pq_status pq_part_read(struct pq_safetensors *out, const struct pq_staging *staging, int index,
                            struct pq_err *err) {
    char *path = pq_path_join(staging->path, part_name(index).s);
    if (!path)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", staging->path);
    enum pq_status status = pq_safetensors_open(out, path, err);
    free(path);
    return status;
}

/* ---- Joining --------------------------------------------------------------------------------- */

static enum pq_status declare_part(struct pq_writer *writer, const struct pq_safetensors *part,
                                   struct pq_err *err) {
    for (int i = 0; i < part->n; i++) {
        const struct pq_tensor_info *t = &part->tensors[i].info;
        PQ_TRY(pq_writer_declare(writer, t->name, t->dtype, t->rank, t->shape, err));
    }
    return PQ_OK;
}

static enum pq_status append_part(struct pq_writer *writer, const struct pq_safetensors *part,
                                  struct pq_err *err) {
    for (int i = 0; i < part->n; i++) {
        const struct pq_safetensors_tensor *t = &part->tensors[i];
        for (size_t from = 0; from < t->info.bytes; from += COPY_BYTES) {
            size_t rest = t->info.bytes - from, n = rest < COPY_BYTES ? rest : COPY_BYTES;
            PQ_TRY(pq_writer_append(writer, (const char *)t->data + from, n, err));
            pq_map_forget(&part->map, (const char *)t->data + from, n);
        }
    }
    return PQ_OK;
}

typedef enum pq_status visit_fn(struct pq_writer *writer, const struct pq_safetensors *part,
                                struct pq_err *err);

static enum pq_status visit(struct pq_writer *writer, const struct pq_staging *staging, int n,
                            visit_fn *fn, struct pq_err *err) {
    for (int i = 0; i < n; i++) {
        struct pq_safetensors part;
        PQ_TRY(pq_part_read(&part, staging, i, err));
        enum pq_status status = fn(writer, &part, err);
        pq_safetensors_close(&part);
        PQ_TRY(status);
    }
    return PQ_OK;
}

static enum pq_status write_joined(struct pq_writer *writer, const struct pq_staging *staging,
                                   int n, const struct pq_metadata *metadata, int n_metadata,
                                   struct pq_err *err) {
    for (int i = 0; i < n_metadata; i++)
        PQ_TRY(pq_writer_metadata(writer, metadata[i].key, metadata[i].value, err));
    PQ_TRY(visit(writer, staging, n, declare_part, err));
    PQ_TRY(pq_writer_begin(writer, err));
    PQ_TRY(visit(writer, staging, n, append_part, err));
    return finish(writer, staging, MODEL, err);
}

enum pq_status pq_parts_join(const struct pq_staging *staging, int n,
                             const struct pq_metadata *metadata, int n_metadata,
                             struct pq_err *err) {
    struct pq_writer *writer;
    PQ_TRY(open_unfinished(&writer, staging, MODEL, err));
    enum pq_status status = write_joined(writer, staging, n, metadata, n_metadata, err);
    pq_writer_close(writer);
    return status;
}

void pq_parts_remove(const struct pq_staging *staging, int n) {
    for (int i = 0; i < n; i++)
        unlinkat(staging->fd, part_name(i).s, 0);
}
