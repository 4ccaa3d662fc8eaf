#include "windows.h"
#include "input.h"
#include "report.h"
#include "jsonl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The text -------------------------------------------------------------------------------- */

struct text {
    char *data; /* owned */
    size_t size;
};

/* Append one field of the number-th entry, named by word [length]. */
static enum pq_status append_field(FILE *to, const struct pq_windows_options *o, const json_t *row,
                                   size_t number, const char *word, int length,
                                   struct pq_err *err) {
    const json_t *value = json_object_getn(row, word, (size_t)length);
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    char called[256];
    if (!text)
        return pq_refuse(err, PQ_EFORMAT, "%s: entry %zu has no text \"%.*s\"", o->file, number,
                         length, word);
    fwrite(text, 1, size, to);
    snprintf(called, sizeof called, "%s, entry %zu", o->file, number);
    return o->exclude ? pq_exclude_check(o->exclude, text, size, called, err) : PQ_OK;
}

/* The fields of every line, an empty line between lines. */
static enum pq_status read_fields(struct text *out, const struct pq_windows_options *o,
                                  struct pq_err *err) {
    json_t *rows = NULL;
    enum pq_status status = pq_jsonl_read(&rows, o->file, err);
    if (status != PQ_OK)
        return status;
    FILE *to = open_memstream(&out->data, &out->size);
    if (!to)
        status = pq_refuse(err, PQ_ENOMEM, "no memory for %s", o->file);
    for (size_t i = 0; i < json_array_size(rows) && status == PQ_OK; i++) {
        for (const char *word = o->fields; *word && status == PQ_OK;) {
            int length = (int)strcspn(word, ",");
            status = append_field(to, o, json_array_get(rows, i), i + 1, word, length, err);
            word += length + (word[length] == ',');
        }
        fputs("\n\n", to);
    }
    if (to && fclose(to) != 0 && status == PQ_OK)
        status = pq_refuse(err, PQ_ENOMEM, "no memory for the texts of %s", o->file);
    json_decref(rows);
    return status;
}

static enum pq_status read_text(struct text *out, const struct pq_windows_options *o,
                                struct pq_err *err) {
    if (o->fields)
        return read_fields(out, o, err);
    enum pq_status status = pq_input_read(&out->data, &out->size, o->file, err);
    if (status == PQ_OK && o->exclude)
        status = pq_exclude_check(o->exclude, out->data, out->size, o->file, err);
    return status;
}

/* ---- The windows ----------------------------------------------------------------------------- */

/* splitmix64 (Steele, Lea and Flood 2014) */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* Cut ids [n], of which the first is BOS where bos is 1. */
static enum pq_status cut(struct pq_traces *out, const struct pq_windows_options *o,
                          const int32_t *ids, int n, int bos, struct pq_err *err) {
    int body = o->window - bos, most = (n - bos) / body;
    uint64_t random = o->seed ? *o->seed : 0;
    struct pq_traces t = {.n = o->n < most || o->seed ? o->n : most};
    if (most == 0)
        return pq_refuse(err, PQ_EINVAL, "%s has %d tokens: too few for a window of %d", o->file, n,
                         o->window);
    t.trace = calloc((size_t)t.n, sizeof *t.trace);
    t.ids = calloc((size_t)t.n, (size_t)o->window * sizeof *t.ids);
    if (!t.trace || !t.ids) {
        pq_traces_free(&t);
        return pq_refuse(err, PQ_ENOMEM, "no memory for %d windows", o->n);
    }
    for (int i = 0; i < t.n; i++) {
        int32_t *to = t.ids + (size_t)i * (size_t)o->window;
        int64_t from = (int64_t)i * most / t.n * body;
        if (o->seed)
            from = (int64_t)(next_random(&random) % (uint64_t)(n - bos - body + 1));
        if (bos)
            to[0] = ids[0];
        memcpy(to + bos, ids + bos + from, (size_t)body * sizeof *to);
        t.trace[i] = (struct pq_trace){.mode = PQ_TRACE_TEXT, .ids = to, .n = o->window};
    }
    *out = t;
    return PQ_OK;
}

enum pq_status pq_windows_read(struct pq_traces *out, const struct pq_windows_options *options,
                               const struct pq_tokenizer *tok, struct pq_err *err) {
    struct text text = {0};
    int32_t *ids = NULL, *none = NULL;
    int n = 0, bos = 0;
    enum pq_status status = read_text(&text, options, err);
    if (status == PQ_OK) /* what a tokenizer puts before nothing is its BOS */
        status = pq_encode(tok, "", 0, true, &none, &bos, err);
    if (status == PQ_OK)
        status = pq_encode(tok, text.data, text.size, true, &ids, &n, err);
    if (status == PQ_OK)
        status = cut(out, options, ids, n, bos, err);
    free(ids);
    free(none);
    free(text.data);
    return status;
}
