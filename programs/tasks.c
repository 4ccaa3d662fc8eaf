#include "tasks.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { LONGEST_LINE = 64 << 20 };

struct lines {
    gzFile file;
    const char *path;
    char *text; /* the line, without its end; owned */
    size_t size;
    int number;
};

/* The next line into lines->text; *end when there is none. */
static enum pq_status next_line(struct lines *lines, bool *end, struct pq_err *err) {
    size_t n = 0;
    lines->number++;
    for (;;) {
        if (n + 2 > lines->size) {
            size_t size = lines->size ? 2 * lines->size : 1 << 16;
            char *text = size <= LONGEST_LINE ? realloc(lines->text, size) : NULL;
            if (!text)
                return pq_refuse(err, PQ_EFORMAT, "%s: line %d is longer than %d bytes",
                                 lines->path, lines->number, LONGEST_LINE / 2);
            lines->text = text;
            lines->size = size;
        }
        if (!gzgets(lines->file, lines->text + n, (int)(lines->size - n)))
            break;
        n += strlen(lines->text + n);
        if (n && lines->text[n - 1] == '\n')
            break;
    }
    int error = Z_OK;
    const char *message = gzerror(lines->file, &error);
    if (error != Z_OK && error != Z_STREAM_END)
        return pq_refuse(err, PQ_EIO, "%s: %s", lines->path, message);
    *end = n == 0;
    lines->text[n] = 0;
    return PQ_OK;
}

static enum pq_status read_lines(struct lines *lines, json_t *array, struct pq_err *err) {
    for (;;) {
        bool end = false;
        enum pq_status status = next_line(lines, &end, err);
        if (status != PQ_OK || end)
            return status;
        if (lines->text[strspn(lines->text, " \t\r\n")] == 0)
            continue;
        json_error_t error;
        json_t *object = json_loads(lines->text, 0, &error);
        if (!object)
            return pq_refuse(err, PQ_EFORMAT, "%s: line %d is not JSON: %s", lines->path,
                             lines->number, error.text);
        if (!json_is_object(object)) {
            json_decref(object);
            return pq_refuse(err, PQ_EFORMAT, "%s: line %d is not a JSON object", lines->path,
                             lines->number);
        }
        if (json_array_append_new(array, object) != 0)
            return pq_refuse(err, PQ_ENOMEM, "no memory for %s", lines->path);
    }
}

enum pq_status pq_jsonl_read(json_t **out, const char *path, struct pq_err *err) {
    struct lines lines = {.file = gzopen(path, "rb"), .path = path};
    if (!lines.file)
        return pq_refuse(err, PQ_EIO, "%s: %s", path, strerror(errno));
    json_t *array = json_array();
    enum pq_status status = array ? read_lines(&lines, array, err)
                                  : pq_refuse(err, PQ_ENOMEM, "no memory for %s", path);
    gzclose(lines.file);
    free(lines.text);
    if (status == PQ_OK)
        *out = array;
    else
        json_decref(array);
    return status;
}

static enum pq_status parse_task(struct pq_task *task, const json_t *object, const char *path,
                                 int number, struct pq_err *err) {
    const char *const keys[] = {"task_id", "prompt", "entry_point", "canonical_solution", "test"};
    const char **const fields[] = {&task->id, &task->prompt, &task->entry_point, &task->solution,
                                   &task->test};
    for (int i = 0; i < 5; i++) {
        *fields[i] = json_string_value(json_object_get(object, keys[i]));
        if (!*fields[i])
            return pq_refuse(err, PQ_EFORMAT, "%s: task %d has no text \"%s\"", path, number,
                             keys[i]);
    }
    return PQ_OK;
}

enum pq_status pq_tasks_read(struct pq_tasks *out, const char *path, int limit,
                             struct pq_err *err) {
    struct pq_tasks tasks = {0};
    enum pq_status status = pq_jsonl_read(&tasks.json, path, err);
    if (status != PQ_OK)
        return status;
    size_t n = json_array_size(tasks.json);
    if (limit && n > (size_t)limit)
        n = (size_t)limit;
    if (n == 0)
        status = pq_refuse(err, PQ_EFORMAT, "%s: no tasks", path);
    tasks.task = calloc(n + 1, sizeof *tasks.task);
    if (status == PQ_OK && !tasks.task)
        status = pq_refuse(err, PQ_ENOMEM, "no memory for %zu tasks", n);
    for (; status == PQ_OK && (size_t)tasks.n < n; tasks.n++)
        status = parse_task(&tasks.task[tasks.n], json_array_get(tasks.json, (size_t)tasks.n), path,
                            tasks.n + 1, err);
    if (status == PQ_OK)
        *out = tasks;
    else
        pq_tasks_free(&tasks);
    return status;
}

void pq_tasks_free(struct pq_tasks *tasks) {
    free(tasks->task);
    json_decref(tasks->json);
    *tasks = (struct pq_tasks){0};
}
