#include "quant/traces.h"

#include "base/map.h"
#include "io/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const mode_names[PQ_TRACE_MODES] = {"slow", "auto", "no", "text"};

const char *pq_trace_mode_name(enum pq_trace_mode mode) {
    return mode_names[mode];
}

struct reading {
    struct pq_traces traces;
    size_t traces_room, ids, ids_room;
    int vocab;
};

/* Room for one more element of `size` bytes after `n`; NULL when there is no memory. */
static void *grow(void *array, size_t n, size_t *room, size_t size) {
    if (n < *room)
        return array;
    size_t more = *room ? 2 * *room : 256;
    void *larger = more <= SIZE_MAX / size ? realloc(array, more * size) : NULL;
    if (larger)
        *room = more;
    return larger;
}

static enum pq_status read_ids(struct reading *r, const struct pq_json *at, int *n,
                               struct pq_err *err) {
    json_t *ids = pq_json_find(at, "ids"), *id;
    size_t i;
    if (!json_is_array(ids) || json_array_size(ids) == 0)
        return pq_fail(err, PQ_EFORMAT, "%s: \"ids\" is not a list of ids", at->file);
    json_array_foreach(ids, i, id) {
        int32_t *room = grow(r->traces.ids, r->ids, &r->ids_room, sizeof *room);
        if (!room)
            return pq_fail(err, PQ_ENOMEM, "%s: out of memory for %zu ids", at->file, r->ids);
        r->traces.ids = room;
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value >= r->vocab)
            return pq_fail(err, PQ_EFORMAT, "%s: id %zu is %s, outside 0 to %d", at->file, i,
                           pq_json_show(id).text, r->vocab - 1);
        room[r->ids++] = (int32_t)value;
    }
    *n = (int)json_array_size(ids); /* a line of JSON that long does not fit in memory */
    return PQ_OK;
}

static enum pq_status read_mode(const struct pq_json *at, enum pq_trace_mode *mode,
                                struct pq_err *err) {
    const char *name;
    PQ_TRY(pq_json_string(at, "mode", &name, err));
    for (int i = 0; i < PQ_TRACE_MODES; i++) {
        if (strcmp(name, mode_names[i]) == 0) {
            *mode = (enum pq_trace_mode)i;
            return PQ_OK;
        }
    }
    return pq_fail(err, PQ_EFORMAT, "%s: \"mode\" is slow, auto, no or text, not %s", at->file,
                   pq_json_show(pq_json_find(at, "mode")).text);
}

/* A trace whose ids are put behind the others. */
static enum pq_status read_trace(struct reading *r, const struct pq_json *at, struct pq_err *err) {
    struct pq_trace t = {0};
    struct pq_trace *room =
        grow(r->traces.trace, (size_t)r->traces.n, &r->traces_room, sizeof *room);
    if (!room)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory for the traces", at->file);
    r->traces.trace = room;
    PQ_TRY(read_mode(at, &t.mode, err));
    PQ_TRY(read_ids(r, at, &t.n, err));
    PQ_TRY(pq_json_int(at, "prompt", 0, t.n, &t.prompt, err));
    PQ_TRY(pq_json_int(at, "answer", t.prompt, t.n, &t.answer, err));
    if (t.mode == PQ_TRACE_TEXT && t.answer != 0)
        return pq_fail(err, PQ_EFORMAT, "%s: plain text has no prompt and no thinking", at->file);
    if (t.mode != PQ_TRACE_TEXT && (t.prompt == 0 || t.prompt == t.n))
        return pq_fail(err, PQ_EFORMAT,
                       "%s: a reply needs a prompt and at least one token, but %d of %d ids are "
                       "its prompt",
                       at->file, t.prompt, t.n);
    room[r->traces.n++] = t;
    return PQ_OK;
}

static enum pq_status read_line(struct reading *r, const char *line, size_t size, const char *file,
                                struct pq_err *err) {
    json_t *root;
    PQ_TRY(pq_json_parse(&root, line, size, file, err));
    struct pq_json at = pq_json_root(root, file);
    enum pq_status status = read_trace(r, &at, err);
    json_decref(root);
    return status;
}

enum pq_status pq_traces_parse(struct pq_traces *out, const char *text, size_t size,
                               const char *file, int vocab, struct pq_err *err) {
    struct reading r = {.vocab = vocab};
    enum pq_status status = PQ_OK;
    size_t at = 0;
    for (long number = 1; at < size && status == PQ_OK; number++) {
        char name[256];
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - (text + at)) : size - at;
        snprintf(name, sizeof name, "%s, line %ld", file, number);
        status = read_line(&r, text + at, length, name, err);
        at += length + 1;
    }
    if (status == PQ_OK && r.traces.n == 0)
        status = pq_fail(err, PQ_EFORMAT, "%s: there are no traces in it", file);
    if (status != PQ_OK) {
        pq_traces_free(&r.traces);
        return status;
    }
    const int32_t *ids = r.traces.ids;
    for (int i = 0; i < r.traces.n; ids += r.traces.trace[i++].n)
        r.traces.trace[i].ids = ids;
    *out = r.traces;
    return PQ_OK;
}

enum pq_status pq_traces_read(struct pq_traces *out, const char *path, int vocab,
                              struct pq_err *err) {
    struct pq_map map;
    PQ_TRY(pq_map_open(&map, path, err));
    enum pq_status status =
        pq_traces_parse(out, (const char *)map.data, map.size, path, vocab, err);
    pq_map_close(&map);
    return status;
}

void pq_traces_free(struct pq_traces *traces) {
    free(traces->trace);
    free(traces->ids);
    *traces = (struct pq_traces){0};
}
