/* json.h - strict reading of JSON files: jansson, with sentences that name file, line, key and
 * value.
 *
 * A duplicate key is an error.  A key whose value is null counts as absent.
 *
 *     json_t *root;
 *     PQ_TRY(pq_json_load(&root, path, err));
 *     struct pq_json top = pq_json_root(root, path);
 *     status = pq_json_int(&top, "hidden_size", 1, 131072, &hidden, err);
 *     ...
 *     json_decref(root); */
#ifndef PQ_IO_JSON_H
#define PQ_IO_JSON_H

#include "base/status.h"

#include <jansson.h>

/* Read the file at path; its outermost value must be an object.  json_decref(*out) when done. */
enum pq_status pq_json_load(json_t **out, const char *path, struct pq_err *err);
/* The same from memory: text [size] bytes; `file` is only named in the sentences. */
enum pq_status pq_json_parse(json_t **out, const char *text, size_t size, const char *file,
                             struct pq_err *err);

/* An object to read keys of, and how to name it. */
struct pq_json {
    json_t *object;   /* borrowed from the document */
    const char *file; /* borrowed */
    char path[128];   /* of keys that lead here, dotted; "" outermost; may be cut */
};

struct pq_json pq_json_root(json_t *root, const char *file);
/* PQ_EFORMAT when the key is absent or its value is no object. */
enum pq_status pq_json_object(const struct pq_json *at, const char *key, struct pq_json *out,
                              struct pq_err *err);

/* NULL: absent or null. */
json_t *pq_json_find(const struct pq_json *at, const char *key);

/* The value of a key that must be there: PQ_EFORMAT when it is absent, of another type (1.5, 1.0
 * and "12" are no integers; 1 is a number) or outside min .. max, both included. */
enum pq_status pq_json_int(const struct pq_json *at, const char *key, int min, int max, int *out,
                           struct pq_err *err);
enum pq_status pq_json_float(const struct pq_json *at, const char *key, float min, float max,
                             float *out, struct pq_err *err);
enum pq_status pq_json_bool(const struct pq_json *at, const char *key, bool *out,
                            struct pq_err *err);
/* *out is borrowed from the document. */
enum pq_status pq_json_string(const struct pq_json *at, const char *key, const char **out,
                              struct pq_err *err);

/* The same for a key that may be absent: *out becomes `fallback` then. */
enum pq_status pq_json_int_or(const struct pq_json *at, const char *key, int min, int max,
                              int fallback, int *out, struct pq_err *err);
enum pq_status pq_json_float_or(const struct pq_json *at, const char *key, float min, float max,
                                float fallback, float *out, struct pq_err *err);
enum pq_status pq_json_bool_or(const struct pq_json *at, const char *key, bool fallback, bool *out,
                               struct pq_err *err);
enum pq_status pq_json_string_or(const struct pq_json *at, const char *key, const char *fallback,
                                 const char **out, struct pq_err *err);

/* A value as it is written in JSON, in ASCII, cut to fit a sentence. */
struct pq_json_text {
    char text[96];
};
struct pq_json_text pq_json_show(const json_t *value);

#endif
