#include "tasks.h"
#include "jsonl.h"
#include "report.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line of a file. */
struct source {
    const json_t *object;
    const char *path;
    int number; /* from 1 */
};

static const char *text_of(const struct source *source, const char *key) {
    return json_string_value(json_object_get(source->object, key));
}

static void free_task(struct pq_task *task) {
    char *texts[] = {task->id,          task->message,   task->stub,
                     task->entry_point, task->reference, task->test};
    for (int i = 0; i < 6; i++)
        free(texts[i]);
    *task = (struct pq_task){0};
}

static enum pq_status whole_task(const struct pq_task *task, const struct source *source,
                                 struct pq_err *err) {
    bool whole = task->id && task->message && task->stub && task->entry_point && task->reference &&
                 task->test;
    return whole ? PQ_OK : pq_refuse(err, PQ_ENOMEM, "no memory for %s", source->path);
}

/* A formatted text, malloc'd; NULL when out of memory. */
static char *format_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *format_text(const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return text;
}

/* ---- HumanEval's fields ---------------------------------------------------------------------- */

/* The words around the prompt are those that pangu-mini was trained on; other models take them as
 * well. */
static enum pq_status parse_humaneval(struct pq_task *task, const struct source *source,
                                      struct pq_err *err) {
    static const char *const keys[] = {"task_id", "prompt", "entry_point", "canonical_solution",
                                       "test"};
    const char *field[5];
    for (int i = 0; i < 5; i++) {
        field[i] = text_of(source, keys[i]);
        if (!field[i])
            return pq_refuse(err, PQ_EFORMAT, "%s: task %d has no text \"%s\"", source->path,
                             source->number, keys[i]);
    }
    if (!strstr(field[4], "def check("))
        return pq_refuse(err, PQ_EFORMAT, "%s: the test of task %s defines no check()",
                         source->path, field[0]);
    size_t length = strlen(field[1]);
    while (length && field[1][length - 1] == '\n')
        length--;
    *task = (struct pq_task){
        .id = strdup(field[0]),
        .message = format_text("Complete this Python function.\n%.*s", (int)length, field[1]),
        .stub = strdup(field[1]),
        .entry_point = strdup(field[2]),
        .reference = format_text("%s%s", field[1], field[3]),
        .test = format_text("%s\ncheck(%s)\n", field[4], field[2])};
    return whole_task(task, source, err);
}

/* ---- MBPP's fields --------------------------------------------------------------------------- */

static bool calls(const char *text, const char *name, size_t length) {
    for (const char *p = text; (p = strstr(p, name)); p++) {
        bool begins = p == text || !(isalnum((unsigned char)p[-1]) || p[-1] == '_');
        if (begins && p[length + strspn(p + length, " ")] == '(')
            return true;
    }
    return false;
}

/* The function of `code` that `test` calls, malloc'd: MBPP does not name it. */
static char *called_function(const char *code, const char *test) {
    for (const char *line = code; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, "def ", 4) != 0)
            continue;
        const char *name = line + 4 + strspn(line + 4, " ");
        size_t length = 0;
        while (isalnum((unsigned char)name[length]) || name[length] == '_')
            length++;
        char *word = strndup(name, length);
        if (!word || calls(test, word, length))
            return word;
        free(word);
    }
    return NULL;
}

/* The texts of an array, a line each, malloc'd; NULL: it is none, or there is no memory. */
static char *join_lines(const json_t *array) {
    char *all = json_is_array(array) ? strdup("") : NULL;
    size_t i;
    json_t *text;
    json_array_foreach(array, i, text) {
        char *longer = json_is_string(text) && all
                           ? format_text("%s%s\n", all, json_string_value(text))
                           : NULL;
        free(all);
        all = longer;
    }
    return all;
}

static json_int_t mbpp_id(const struct source *source) {
    return json_integer_value(json_object_get(source->object, "task_id"));
}

/* The words of the paper (Austin et al., arXiv:2108.07732, section 3.1), without its marks around
 * the solution, which the chat template and the reply's code block stand for. */
static enum pq_status parse_mbpp(struct pq_task *task, const struct source *source,
                                 struct pq_err *err) {
    json_int_t id = mbpp_id(source);
    const char *text = text_of(source, "text"), *code = text_of(source, "code");
    const char *setup = text_of(source, "test_setup_code"), *test = text_of(source, "test");
    char *asserts = join_lines(json_object_get(source->object, "test_list"));
    char *imports = join_lines(json_object_get(source->object, "test_imports"));
    text = text ? text : text_of(source, "prompt");
    enum pq_status status = PQ_OK;
    if (id <= 0 || !text || !code || !asserts || !*asserts)
        status = pq_refuse(err, PQ_EFORMAT,
                           "%s: task %d lacks one of MBPP's \"task_id\", \"text\" or \"prompt\", "
                           "\"code\" and \"test_list\"",
                           source->path, source->number);
    if (status == PQ_OK) {
        *task = (struct pq_task){
            .id = format_text("Mbpp/%lld", (long long)id),
            .message = format_text("You are an expert Python programmer, and here is your task: %s "
                                   "Your code should pass these tests:\n\n%s",
                                   text, asserts),
            .stub = strdup(""),
            .entry_point = called_function(code, asserts),
            .reference = strdup(""),
            .test = test ? strdup(test)
                         : format_text("%s%s\n%s", imports ? imports : "", setup ? setup : "",
                                       asserts)};
        status = task->entry_point
                     ? whole_task(task, source, err)
                     : pq_refuse(err, PQ_EFORMAT,
                                 "%s: the tests of task %d call no function of its code",
                                 source->path, source->number);
    }
    free(asserts);
    free(imports);
    return status;
}

static bool in_split(const struct source *source, enum pq_split split) {
    json_int_t id = mbpp_id(source);
    switch (split) {
    case PQ_SPLIT_TEST:
        return id >= 11 && id <= 510;
    case PQ_SPLIT_VALIDATION:
        return id >= 511 && id <= 600;
    case PQ_SPLIT_TRAIN:
        return id >= 601;
    default:
        return true;
    }
}

/* ---- Examples -------------------------------------------------------------------------------- */

/* Code as a chat model answers with it, malloc'd; MBPP's lines end in CR LF. */
static char *answer_with(const char *code) {
    char *answer = format_text("```python\n%s\n```", code), *to = answer;
    if (!answer)
        return NULL;
    for (const char *from = answer; *from; from++)
        if (*from != '\r')
            *to++ = *from;
    *to = 0;
    return answer;
}

static enum pq_status add_shot(struct pq_tasks *tasks, const struct source *source,
                               struct pq_err *err) {
    struct pq_task task = {0};
    enum pq_status status = parse_mbpp(&task, source, err);
    char *answer = status == PQ_OK ? answer_with(text_of(source, "code")) : NULL;
    if (status == PQ_OK && !answer)
        status = pq_refuse(err, PQ_ENOMEM, "no memory for %s", source->path);
    if (status == PQ_OK) {
        struct pq_message *turns = &tasks->shots[2 * tasks->n_shots++];
        turns[0] = (struct pq_message){.role = PQ_USER, .text = task.message};
        turns[1] = (struct pq_message){.role = PQ_ASSISTANT, .text = answer};
        task.message = NULL; /* the turn has it */
    }
    free_task(&task);
    return status;
}

/* The first n that the file has of MBPP's prompt split, from task 2 on: with all of them there,
 * three are its authors' own, 2, 3 and 4. */
static enum pq_status read_shots(struct pq_tasks *tasks, const json_t *rows, int n,
                                 const char *path, struct pq_err *err) {
    enum pq_status status = PQ_OK;
    if (strcmp(tasks->format, "MBPP") != 0)
        return pq_refuse(err, PQ_EINVAL,
                         "%s has no prompt split to take examples from: --shots is for MBPP", path);
    if (strcmp(tasks->split, "all") == 0)
        return pq_refuse(err, PQ_EINVAL,
                         "--shots takes its examples from tasks 1 to 10, which --split all asks "
                         "as well");
    tasks->shots = calloc(2 * (size_t)n, sizeof *tasks->shots);
    if (!tasks->shots)
        return pq_refuse(err, PQ_ENOMEM, "no memory for %d examples", n);
    for (int i = 0; i < PQ_MOST_SHOTS; i++) {
        for (size_t at = 0; at < json_array_size(rows); at++) {
            struct source source = {json_array_get(rows, at), path, (int)at + 1};
            if (mbpp_id(&source) == (i + 1) % PQ_MOST_SHOTS + 1 && tasks->n_shots < n &&
                status == PQ_OK)
                status = add_shot(tasks, &source, err);
        }
    }
    if (status == PQ_OK && tasks->n_shots < n)
        status = pq_refuse(err, PQ_EINVAL,
                           "%s has %d of the tasks 1 to 10, which --shots %d takes its examples "
                           "from",
                           path, tasks->n_shots, n);
    return status;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Which format the file is in, by its first task. */
static enum pq_status recognize(struct pq_tasks *tasks, const struct source *first,
                                enum pq_split *split, struct pq_err *err) {
    bool mbpp = json_is_array(json_object_get(first->object, "test_list"));
    bool test = text_of(first, "test");
    if (!test && json_object_get(first->object, "plus_input"))
        return pq_refuse(err, PQ_EUNSUPPORTED,
                         "%s has EvalPlus' inputs without tests; take the files with tests: "
                         "HumanEvalPlus-OriginFmt.jsonl.gz, evalplus/mbppplus",
                         first->path);
    if (!mbpp && !text_of(first, "prompt"))
        return pq_refuse(err, PQ_EFORMAT,
                         "%s has neither HumanEval's fields (prompt, entry_point, "
                         "canonical_solution, test) nor MBPP's (text, code, test_list)",
                         first->path);
    if (!mbpp && *split != PQ_SPLIT_DEFAULT && *split != PQ_SPLIT_ALL)
        return pq_refuse(err, PQ_EINVAL, "%s has no splits: --split is for MBPP", first->path);
    if (*split == PQ_SPLIT_DEFAULT)
        *split = mbpp && !test ? PQ_SPLIT_TEST : PQ_SPLIT_ALL;
    static const char *const names[] = {"", "test", "validation", "train", "all"};
    tasks->format = !mbpp ? "HumanEval" : test ? "MBPP+" : "MBPP";
    tasks->split = names[*split];
    return PQ_OK;
}

static enum pq_status unique_ids(const struct pq_tasks *tasks, const char *path,
                                 struct pq_err *err) {
    for (int i = 1; i < tasks->n; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(tasks->task[i].id, tasks->task[j].id) == 0)
                return pq_refuse(err, PQ_EFORMAT, "%s has task %s twice", path, tasks->task[i].id);
    return PQ_OK;
}

enum pq_status pq_tasks_read(struct pq_tasks *out, const char *path, enum pq_split split, int limit,
                             int shots, struct pq_err *err) {
    struct pq_tasks tasks = {0};
    json_t *json = NULL;
    enum pq_status status = pq_jsonl_read(&json, path, err);
    size_t n = json_array_size(json);
    struct source source = {.object = json_array_get(json, 0), .path = path, .number = 1};
    if (status == PQ_OK && n == 0)
        status = pq_refuse(err, PQ_EFORMAT, "%s: no tasks", path);
    if (status == PQ_OK)
        status = recognize(&tasks, &source, &split, err);
    if (status == PQ_OK && shots > 0)
        status = read_shots(&tasks, json, shots, path, err);
    tasks.task = calloc(n + 1, sizeof *tasks.task);
    if (status == PQ_OK && !tasks.task)
        status = pq_refuse(err, PQ_ENOMEM, "no memory for %zu tasks", n);
    bool mbpp = status == PQ_OK && strcmp(tasks.format, "HumanEval") != 0;
    for (size_t i = 0; i < n && status == PQ_OK && !(limit && tasks.n == limit); i++) {
        source.object = json_array_get(json, i);
        source.number = (int)i + 1;
        if (mbpp && !in_split(&source, split))
            continue;
        struct pq_task *task = &tasks.task[tasks.n++];
        status = mbpp ? parse_mbpp(task, &source, err) : parse_humaneval(task, &source, err);
    }
    if (status == PQ_OK && tasks.n == 0)
        status = pq_refuse(err, PQ_EFORMAT, "%s has no task of the split '%s'", path, tasks.split);
    if (status == PQ_OK)
        status = unique_ids(&tasks, path, err);
    json_decref(json);
    if (status == PQ_OK)
        *out = tasks;
    else
        pq_tasks_free(&tasks);
    return status;
}

void pq_tasks_free(struct pq_tasks *tasks) {
    for (int i = 0; i < tasks->n; i++)
        free_task(&tasks->task[i]);
    for (int i = 0; i < 2 * tasks->n_shots; i++)
        free((char *)tasks->shots[i].text);
    free(tasks->task);
    free(tasks->shots);
    *tasks = (struct pq_tasks){0};
}
