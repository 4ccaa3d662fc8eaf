#include "io/json.h"

#include "base/map.h"

#include <stdio.h>
#include <string.h>

enum pq_status pq_json_parse(json_t **out, const char *text, size_t size, const char *file,
                             struct pq_err *err) {
    json_error_t fault;
    json_t *root = json_loadb(text ? text : "", size, JSON_REJECT_DUPLICATES, &fault);
    if (!root && json_error_code(&fault) == json_error_out_of_memory)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", file);
    if (!root)
        return pq_fail(err, PQ_EFORMAT, "%s: line %d is not valid JSON: %s", file, fault.line,
                       fault.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return pq_fail(err, PQ_EFORMAT, "%s: the outermost JSON value is not an object", file);
    }
    *out = root;
    return PQ_OK;
}

enum pq_status pq_json_load(json_t **out, const char *path, struct pq_err *err) {
    struct pq_map map;
    PQ_TRY(pq_map_open(&map, path, err));
    enum pq_status status = pq_json_parse(out, (const char *)map.data, map.size, path, err);
    pq_map_close(&map);
    return status;
}

struct pq_json pq_json_root(json_t *root, const char *file) {
    return (struct pq_json){.object = root, .file = file};
}

json_t *pq_json_find(const struct pq_json *at, const char *key) {
    json_t *value = json_object_get(at->object, key);
    return json_is_null(value) ? NULL : value;
}

static int append_text(const char *piece, size_t size, void *user) {
    struct pq_json_text *shown = user;
    size_t used = strlen(shown->text), room = sizeof shown->text - 1 - used;
    memcpy(shown->text + used, piece, size < room ? size : room);
    if (size <= room)
        return 0;
    memcpy(shown->text + sizeof shown->text - 4, "...", 4);
    return -1; /* ends the dump */
}

struct pq_json_text pq_json_show(const json_t *value) {
    struct pq_json_text shown = {0};
    json_dump_callback(value, append_text, &shown,
                       JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
    return shown;
}

/* The value, or a sentence that the key is missing. */
static enum pq_status require(const struct pq_json *at, const char *key, json_t **value,
                              struct pq_err *err) {
    *value = pq_json_find(at, key);
    if (!*value)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%s%s\" is missing", at->file, at->path, key);
    return PQ_OK;
}

static enum pq_status not_a(const struct pq_json *at, const char *key, const json_t *value,
                            const char *what, struct pq_err *err) {
    return pq_fail(err, PQ_EFORMAT, "%s: key \"%s%s\" is %s, not %s", at->file, at->path, key,
                   pq_json_show(value).text, what);
}

enum pq_status pq_json_object(const struct pq_json *at, const char *key, struct pq_json *out,
                              struct pq_err *err) {
    json_t *value;
    PQ_TRY(require(at, key, &value, err));
    if (!json_is_object(value))
        return not_a(at, key, value, "an object", err);
    struct pq_json inner = {.object = value, .file = at->file};
    snprintf(inner.path, sizeof inner.path, "%.63s%.62s.", at->path, key);
    *out = inner;
    return PQ_OK;
}

enum pq_status pq_json_int(const struct pq_json *at, const char *key, int min, int max, int *out,
                           struct pq_err *err) {
    json_t *value;
    PQ_TRY(require(at, key, &value, err));
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < min || n > max) {
        char what[64];
        snprintf(what, sizeof what, "an integer from %d to %d", min, max);
        return not_a(at, key, value, what, err);
    }
    *out = (int)n;
    return PQ_OK;
}

enum pq_status pq_json_float(const struct pq_json *at, const char *key, float min, float max,
                             float *out, struct pq_err *err) {
    json_t *value;
    PQ_TRY(require(at, key, &value, err));
    double x = json_number_value(value);
    if (!json_is_number(value) || !(x >= min && x <= max)) {
        char what[64];
        snprintf(what, sizeof what, "a number from %g to %g", min, max);
        return not_a(at, key, value, what, err);
    }
    *out = (float)x;
    return PQ_OK;
}

enum pq_status pq_json_bool(const struct pq_json *at, const char *key, bool *out,
                            struct pq_err *err) {
    json_t *value;
    PQ_TRY(require(at, key, &value, err));
    if (!json_is_boolean(value))
        return not_a(at, key, value, "true or false", err);
    *out = json_is_true(value);
    return PQ_OK;
}

enum pq_status pq_json_string(const struct pq_json *at, const char *key, const char **out,
                              struct pq_err *err) {
    json_t *value;
    PQ_TRY(require(at, key, &value, err));
    if (!json_is_string(value))
        return not_a(at, key, value, "a string", err);
    *out = json_string_value(value);
    return PQ_OK;
}

enum pq_status pq_json_int_or(const struct pq_json *at, const char *key, int min, int max,
                              int fallback, int *out, struct pq_err *err) {
    if (pq_json_find(at, key))
        return pq_json_int(at, key, min, max, out, err);
    *out = fallback;
    return PQ_OK;
}

enum pq_status pq_json_float_or(const struct pq_json *at, const char *key, float min, float max,
                                float fallback, float *out, struct pq_err *err) {
    if (pq_json_find(at, key))
        return pq_json_float(at, key, min, max, out, err);
    *out = fallback;
    return PQ_OK;
}

enum pq_status pq_json_bool_or(const struct pq_json *at, const char *key, bool fallback, bool *out,
                               struct pq_err *err) {
    if (pq_json_find(at, key))
        return pq_json_bool(at, key, out, err);
    *out = fallback;
    return PQ_OK;
}

enum pq_status pq_json_string_or(const struct pq_json *at, const char *key, const char *fallback,
                                 const char **out, struct pq_err *err) {
    if (pq_json_find(at, key))
        return pq_json_string(at, key, out, err);
    *out = fallback;
    return PQ_OK;
}
