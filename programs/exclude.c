#include "exclude.h"
#include "jsonl.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Letters and digits of what is looked for: words of a description, and the line that defines a
 * function, which is common to many programs when it is short. */
enum { SHORTEST_TEXT = 12, SHORTEST_LINE = 24 };

/* ---- Normal form ----------------------------------------------------------------------------- */

/* The byte as it counts; 0: it does not.  Bytes of other scripts count as they are. */
static char counts(char c) {
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80 ? c : 0;
}

/* text [size] in normal form, malloc'd. */
static char *normalize(const char *text, size_t size) {
    char *normal = malloc(size + 1);
    size_t n = 0;
    for (size_t i = 0; normal && i < size; i++)
        if (counts(text[i]))
            normal[n++] = counts(text[i]);
    if (normal)
        normal[n] = 0;
    return normal;
}

/* How many lines of text end before its n-th byte that counts. */
static int lines_before(const char *text, size_t n) {
    int lines = 0;
    for (; n > 0 || !counts(*text); text++) {
        lines += *text == '\n';
        n -= counts(*text) != 0;
    }
    return lines;
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

/* Look for text [size], of the task that is called so, if it is long enough. */
static enum pq_status add(struct pq_exclusion *x, const char *text, size_t size, size_t shortest,
                          const char *task, const char *file, struct pq_err *err) {
    size_t n = (size_t)x->n;
    char *needle = normalize(text, size), *name = strdup(task);
    char **needles = realloc(x->needle, (n + 1) * sizeof *needles);
    x->needle = needles ? needles : x->needle;
    char **tasks = realloc(x->task, (n + 1) * sizeof *tasks);
    x->task = tasks ? tasks : x->task;
    const char **files = realloc(x->file, (n + 1) * sizeof *files);
    x->file = files ? files : x->file;
    bool good = needle && name && needles && tasks && files;
    if (good && strlen(needle) >= shortest) {
        x->needle[n] = needle;
        x->task[n] = name;
        x->file[n] = file;
        x->n++;
        return PQ_OK;
    }
    free(needle);
    free(name);
    return good ? PQ_OK : pq_refuse(err, PQ_ENOMEM, "no memory for the tasks of %s", file);
}

/* The line of a prompt that defines the entry point, and its docstring up to an example. */
static enum pq_status add_function(struct pq_exclusion *x, const char *prompt, const char *entry,
                                   const char *task, const char *file, struct pq_err *err) {
    char head[256];
    snprintf(head, sizeof head, "def %s(", entry);
    const char *line = strstr(prompt, head);
    if (!line)
        return pq_refuse(err, PQ_EFORMAT, "%s: the prompt of task %s does not define %s", file,
                         task, entry);
    enum pq_status status = add(x, line, strcspn(line, "\n"), SHORTEST_LINE, task, file, err);
    const char *open = strstr(line, "\"\"\""), *other = strstr(line, "'''");
    if (!open || (other && other < open))
        open = other;
    if (!open || status != PQ_OK)
        return status;
    const char mark[] = {*open, *open, *open, 0};
    const char *text = open + 3, *close = strstr(text, mark), *example = strstr(text, ">>>");
    size_t size = close ? (size_t)(close - text) : strlen(text);
    if (example && (size_t)(example - text) < size)
        size = (size_t)(example - text);
    return add(x, text, size, SHORTEST_TEXT, task, file, err);
}

static enum pq_status add_task(struct pq_exclusion *x, const json_t *row, size_t number,
                               const char *file, struct pq_err *err) {
    char task[64];
    const char *prompt = json_string_value(json_object_get(row, "prompt"));
    const char *entry = json_string_value(json_object_get(row, "entry_point"));
    const char *text = json_string_value(json_object_get(row, "text"));
    const json_t *id = json_object_get(row, "task_id");
    if (json_is_string(id))
        snprintf(task, sizeof task, "%s", json_string_value(id));
    else
        snprintf(task, sizeof task, "%lld",
                 json_is_integer(id) ? json_integer_value(id) : (json_int_t)number);
    if (prompt && entry)
        return add_function(x, prompt, entry, task, file, err);
    text = text ? text : prompt;
    if (!text)
        return pq_refuse(err, PQ_EFORMAT, "%s: task %s has no \"prompt\" and no \"text\"", file,
                         task);
    return add(x, text, strlen(text), SHORTEST_TEXT, task, file, err);
}

enum pq_status pq_exclude_read(struct pq_exclusion *exclusion, const char *path,
                               struct pq_err *err) {
    json_t *rows = NULL;
    enum pq_status status = pq_jsonl_read(&rows, path, err);
    if (status == PQ_OK && json_array_size(rows) == 0)
        status = pq_refuse(err, PQ_EFORMAT, "%s: no tasks", path);
    for (size_t i = 0; i < json_array_size(rows) && status == PQ_OK; i++)
        status = add_task(exclusion, json_array_get(rows, i), i + 1, path, err);
    json_decref(rows);
    return status;
}

void pq_exclusion_free(struct pq_exclusion *exclusion) {
    for (int i = 0; i < exclusion->n; i++) {
        free(exclusion->needle[i]);
        free(exclusion->task[i]);
    }
    free(exclusion->needle);
    free(exclusion->task);
    free(exclusion->file);
    *exclusion = (struct pq_exclusion){0};
}

/* ---- Texts ----------------------------------------------------------------------------------- */

enum pq_status pq_exclude_check(const struct pq_exclusion *exclusion, const char *text, size_t size,
                                const char *called, struct pq_err *err) {
    char *normal = normalize(text, size);
    enum pq_status status = PQ_OK;
    if (!normal)
        return pq_refuse(err, PQ_ENOMEM, "no memory to look for tasks in %s", called);
    for (int i = 0; i < exclusion->n && status == PQ_OK; i++) {
        const char *found = strstr(normal, exclusion->needle[i]);
        if (found)
            status =
                pq_refuse(err, PQ_EINVAL, "%s: line %d contains task %s of %s, which is excluded",
                          called, 1 + lines_before(text, (size_t)(found - normal)),
                          exclusion->task[i], exclusion->file[i]);
    }
    free(normal);
    return status;
}
