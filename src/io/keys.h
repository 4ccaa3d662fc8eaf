/* keys.h - reading a JSON file of which everything has to be understood. */
#ifndef PQ_IO_KEYS_H
#define PQ_IO_KEYS_H

#include "io/json.h"

/* PQ_EUNSUPPORTED, in a sentence that names the key and its value. */
enum pq_status pq_keys_refuse(const struct pq_json *at, const char *key, struct pq_err *err);
/* Refuse a key that is there and not null. */
enum pq_status pq_keys_absent(const struct pq_json *at, const char *key, struct pq_err *err);
/* Refuse every key but those in `known`, separated by spaces, and those whose value is null. */
enum pq_status pq_keys_only(const struct pq_json *at, const char *known, struct pq_err *err);
/* Refuse a key that is true, and one that is no truth value. */
enum pq_status pq_keys_false(const struct pq_json *at, const char *key, struct pq_err *err);
/* PQ_EFORMAT when the key is absent or its value is no array. */
enum pq_status pq_keys_array(const struct pq_json *at, const char *key, json_t **out,
                             struct pq_err *err);
/* Entry i of the array that is the value of a key: PQ_EFORMAT when it is no object. */
enum pq_status pq_keys_entry(const struct pq_json *at, const char *key, size_t i,
                             struct pq_json *out, struct pq_err *err);

/* What a key must be, as it is written in JSON. */
struct pq_key_rule {
    const char *key;
    const char *want; /* NULL: any value */
    bool required;
};

/* Every key follows its rule, or is null; one without a rule says nothing: {} or [].  PQ_EFORMAT
 * when a key that is required is absent. */
enum pq_status pq_keys_follow(const struct pq_json *at, const struct pq_key_rule *rules, size_t n,
                              struct pq_err *err);
#define PQ_KEYS_FOLLOW(at, rules, err)                                                             \
    pq_keys_follow(at, rules, sizeof(rules) / sizeof((rules)[0]), err)

/* Whether a value is `want` as it is written in JSON. */
bool pq_json_is(const json_t *value, const char *want);

#endif
