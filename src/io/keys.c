#include "io/keys.h"

#include <stdio.h>
#include <string.h>

enum pq_status pq_keys_refuse(const struct pq_json *at, const char *key, struct pq_err *err) {
    return pq_fail(err, PQ_EUNSUPPORTED, "%s: key \"%s%.64s\" is %s, which panq does not support",
                   at->file, at->path, key, pq_json_show(json_object_get(at->object, key)).text);
}

enum pq_status pq_keys_absent(const struct pq_json *at, const char *key, struct pq_err *err) {
    return pq_json_find(at, key) ? pq_keys_refuse(at, key, err) : PQ_OK;
}

/* Whether `word` is one of `words`, separated by spaces. */
static bool is_among(const char *word, const char *words) {
    size_t len = strlen(word);
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, word, n) == 0)
            return true;
        at += n;
    }
    return false;
}

enum pq_status pq_keys_only(const struct pq_json *at, const char *known, struct pq_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach(at->object, key, value) {
        if (!json_is_null(value) && !is_among(key, known))
            return pq_keys_refuse(at, key, err);
    }
    return PQ_OK;
}

enum pq_status pq_keys_false(const struct pq_json *at, const char *key, struct pq_err *err) {
    bool set;
    PQ_TRY(pq_json_bool_or(at, key, false, &set, err));
    return set ? pq_keys_refuse(at, key, err) : PQ_OK;
}

enum pq_status pq_keys_array(const struct pq_json *at, const char *key, json_t **out,
                             struct pq_err *err) {
    json_t *value = pq_json_find(at, key);
    if (!json_is_array(value))
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%s%s\" is %s, not an array", at->file, at->path,
                       key, value ? pq_json_show(value).text : "missing");
    *out = value;
    return PQ_OK;
}

enum pq_status pq_keys_entry(const struct pq_json *at, const char *key, size_t i,
                             struct pq_json *out, struct pq_err *err) {
    json_t *value = json_array_get(json_object_get(at->object, key), i);
    struct pq_json entry = {.object = value, .file = at->file};
    snprintf(entry.path, sizeof entry.path, "%.60s%.40s[%zu].", at->path, key, i);
    if (!json_is_object(value))
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%s%s[%zu]\" is %s, not an object", at->file,
                       at->path, key, i, pq_json_show(value).text);
    *out = entry;
    return PQ_OK;
}

bool pq_json_is(const json_t *value, const char *want) {
    return strcmp(pq_json_show(value).text, want) == 0;
}

static bool is_nothing(const json_t *value) {
    return json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

enum pq_status pq_keys_follow(const struct pq_json *at, const struct pq_key_rule *rules, size_t n,
                              struct pq_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach(at->object, key, value) {
        const struct pq_key_rule *rule = NULL;
        for (size_t i = 0; i < n; i++)
            if (strcmp(rules[i].key, key) == 0)
                rule = &rules[i];
        bool good = rule && rule->want ? pq_json_is(value, rule->want) : rule || is_nothing(value);
        if (!good && !json_is_null(value))
            return pq_keys_refuse(at, key, err);
    }
    for (size_t i = 0; i < n; i++)
        if (rules[i].required && !pq_json_find(at, rules[i].key))
            return pq_fail(err, PQ_EFORMAT, "%s: key \"%s%s\" is missing", at->file, at->path,
                           rules[i].key);
    return PQ_OK;
}
