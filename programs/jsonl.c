#include "jsonl.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MOST_BYTES = 1 << 30 };

struct text {
    char *bytes; /* [n] owned */
    size_t n;
};

static enum pq_status read_text(struct text *text, const char *path, struct pq_err *err) {
    gzFile file = gzopen(path, "rb");
    enum pq_status status = PQ_OK;
    size_t size = 1 << 16;
    int got = 1;
    if (!file)
        return pq_refuse(err, PQ_EIO, "%s: %s", path, strerror(errno));
    while (status == PQ_OK && got > 0) {
        char *bytes = size <= MOST_BYTES ? realloc(text->bytes, size) : NULL;
        if (!bytes) {
            status = pq_refuse(err, PQ_EFORMAT, "%s has more than %d bytes", path, MOST_BYTES);
            break;
        }
        text->bytes = bytes;
        got = gzread(file, bytes + text->n, (unsigned)(size - text->n));
        text->n += got > 0 ? (size_t)got : 0;
        size += text->n == size ? size : 0;
    }
    int error = Z_OK;
    const char *message = gzerror(file, &error);
    if (status == PQ_OK && error != Z_OK && error != Z_STREAM_END)
        status =
            pq_refuse(err, PQ_EIO, "%s: %s", path, error == Z_ERRNO ? strerror(errno) : message);
    gzclose(file);
    return status;
}

/* One line, [length] without its newline, into array. */
static enum pq_status take_line(json_t *array, const char *line, size_t length, const char *path,
                                int number, struct pq_err *err) {
    json_error_t error;
    size_t blank = 0;
    while (blank < length && strchr(" \t\r", line[blank]) && line[blank])
        blank++;
    if (blank == length)
        return PQ_OK;
    json_t *object = json_loadb(line, length, 0, &error);
    if (!object)
        return pq_refuse(err, PQ_EFORMAT, "%s: line %d is not JSON: %s", path, number, error.text);
    if (!json_is_object(object)) {
        json_decref(object);
        return pq_refuse(err, PQ_EFORMAT, "%s: line %d is not a JSON object", path, number);
    }
    return json_array_append_new(array, object) == 0
               ? PQ_OK
               : pq_refuse(err, PQ_ENOMEM, "no memory for %s", path);
}

/* whole NULL: a torn last line is an error, and a last line needs no newline. */
static enum pq_status take_lines(json_t *array, const struct text *text, const char *path,
                                 size_t *whole, struct pq_err *err) {
    int number = 0;
    for (size_t at = 0; at < text->n;) {
        const char *line = text->bytes + at, *end = memchr(line, '\n', text->n - at);
        size_t length = end ? (size_t)(end - line) : text->n - at;
        bool last = at + length + 1 >= text->n;
        if (whole && !end)
            return PQ_OK;
        enum pq_status status = take_line(array, line, length, path, ++number, err);
        if (status != PQ_OK)
            return whole && last && status == PQ_EFORMAT ? PQ_OK : status;
        at += length + 1;
        if (whole)
            *whole = at;
    }
    return PQ_OK;
}

/* All of text is one array of objects. */
static enum pq_status take_array(json_t *array, const struct text *text, const char *path,
                                 struct pq_err *err) {
    json_error_t error;
    json_t *all = json_loadb(text->bytes, text->n, 0, &error);
    enum pq_status status = PQ_OK;
    size_t i;
    json_t *object;
    if (!all)
        return pq_refuse(err, PQ_EFORMAT, "%s is not JSON: line %d: %s", path, error.line,
                         error.text);
    json_array_foreach(all, i, object) {
        if (!json_is_object(object))
            status = pq_refuse(err, PQ_EFORMAT, "%s: element %zu is not a JSON object", path, i);
        if (status == PQ_OK && json_array_append(array, object) != 0)
            status = pq_refuse(err, PQ_ENOMEM, "no memory for %s", path);
    }
    json_decref(all);
    return status;
}

static enum pq_status read_objects(json_t **out, size_t *whole, const char *path,
                                   struct pq_err *err) {
    struct text text = {0};
    size_t blank = 0;
    json_t *array = json_array();
    enum pq_status status =
        array ? read_text(&text, path, err) : pq_refuse(err, PQ_ENOMEM, "no memory for %s", path);
    while (blank < text.n && strchr(" \t\r\n", text.bytes[blank]) && text.bytes[blank])
        blank++;
    bool is_array = blank < text.n && text.bytes[blank] == '[';
    if (status == PQ_OK)
        status = is_array && !whole ? take_array(array, &text, path, err)
                                    : take_lines(array, &text, path, whole, err);
    free(text.bytes);
    if (status == PQ_OK)
        *out = array;
    else
        json_decref(array);
    return status;
}

enum pq_status pq_jsonl_read(json_t **out, const char *path, struct pq_err *err) {
    return read_objects(out, NULL, path, err);
}

enum pq_status pq_jsonl_read_torn(json_t **out, size_t *whole, const char *path,
                                  struct pq_err *err) {
    size_t bytes = 0;
    enum pq_status status = read_objects(out, &bytes, path, err);
    if (status == PQ_OK)
        *whole = bytes;
    return status;
}
