#include "jsonl.h"
#include "input.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

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
static enum pq_status take_lines(json_t *array, const char *text, size_t size, const char *path,
                                 size_t *whole, struct pq_err *err) {
    int number = 0;
    for (size_t at = 0; at < size;) {
        const char *line = text + at, *end = memchr(line, '\n', size - at);
        size_t length = end ? (size_t)(end - line) : size - at;
        bool last = at + length + 1 >= size;
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
static enum pq_status take_array(json_t *array, const char *text, size_t size, const char *path,
                                 struct pq_err *err) {
    json_error_t error;
    json_t *all = json_loadb(text, size, 0, &error);
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

/* whole as in take_lines. */
static enum pq_status parse(json_t **out, size_t *whole, const char *text, size_t size,
                            const char *name, struct pq_err *err) {
    json_t *array = json_array();
    bool is_array = text[strspn(text, " \t\r\n")] == '[';
    if (!array)
        return pq_refuse(err, PQ_ENOMEM, "no memory for %s", name);
    enum pq_status status = is_array && !whole ? take_array(array, text, size, name, err)
                                               : take_lines(array, text, size, name, whole, err);
    if (status == PQ_OK)
        *out = array;
    else
        json_decref(array);
    return status;
}

enum pq_status pq_jsonl_parse(json_t **out, const char *text, size_t size, const char *name,
                              struct pq_err *err) {
    return parse(out, NULL, text, size, name, err);
}

static enum pq_status read_objects(json_t **out, size_t *whole, const char *path,
                                   struct pq_err *err) {
    char *text;
    size_t size;
    enum pq_status status = pq_input_read(&text, &size, path, err);
    if (status != PQ_OK)
        return status;
    status = parse(out, whole, text, size, path, err);
    free(text);
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
