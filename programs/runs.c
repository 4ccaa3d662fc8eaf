#include "runs.h"
#include "jsonl.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static json_t *row_key(const char *task, const char *mode, int sample) {
    return json_sprintf("%s\n%s\n%d", task, mode, sample);
}

const json_t *pq_run_row(const struct pq_run *run, const char *task, const char *mode, int sample) {
    json_t *key = row_key(task, mode, sample);
    const json_t *row = key ? json_object_get(run->known, json_string_value(key)) : NULL;
    json_decref(key);
    return row;
}

/* Into rows and known; false: the row is a second one, or incomplete. */
static bool keep_row(struct pq_run *run, json_t *row) {
    const char *task = json_string_value(json_object_get(row, "task_id"));
    const char *mode = json_string_value(json_object_get(row, "mode"));
    int sample = (int)json_integer_value(json_object_get(row, "sample"));
    json_t *key = task && mode ? row_key(task, mode, sample) : NULL;
    bool fresh = key && !json_object_get(run->known, json_string_value(key)) &&
                 json_is_boolean(json_object_get(row, "passed"));
    bool kept = fresh && json_object_set(run->known, json_string_value(key), row) == 0 &&
                json_array_append(run->rows, row) == 0;
    json_decref(key);
    return kept;
}

static enum pq_status take_lines(struct pq_run *run, const json_t *lines, const char *path,
                                 struct pq_err *err) {
    size_t i;
    json_t *line;
    json_array_foreach(lines, i, line) {
        json_t *settings = json_object_get(line, "run"),
               *session = json_object_get(line, "session");
        if (i == 0 && !json_is_object(settings))
            return pq_refuse(err, PQ_EFORMAT,
                             "%s is no run of panq eval: no line \"run\" comes first", path);
        if (i == 0)
            run->settings = json_incref(settings);
        else if (json_is_object(session))
            json_array_append(run->sessions, session);
        else if (!keep_row(run, line))
            return pq_refuse(err, PQ_EFORMAT,
                             "%s: line %zu is no reply with a verdict, or its second", path, i + 1);
    }
    return PQ_OK;
}

static enum pq_status start(struct pq_run *run, struct pq_err *err) {
    run->rows = json_array();
    run->sessions = json_array();
    run->known = json_object();
    return run->rows && run->sessions && run->known ? PQ_OK
                                                    : pq_refuse(err, PQ_ENOMEM, "no memory");
}

/* What is at path so far; *whole receives the bytes that a torn line does not belong to. */
static enum pq_status load(struct pq_run *run, const char *path, size_t *whole,
                           struct pq_err *err) {
    json_t *lines = NULL;
    enum pq_status status = start(run, err);
    run->path = path;
    if (status == PQ_OK)
        status = pq_jsonl_read_torn(&lines, whole, path, err);
    if (status == PQ_OK)
        status = take_lines(run, lines, path, err);
    json_decref(lines);
    return status;
}

enum pq_status pq_run_read(struct pq_run *out, const char *path, struct pq_err *err) {
    struct pq_run run = {0};
    size_t whole;
    enum pq_status status = load(&run, path, &whole, err);
    if (status == PQ_OK && !run.settings)
        status = pq_refuse(err, PQ_EFORMAT, "%s is no run of panq eval: it is empty", path);
    if (status == PQ_OK)
        *out = run;
    else
        pq_run_close(&run);
    return status;
}

static enum pq_status another_setting(const char *key, const json_t *then, const json_t *now,
                                      const char *path, struct pq_err *err) {
    char *before = then ? json_dumps(then, JSON_ENCODE_ANY) : strdup("not there");
    char *after = now ? json_dumps(now, JSON_ENCODE_ANY) : strdup("not there");
    pq_refuse(err, PQ_EINVAL,
              "%s was begun with another setting: \"%s\" was %.100s and is %.100s now; give the "
              "run another file with -o, or the options that it was begun with",
              path, key, before ? before : "?", after ? after : "?");
    free(before);
    free(after);
    return PQ_EINVAL;
}

/* Whether the settings that the run was begun with are those of now, no more and no fewer. */
static enum pq_status same_settings(const json_t *then, const json_t *now, const char *path,
                                    struct pq_err *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value) {
        const json_t *old = json_object_get(then, key);
        if (!json_equal(old, value))
            return another_setting(key, old, value, path, err);
    }
    json_object_foreach((json_t *)then, key, value) {
        if (!json_object_get(now, key))
            return another_setting(key, value, NULL, path, err);
    }
    return PQ_OK;
}

static enum pq_status append(struct pq_run *run, const json_t *line, struct pq_err *err) {
    bool good = !run->file || (line && json_dumpf(line, run->file, JSON_COMPACT) == 0 &&
                               fputc('\n', run->file) != EOF && fflush(run->file) == 0);
    return good ? PQ_OK
                : pq_refuse(err, PQ_EIO, "%s cannot be written: %s", run->path, strerror(errno));
}

/* Whether the file, which has no whole line, is the torn beginning of a run, or empty. */
static bool begins_run(const char *path) {
    static const char first[] = "{\"run\":";
    char bytes[sizeof first - 1] = "";
    FILE *file = fopen(path, "rbe");
    size_t n = file ? fread(bytes, 1, sizeof bytes, file) : 1;
    if (file)
        fclose(file);
    return memcmp(bytes, first, n) == 0;
}

/* The file at path, which nobody else has open, and what is in it. */
static enum pq_status open_file(struct pq_run *run, const char *path, struct pq_err *err) {
    size_t whole = 0;
    run->path = path;
    run->file = fopen(path, "ae");
    if (!run->file)
        return pq_refuse(err, PQ_EIO, "%s: %s", path, strerror(errno));
    if (flock(fileno(run->file), LOCK_EX | LOCK_NB) != 0)
        return pq_refuse(err, PQ_EIO, "%s: another panq eval is at work on it", path);
    enum pq_status status = load(run, path, &whole, err);
    if (status != PQ_OK)
        return status;
    off_t end = lseek(fileno(run->file), 0, SEEK_END);
    run->torn = end > (off_t)whole;
    if (!run->settings && !begins_run(path))
        return pq_refuse(err, PQ_EFORMAT, "%s is no run of panq eval", path);
    if (run->torn && ftruncate(fileno(run->file), (off_t)whole) != 0)
        return pq_refuse(err, PQ_EIO, "%s: %s", path, strerror(errno));
    run->resumed = (int)json_array_size(run->rows);
    return PQ_OK;
}

enum pq_status pq_run_open(struct pq_run *out, const char *path, json_t *settings,
                           struct pq_err *err) {
    struct pq_run run = {0};
    enum pq_status status = path ? open_file(&run, path, err) : start(&run, err);
    if (status == PQ_OK && run.settings) {
        status = same_settings(run.settings, settings, path, err);
    } else if (status == PQ_OK) {
        json_t *line = json_pack("{s:O}", "run", settings);
        run.settings = json_incref(settings);
        status = append(&run, line, err);
        json_decref(line);
    }
    json_decref(settings);
    if (status == PQ_OK)
        *out = run;
    else
        pq_run_close(&run);
    return status;
}

void pq_run_close(struct pq_run *run) {
    json_decref(run->settings);
    json_decref(run->rows);
    json_decref(run->sessions);
    json_decref(run->known);
    if (run->file)
        fclose(run->file);
    *run = (struct pq_run){0};
}

enum pq_status pq_run_add_row(struct pq_run *run, json_t *row, struct pq_err *err) {
    enum pq_status status = row && keep_row(run, row)
                                ? append(run, row, err)
                                : pq_refuse(err, PQ_ENOMEM, "no memory for a reply");
    json_decref(row);
    return status;
}

enum pq_status pq_run_add_session(struct pq_run *run, json_t *session, struct pq_err *err) {
    json_t *line = json_pack("{s:O}", "session", session);
    enum pq_status status = line && json_array_append(run->sessions, session) == 0
                                ? append(run, line, err)
                                : pq_refuse(err, PQ_ENOMEM, "no memory for a session");
    json_decref(line);
    json_decref(session);
    return status;
}
