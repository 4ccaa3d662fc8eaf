/* panq eval - pass@1 on programming tasks. */
#include "batch.h"
#include "commands.h"
#include "engine.h"
#include "generate.h"
#include "report.h"
#include "sandbox.h"
#include "tasks.h"
#include "verdicts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MODES = 3, MAX_REPLY = 1024 };

struct eval {
    struct pq_engine_options engine;
    const char *tasks, *think, *replies, *out;
    int limit, batch, max_tokens;
    float timeout;
    bool json;
};

#define FIELD(member) .offset = offsetof(struct eval, member)
static const struct pq_option options[] = {
    {.name = "task",
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(tasks),
     .help = "JSON lines in HumanEval's fields; may be gzip'd"},
    {.name = "think",
     .kind = PQ_OPTION_TEXT,
     .value = "LIST",
     FIELD(think),
     .help = "modes, as slow,auto,no (default: all that the model has)"},
    {.name = "limit",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(limit),
     .min = 1,
     .max = 1 << 30,
     .help = "the first N tasks only"},
    {.name = "batch",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(batch),
     .min = 1,
     .max = 256,
     .help = "replies generated at a time (default 8)"},
    {.name = "max-tokens",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(max_tokens),
     .min = 1,
     .max = 1 << 30,
     .help = "longest reply, thinking included (default 1024)"},
    {.name = "timeout",
     .kind = PQ_OPTION_FLOAT,
     .value = "S",
     FIELD(timeout),
     .min = 0.1,
     .max = 3600,
     .help = "seconds that a program may take to be judged (default 10)"},
    {.name = "out",
     .letter = 'o',
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(out),
     .help = "write every reply and its verdict, a JSON line each"},
    {.name = "replies",
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(replies),
     .help = "judge the replies of such a file instead of generating any"},
    PQ_ENGINE_OPTIONS(struct eval, engine),
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print the table as JSON"},
};

/* The run of one evaluation. */
struct session {
    const struct eval *eval;
    struct pq_tasks tasks;
    json_t *replies;           /* of --replies; owned */
    struct pq_answer *answers; /* [n], mode by mode; owned */
    int n;
    const char *modes[MODES]; /* in the order of the table */
    double seconds[MODES];    /* that generating took */
    int n_modes;
    const char *what; /* of the progress line */
    struct pq_progress progress;
};

static bool show_progress(void *user, const char *what, uint64_t done, uint64_t total) {
    struct session *s = user;
    char text[64];
    snprintf(text, sizeof text, "%s%s%s", what, s->what ? ", " : "", s->what ? s->what : "");
    return pq_progress_step(&s->progress, text, done, total);
}

/* ---- Answers that a model gives -------------------------------------------------------------- */

/* The modes of --think into s->modes. */
static enum pq_status parse_modes(struct session *s, const struct pq_engine *engine,
                                  struct pq_err *err) {
    char all[PQ_MODES_TEXT];
    const char *list = s->eval->think;
    if (!list && !*(list = pq_modes_text(engine->tok, engine->config, ",", all)))
        list = "no"; /* there is no template: encoding says so */
    while (*list) {
        char word[16];
        size_t n = strcspn(list, ",");
        enum pq_think think;
        snprintf(word, sizeof word, "%.*s", (int)n, list);
        list += n + (list[n] == ',');
        if (!pq_think_parse(word, &think))
            return pq_refuse(err, PQ_EINVAL, "--think takes a list of slow, auto and no, not '%s'",
                             word);
        for (int i = 0; i < s->n_modes; i++)
            if (strcmp(s->modes[i], word) == 0)
                return pq_refuse(err, PQ_EINVAL, "--think names '%s' twice", word);
        int chosen = think;
        enum pq_status status = pq_choose_think(engine->tok, engine->config, &chosen, err);
        if (status != PQ_OK)
            return status;
        s->modes[s->n_modes++] = pq_think_name(think);
    }
    return s->n_modes ? PQ_OK : pq_refuse(err, PQ_EINVAL, "--think names no mode");
}

/* The words that pangu-mini was trained on; other models take them as well. */
static enum pq_status encode_task(const struct pq_task *task, const struct pq_tokenizer *tok,
                                  enum pq_think think, struct pq_job *job, struct pq_err *err) {
    char *text = NULL;
    size_t length = strlen(task->prompt);
    while (length && task->prompt[length - 1] == '\n')
        length--;
    if (asprintf(&text, "Complete this Python function.\n%.*s", (int)length, task->prompt) < 0)
        return pq_refuse(err, PQ_ENOMEM, "no memory for a prompt");
    struct pq_message message = {.role = PQ_USER, .text = text, .think = think};
    enum pq_status status = pq_chat_encode(tok, &message, 1, &job->prompt, &job->n, err);
    free(text);
    return status;
}

/* Generate a reply to every task in the mode. */
static enum pq_status answer_in_mode(struct session *s, const struct pq_engine *engine,
                                     struct pq_pool *pool, int mode, struct pq_err *err) {
    int n = s->tasks.n, longest = 0, most = engine->config->max_positions;
    struct pq_answer *answers = s->answers + s->n;
    struct pq_job *jobs = calloc((size_t)n, sizeof *jobs);
    enum pq_think think = PQ_THINK_NO;
    enum pq_status status = jobs ? PQ_OK : pq_refuse(err, PQ_ENOMEM, "no memory for the prompts");
    pq_think_parse(s->modes[mode], &think);
    for (int i = 0; i < n && status == PQ_OK; i++) {
        status = encode_task(&s->tasks.task[i], engine->tok, think, &jobs[i], err);
        longest = jobs[i].n > longest ? jobs[i].n : longest;
        if (status == PQ_OK && jobs[i].n > most)
            status = pq_refuse(err, PQ_ERANGE,
                               "task %s has a prompt of %d tokens, more than the "
                               "model's %d positions",
                               s->tasks.task[i].id, jobs[i].n, most);
    }
    int64_t want = (int64_t)longest + s->eval->max_tokens;
    struct pq_batch_options o = {.slots = s->eval->batch < n ? s->eval->batch : n,
                                 .positions = want < most ? (int)want : most,
                                 .max_tokens = s->eval->max_tokens,
                                 .progress = show_progress,
                                 .user = s};
    double start = pq_seconds();
    s->what = s->modes[mode];
    if (status == PQ_OK)
        status = pq_batch_generate(engine, pool, jobs, n, &o, err);
    s->seconds[mode] = pq_seconds() - start;
    pq_progress_clear(&s->progress);
    for (int i = 0; jobs && i < n; i++) {
        answers[i] =
            (struct pq_answer){.task = &s->tasks.task[i], .mode = s->modes[mode], .reply = jobs[i]};
        s->n++;
    }
    free(jobs);
    return status;
}

static enum pq_status generate_answers(struct session *s, const char *dir, struct pq_err *err) {
    struct pq_pool *pool = NULL;
    struct pq_engine engine = {0};
    enum pq_status status = pq_pool_open(&pool, s->eval->engine.threads, err);
    if (status == PQ_OK)
        status = pq_engine_open(&engine, dir, &s->eval->engine, pool, err);
    if (status == PQ_OK)
        status = parse_modes(s, &engine, err);
    if (status == PQ_OK) {
        s->answers = calloc((size_t)s->n_modes * (size_t)s->tasks.n, sizeof *s->answers);
        if (!s->answers)
            status = pq_refuse(err, PQ_ENOMEM, "no memory for the answers");
    }
    for (int mode = 0; mode < s->n_modes && status == PQ_OK; mode++)
        status = answer_in_mode(s, &engine, pool, mode, err);
    pq_engine_close(&engine);
    pq_pool_close(pool);
    return status;
}

/* ---- Answers from a file --------------------------------------------------------------------- */

static int mode_index(struct session *s, const char *mode) {
    int i = 0;
    while (i < s->n_modes && strcmp(s->modes[i], mode) != 0)
        i++;
    if (i == s->n_modes && i < MODES)
        s->modes[s->n_modes++] = mode;
    return i;
}

static int text_number(const json_t *object, const char *key) {
    return (int)json_integer_value(json_object_get(object, key));
}

static enum pq_status take_reply(struct session *s, const json_t *row, struct pq_err *err) {
    const char *id = json_string_value(json_object_get(row, "task_id"));
    const char *mode = json_string_value(json_object_get(row, "mode"));
    const char *content = json_string_value(json_object_get(row, "content"));
    const char *thinking = json_string_value(json_object_get(row, "thinking"));
    const char *finish = json_string_value(json_object_get(row, "finish_reason"));
    const struct pq_task *task = NULL;
    if (!id || !content)
        return pq_refuse(err, PQ_EFORMAT, "%s: reply %d has no text \"%s\"", s->eval->replies,
                         s->n + 1, id ? "content" : "task_id");
    for (int i = 0; i < s->tasks.n && !task; i++)
        if (strcmp(s->tasks.task[i].id, id) == 0)
            task = &s->tasks.task[i];
    if (!task)
        return s->eval->limit ? PQ_OK
                              : pq_refuse(err, PQ_EFORMAT,
                                          "%s: reply %d is to task %s, which %s "
                                          "does not have",
                                          s->eval->replies, s->n + 1, id, s->eval->tasks);
    mode = mode ? mode : "-";
    if (mode_index(s, mode) == MODES)
        return pq_refuse(err, PQ_EFORMAT, "%s: '%s' is a fourth mode", s->eval->replies, mode);
    struct pq_answer *answer = &s->answers[s->n++];
    *answer = (struct pq_answer){.task = task, .mode = mode};
    answer->reply = (struct pq_job){.content = strdup(content),
                                    .thinking = strdup(thinking ? thinking : ""),
                                    .tokens = text_number(row, "tokens"),
                                    .thinking_tokens = text_number(row, "thinking_tokens"),
                                    .ended = !finish || strcmp(finish, "stop") == 0};
    return answer->reply.content && answer->reply.thinking
               ? PQ_OK
               : pq_refuse(err, PQ_ENOMEM, "no memory for the replies");
}

static enum pq_status read_answers(struct session *s, struct pq_err *err) {
    enum pq_status status = pq_jsonl_read(&s->replies, s->eval->replies, err);
    size_t n = json_array_size(s->replies);
    if (status == PQ_OK && n > 0)
        s->answers = calloc(n, sizeof *s->answers);
    if (status == PQ_OK && !s->answers)
        status = pq_refuse(err, PQ_EFORMAT, "%s: no replies", s->eval->replies);
    for (size_t i = 0; i < n && status == PQ_OK; i++)
        status = take_reply(s, json_array_get(s->replies, i), err);
    return status;
}

/* ---- Results --------------------------------------------------------------------------------- */

struct sums {
    int tasks, passed, truncated;
    double thinking, tokens;
};

static struct sums sum_mode(const struct session *s, const char *mode) {
    struct sums sums = {0};
    for (int i = 0; i < s->n; i++) {
        const struct pq_answer *a = &s->answers[i];
        if (strcmp(a->mode, mode) != 0)
            continue;
        sums.tasks++;
        sums.passed += a->passed;
        sums.truncated += !a->reply.ended;
        sums.thinking += a->reply.thinking_tokens;
        sums.tokens += a->reply.tokens;
    }
    return sums;
}

static void print_table(const struct session *s) {
    static const char *const heads[] = {"mode",  "tasks",     "passed",  "pass@1", "thinking",
                                        "reply", "truncated", "seconds", "tok/s"};
    struct pq_table table = {.columns = 9, .left = 1};
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int i = 0; i < s->n_modes; i++) {
        struct sums m = sum_mode(s, s->modes[i]);
        pq_table_add(&table, "%s", s->modes[i]);
        pq_table_add(&table, "%d", m.tasks);
        pq_table_add(&table, "%d", m.passed);
        pq_table_add(&table, "%.1f %%", 100.0 * m.passed / m.tasks);
        pq_table_add(&table, "%.1f", m.thinking / m.tasks);
        pq_table_add(&table, "%.1f", m.tokens / m.tasks);
        pq_table_add(&table, "%d", m.truncated);
        pq_table_add(&table, s->seconds[i] > 0 ? "%.1f" : "-", s->seconds[i]);
        pq_table_add(&table, s->seconds[i] > 0 ? "%.0f" : "-", m.tokens / s->seconds[i]);
    }
    pq_table_print(&table);
    printf("thinking and reply: mean tokens; the reply includes the thinking\n");
}

static int print_json(const struct session *s, const char *dir) {
    json_t *modes = json_array();
    for (int i = 0; i < s->n_modes; i++) {
        struct sums m = sum_mode(s, s->modes[i]);
        double seconds = s->seconds[i];
        json_array_append_new(
            modes, json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:i, s:f, s:f}", "mode", s->modes[i],
                             "tasks", m.tasks, "passed", m.passed, "pass_at_1",
                             (double)m.passed / m.tasks, "thinking_tokens", m.thinking / m.tasks,
                             "tokens", m.tokens / m.tasks, "truncated", m.truncated, "seconds",
                             seconds, "tok_s", seconds > 0 ? m.tokens / seconds : 0));
    }
    return pq_print_json(
        json_pack("{s:s, s:s?, s:o}", "task", s->eval->tasks, "model", dir, "modes", modes));
}

static enum pq_status write_answers(const struct session *s, FILE *file, struct pq_err *err) {
    bool good = true;
    for (int i = 0; i < s->n && good; i++) {
        const struct pq_answer *a = &s->answers[i];
        json_t *row =
            json_pack("{s:s, s:s, s:b, s:s, s:i, s:i, s:s, s:s, s:s}", "task_id", a->task->id,
                      "mode", a->mode, "passed", a->passed, "reason", a->reason, "thinking_tokens",
                      a->reply.thinking_tokens, "tokens", a->reply.tokens, "finish_reason",
                      a->reply.ended ? "stop" : "length", "thinking", a->reply.thinking, "content",
                      a->reply.content);
        good = row && json_dumpf(row, file, 0) == 0 && fputc('\n', file) != EOF;
        json_decref(row);
    }
    if (!good || fflush(file) != 0)
        return pq_refuse(err, PQ_EIO, "%s cannot be written: %s", s->eval->out, strerror(errno));
    return PQ_OK;
}

/* ---- The command ----------------------------------------------------------------------------- */

/* Everything but the printing. */
static enum pq_status evaluate(struct session *s, const struct pq_sandbox *sandbox, const char *dir,
                               struct pq_err *err) {
    FILE *out = NULL;
    int parallel = s->eval->engine.threads;
    enum pq_status status = pq_tasks_read(&s->tasks, s->eval->tasks, s->eval->limit, err);
    if (status == PQ_OK && s->eval->out && !(out = fopen(s->eval->out, "w")))
        status = pq_refuse(err, PQ_EIO, "%s: %s", s->eval->out, strerror(errno));
    if (status == PQ_OK)
        status = s->eval->replies ? read_answers(s, err) : generate_answers(s, dir, err);
    if (parallel == 0)
        parallel = (int)sysconf(_SC_NPROCESSORS_ONLN);
    s->what = NULL;
    if (status == PQ_OK)
        status = pq_judge_answers(sandbox, s->answers, s->n, parallel, show_progress, s, err);
    pq_progress_clear(&s->progress);
    if (status == PQ_OK && out)
        status = write_answers(s, out, err);
    if (out)
        fclose(out);
    return status;
}

static int main_eval(const struct pq_command *command, int argc, char **argv) {
    struct eval eval = {.batch = 8, .max_tokens = MAX_REPLY, .timeout = 10};
    struct session s = {.eval = &eval};
    struct pq_sandbox *sandbox = NULL;
    struct pq_err err = {""};
    char *builtin = NULL;
    int n, code;
    if (!pq_options_parse(command, argc, argv, &eval, &n, &code))
        return code;
    if (!eval.tasks)
        return pq_usage_error(command, "--task must be given");
    if (eval.replies && n)
        return pq_usage_error(command, "--replies needs no checkpoint, but there is '%s'", argv[0]);
    const char *dir = n ? argv[0] : NULL;
    if (!dir && !eval.replies && !(dir = builtin = pq_builtin_checkpoint(&err)))
        return pq_error("%s", err.text);
    pq_progress_catch_interrupt();
    enum pq_status status = pq_sandbox_open(&sandbox, eval.timeout, &err);
    if (status == PQ_OK)
        status = evaluate(&s, sandbox, dir, &err);
    code = PQ_EXIT_OK;
    if (status != PQ_OK)
        code = pq_error("%s", err.text);
    else if (eval.json)
        code = print_json(&s, dir);
    else
        print_table(&s);
    for (int i = 0; i < s.n; i++)
        pq_job_free(&s.answers[i].reply);
    free(s.answers);
    pq_sandbox_close(sandbox);
    json_decref(s.replies);
    pq_tasks_free(&s.tasks);
    free(builtin);
    return code;
}

const struct pq_command pq_command_eval = {
    .name = "eval",
    .arguments = "[DIR] --task FILE",
    .least = 0,
    .most = 1,
    .summary = "pass@1 on programming tasks, in a sandbox",
    .details =
        "Replies are generated greedily, and the Python in them is judged by the tasks' tests in\n"
        "bubblewrap: no network, no files, and limits on time and memory.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_eval,
};
