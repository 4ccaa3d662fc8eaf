#include "io/safetensors_write.h"

#include "io/safetensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pq_writer {
    FILE *file;
    char *path;                 /* owned */
    json_t *header;             /* owned */
    uint64_t declared, written; /* bytes of data */
    bool begun;
};

static enum pq_status no_memory(const struct pq_writer *w, struct pq_err *err) {
    return pq_fail(err, PQ_ENOMEM, "%s: out of memory", w->path);
}

static enum pq_status cannot_write(const struct pq_writer *w, struct pq_err *err) {
    return pq_fail(err, PQ_EIO, "%s: cannot write: %s", w->path, strerror(errno));
}

enum pq_status pq_writer_open(struct pq_writer **out, const char *path, struct pq_err *err) {
    struct pq_writer *w = calloc(1, sizeof *w);
    if (!w)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", path);
    w->path = strdup(path);
    w->header = json_object();
    if (!w->path || !w->header) {
        pq_writer_close(w);
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", path);
    }
    w->file = fopen(path, "wbe");
    if (!w->file) {
        enum pq_status status =
            pq_fail(err, PQ_EIO, "%s: cannot create: %s", path, strerror(errno));
        pq_writer_close(w);
        return status;
    }
    *out = w;
    return PQ_OK;
}

enum pq_status pq_writer_metadata(struct pq_writer *w, const char *key, const char *value,
                                  struct pq_err *err) {
    if (w->begun)
        return pq_fail(err, PQ_EINVAL, "%s: metadata %s comes after the header", w->path, key);
    json_t *metadata = json_object_get(w->header, "__metadata__");
    if (!metadata) {
        metadata = json_object();
        if (json_object_set_new(w->header, "__metadata__", metadata) != 0)
            return no_memory(w, err);
    }
    json_t *text = json_string(value);
    if (!text)
        return pq_fail(err, PQ_EINVAL, "%s: metadata %s is not UTF-8", w->path, key);
    return json_object_set_new(metadata, key, text) == 0 ? PQ_OK : no_memory(w, err);
}

enum pq_status pq_writer_declare(struct pq_writer *w, const char *name, const char *dtype, int rank,
                                 const int64_t *shape, struct pq_err *err) {
    struct pq_tensor_info info = {.name = name, .dtype = dtype, .rank = rank};
    if (w->begun)
        return pq_fail(err, PQ_EINVAL, "%s: tensor %s comes after the header", w->path, name);
    if (json_object_get(w->header, name))
        return pq_fail(err, PQ_EINVAL, "%s: tensor %s is declared twice", w->path, name);
    for (int i = 0; i < rank && i < 4; i++)
        info.shape[i] = shape[i];
    size_t bytes;
    if (pq_safetensors_measure(&info, w->path, &bytes, err) != PQ_OK)
        return PQ_EINVAL;
    uint64_t end;
    if (__builtin_add_overflow(w->declared, bytes, &end) || end > INT64_MAX)
        return pq_fail(err, PQ_EINVAL, "%s: the file's size overflows at tensor %s", w->path, name);
    json_t *dimensions = json_array();
    for (int i = 0; i < rank; i++)
        if (json_array_append_new(dimensions, json_integer(shape[i])) != 0) {
            json_decref(dimensions);
            return no_memory(w, err);
        }
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", dimensions,
                              "data_offsets", (json_int_t)w->declared, (json_int_t)end);
    if (json_object_set_new(w->header, name, entry) != 0)
        return no_memory(w, err);
    w->declared = end;
    return PQ_OK;
}

enum pq_status pq_writer_begin(struct pq_writer *w, struct pq_err *err) {
    if (w->begun)
        return pq_fail(err, PQ_EINVAL, "%s: the header is already written", w->path);
    char *text = json_dumps(w->header, JSON_COMPACT);
    if (!text)
        return no_memory(w, err);
    unsigned char prefix[8];
    size_t length = strlen(text), begin = sizeof prefix + length;
    int padding = (int)((begin + 63) / 64 * 64 - begin);
    size_t padded = length + (size_t)padding;
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)padded >> 8 * i);
    bool good = fwrite(prefix, 1, sizeof prefix, w->file) == sizeof prefix &&
                fwrite(text, 1, length, w->file) == length &&
                fprintf(w->file, "%*s", padding, "") == padding;
    enum pq_status status = good ? PQ_OK : cannot_write(w, err);
    free(text);
    w->begun = good;
    return status;
}

enum pq_status pq_writer_append(struct pq_writer *w, const void *data, size_t bytes,
                                struct pq_err *err) {
    if (!w->begun || bytes > w->declared - w->written)
        return pq_fail(err, PQ_EINVAL, "%s: %zu bytes follow %llu of the %llu bytes %s", w->path,
                       bytes, (unsigned long long)w->written, (unsigned long long)w->declared,
                       w->begun ? "declared" : "of a file whose header is not written");
    if (fwrite(data, 1, bytes, w->file) != bytes)
        return cannot_write(w, err);
    w->written += bytes;
    return PQ_OK;
}

enum pq_status pq_writer_end(struct pq_writer *w, struct pq_err *err) {
    if (!w->begun || w->written != w->declared)
        return pq_fail(err, PQ_EINVAL, "%s: %llu of %llu declared bytes have been written", w->path,
                       (unsigned long long)w->written, (unsigned long long)w->declared);
    if (fflush(w->file) != 0 || fsync(fileno(w->file)) != 0)
        return cannot_write(w, err);
    FILE *file = w->file;
    w->file = NULL;
    return fclose(file) == 0 ? PQ_OK : cannot_write(w, err);
}

void pq_writer_close(struct pq_writer *w) {
    if (!w)
        return;
    if (w->file)
        fclose(w->file);
    json_decref(w->header);
    free(w->path);
    free(w);
}
