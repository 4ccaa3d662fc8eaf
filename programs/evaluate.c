#include "evaluate.h"
#include "fingerprint.h"
#include "generate.h"
#include "jsonl.h"
#include "loops.h"
#include "report.h"
#include "summary.h"
#include "tally.h"
#include "tasks.h"
#include "verdicts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MODES = 3 };

struct session {
    const struct pq_eval_options *options;
    const struct pq_run *baseline; /* NULL: there is none */
    struct pq_run *run;
    struct pq_tasks tasks;
    const char *modes[MODES];
    int n_modes;
    struct pq_answer *answers; /* [n] that the run lacks; owned */
    struct pq_job *jobs;       /* [n] what generates them; owned */
    int n, judged, passed;     /* of all rows of the run, these two */
    json_t *replies, *samples; /* of --replies, and which there were; owned */
    struct pq_judge *judge;
    struct pq_progress progress;
    double start;
};

/* ---- Verdicts as they come ------------------------------------------------------------------- */

/* False once Ctrl-C was pressed. */
static bool show_progress(struct session *s) {
    char text[64];
    int here = s->judged - s->run->resumed;
    snprintf(text, sizeof text, "%d of %d, pass@1 %.1f %%", s->judged, s->run->resumed + s->n,
             s->judged ? 100.0 * s->passed / s->judged : 0);
    return pq_progress_step(&s->progress, text, (uint64_t)here, (uint64_t)s->n);
}

static enum pq_status keep_verdict(void *user, struct pq_answer *a, struct pq_err *err) {
    struct session *s = user;
    const struct pq_job *reply = &a->reply;
    bool loops = pq_text_loops(reply->thinking) || pq_text_loops(reply->content);
    json_t *row = json_pack(
        "{s:s, s:s, s:i, s:b, s:s, s:i, s:i, s:i, s:s, s:b, s:s, s:s, s:s}", "task_id", a->task->id,
        "mode", a->mode, "sample", a->sample, "passed", a->passed, "reason", a->reason,
        "prompt_tokens", reply->n, "thinking_tokens", reply->thinking_tokens, "tokens",
        reply->tokens, "finish_reason", reply->ended ? "stop" : "length", "loops", loops, "prompt",
        a->task->message, "thinking", reply->thinking, "content", reply->content);
    s->judged++;
    s->passed += a->passed;
    pq_job_free(&a->reply);
    return pq_run_add_row(s->run, row, err);
}

/* A reply has been generated. */
static enum pq_status take_reply(void *user, int job, struct pq_err *err) {
    struct session *s = user;
    s->answers[job].reply = s->jobs[job];
    s->jobs[job] = (struct pq_job){0};
    return pq_judge_add(s->judge, &s->answers[job], err);
}

static enum pq_status between_steps(void *user, struct pq_err *err) {
    struct session *s = user;
    enum pq_status status = pq_judge_attend(s->judge, 0, err);
    bool go_on = show_progress(s);
    return status == PQ_OK && !go_on ? pq_refuse(err, PQ_ECANCELLED, "stopped") : status;
}

/* Judge what waits, even after Ctrl-C: a reply is worth more than the seconds that this takes. */
static enum pq_status finish_judging(struct session *s, struct pq_err *err) {
    enum pq_status status = PQ_OK;
    while (status == PQ_OK && pq_judge_waiting(s->judge) > 0) {
        status = pq_judge_attend(s->judge, 0.2, err);
        show_progress(s);
    }
    return status;
}

/* ---- Answers that a model gives -------------------------------------------------------------- */

/* The modes of --think into s->modes. */
static enum pq_status parse_modes(struct session *s, const struct pq_engine *engine,
                                  struct pq_err *err) {
    enum pq_think modes[PQ_MODES];
    enum pq_status status =
        pq_parse_modes(modes, &s->n_modes, s->options->think, "think", engine, err);
    for (int i = 0; i < s->n_modes && status == PQ_OK; i++)
        s->modes[i] = pq_think_name(modes[i]);
    return status;
}

/* A stream of its own for each task, mode and sample, whatever else there is (SplitMix64). */
static uint64_t mix_seed(uint64_t seed, const struct pq_answer *answer) {
    uint64_t z = seed + 0x9e3779b97f4a7c15 * (uint64_t)(answer->sample + 1);
    for (const char *p = answer->task->id; *p; p++)
        z = (z ^ (unsigned char)*p) * 0x100000001b3;
    for (const char *p = answer->mode; *p; p++)
        z = (z ^ (unsigned char)*p) * 0x100000001b3;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* The turns that the reply follows; returns their number. */
static int converse(const struct session *s, const struct pq_answer *a,
                    struct pq_message messages[2 * PQ_MOST_SHOTS + 1]) {
    int n = 0;
    for (; n < 2 * s->tasks.n_shots; n++)
        messages[n] = s->tasks.shots[n];
    messages[n++] = (struct pq_message){.role = PQ_USER, .text = a->task->message};
    for (int i = 0; i < n; i++)
        pq_think_parse(a->mode, &messages[i].think);
    return n;
}

static enum pq_status encode(struct session *s, int i, const struct pq_engine *engine,
                             struct pq_err *err) {
    const struct pq_answer *a = &s->answers[i];
    struct pq_job *job = &s->jobs[i];
    int most = engine->config->max_positions;
    struct pq_message messages[2 * PQ_MOST_SHOTS + 1];
    int n = converse(s, a, messages);
    job->seed = mix_seed(s->options->seed, a);
    enum pq_status status = pq_chat_encode(engine->tok, messages, n, &job->prompt, &job->n, err);
    if (status == PQ_OK && job->n > most)
        return pq_refuse(err, PQ_ERANGE,
                         "task %s has a prompt of %d tokens, more than the model's %d positions",
                         a->task->id, job->n, most);
    return status;
}

/* Every task, mode and sample that the run does not have, encoded. */
static enum pq_status list_jobs(struct session *s, const struct pq_engine *engine, int *longest,
                                struct pq_err *err) {
    size_t most = (size_t)s->tasks.n * (size_t)s->n_modes * (size_t)s->options->samples;
    enum pq_status status = PQ_OK;
    s->answers = calloc(most + 1, sizeof *s->answers);
    s->jobs = calloc(most + 1, sizeof *s->jobs);
    if (!s->answers || !s->jobs)
        return pq_refuse(err, PQ_ENOMEM, "no memory for %zu prompts", most);
    for (size_t i = 0; i < most && status == PQ_OK; i++) {
        size_t group = (size_t)s->n_modes * (size_t)s->options->samples;
        struct pq_answer answer = {.task = &s->tasks.task[i / group],
                                   .mode = s->modes[i % (size_t)s->n_modes],
                                   .sample = (int)(i % group / (size_t)s->n_modes)};
        if (pq_run_row(s->run, answer.task->id, answer.mode, answer.sample))
            continue;
        s->answers[s->n++] = answer;
        status = encode(s, s->n - 1, engine, err);
        *longest = s->jobs[s->n - 1].n > *longest ? s->jobs[s->n - 1].n : *longest;
    }
    return status;
}

static json_t *session_json(const struct session *s, const struct pq_batch_stats *stats,
                            const struct pq_engine *engine, int threads) {
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    return json_pack("{s:f, s:i, s:i, s:i, s:I, s:f, s:I, s:f, s:I, s:I, s:I, s:I}", "seconds",
                     pq_seconds() - s->start, "replies", s->judged - s->run->resumed, "threads",
                     threads, "batch", stats->slots, "prefill_tokens",
                     (json_int_t)stats->prefill_tokens, "prefill_s", stats->prefill_s,
                     "decode_tokens", (json_int_t)stats->decode_tokens, "decode_s", stats->decode_s,
                     "weight_bytes", (json_int_t)pq_model_bytes(engine->model), "kv_bytes",
                     (json_int_t)stats->kv_bytes, "scratch_bytes", (json_int_t)stats->scratch_bytes,
                     "peak_bytes", (json_int_t)usage.ru_maxrss * 1024);
}

static enum pq_status generate(struct session *s, const struct pq_engine *engine,
                               struct pq_pool *pool, struct pq_err *err) {
    const struct pq_eval_options *o = s->options;
    int longest = 0, most = engine->config->max_positions;
    enum pq_status status = list_jobs(s, engine, &longest, err);
    if (status != PQ_OK || s->n == 0)
        return status;
    struct pq_sampler_options sampling = {.temperature = o->temperature,
                                          .top_k = o->top_k,
                                          .top_p = o->top_p,
                                          .repetition_penalty = 1};
    int64_t want = (int64_t)longest + o->max_tokens;
    struct pq_batch_options batch = {.slots = o->batch < s->n ? o->batch : s->n,
                                     .kv_bytes = (double)o->kv_memory * (1 << 30),
                                     .positions = want < most ? (int)want : most,
                                     .max_tokens = o->max_tokens,
                                     .sampling = &sampling,
                                     .done = take_reply,
                                     .step = between_steps,
                                     .user = s};
    struct pq_batch_stats stats = {0};
    struct pq_err later;
    status = pq_batch_generate(engine, pool, s->jobs, s->n, &batch, &stats, err);
    bool stopped = status == PQ_ECANCELLED;
    if (status == PQ_OK || stopped) {
        enum pq_status judged = finish_judging(s, stopped ? &later : err);
        status = stopped ? status : judged;
    }
    pq_progress_clear(&s->progress);
    if (status == PQ_OK || status == PQ_ECANCELLED) {
        enum pq_status kept = pq_run_add_session(
            s->run, session_json(s, &stats, engine, pq_pool_threads(pool)), &later);
        if (kept != PQ_OK && status == PQ_OK)
            status = pq_refuse(err, kept, "%s", later.text);
    }
    return status;
}

/* ---- The run's settings ---------------------------------------------------------------------- */

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* What every run has; the caller adds what answers. */
static enum pq_status common_settings(json_t **out, const struct session *s, struct pq_err *err) {
    const struct pq_eval_options *o = s->options;
    char print[PQ_FINGERPRINT];
    enum pq_status status = pq_fingerprint_file(print, o->tasks, err);
    if (status == PQ_OK)
        *out =
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:f, s:b}", "panq", PQ_VERSION, "tasks",
                      base_name(o->tasks), "tasks_fingerprint", print, "format", s->tasks.format,
                      "split", s->tasks.split, "timeout", (double)o->timeout, "unsafe", o->unsafe);
    if (status == PQ_OK && s->tasks.n_shots > 0)
        json_object_set_new(*out, "shots", json_integer(s->tasks.n_shots));
    return status;
}

static enum pq_status model_settings(json_t *settings, const struct session *s, const char *dir,
                                     const struct pq_engine *engine, struct pq_err *err) {
    const struct pq_eval_options *o = s->options;
    const struct pq_config *c = engine->config;
    struct pq_tally tally = {0};
    char print[PQ_FINGERPRINT], *path = realpath(dir, NULL);
    enum pq_status status = pq_fingerprint_checkpoint(print, dir, err);
    if (status == PQ_OK)
        status = pq_tally_count(&tally, engine->ckpt, err);
    if (status == PQ_OK) {
        json_t *model = json_pack(
            "{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:f, s:s, s:s, s:s, s:i, s:f, s:i, s:f, s:I}",
            "model", base_name(path ? path : dir), "model_fingerprint", print, "family", c->family,
            "scheme", pq_scheme_name(c->scheme), "group", c->group, "layers", c->layers, "hidden",
            c->hidden, "weight_bytes", (json_int_t)tally.bytes, "bits", pq_tally_bits(&tally),
            "precision", o->engine.precision == PQ_PRECISION_FP32 ? "fp32" : "native", "kv",
            o->engine.kv == PQ_KV_INT8 ? "int8" : "native", "isa",
            pq_isa_name(pq_model_isa(engine->model)), "max_tokens", o->max_tokens, "temperature",
            (double)o->temperature, "top_k", o->top_k, "top_p", (double)o->top_p, "seed",
            (json_int_t)o->seed);
        if (!model || json_object_update(settings, model) != 0)
            status = pq_refuse(err, PQ_ENOMEM, "no memory for the settings");
        json_decref(model);
    }
    pq_tally_free(&tally);
    free(path);
    return status;
}

static enum pq_status open_run(struct session *s, json_t *settings, struct pq_err *err) {
    const char *other = s->baseline ? pq_other_tasks(settings, s->baseline->settings) : NULL;
    size_t i;
    json_t *row;
    if (other) {
        json_decref(settings);
        return pq_refuse(err, PQ_EINVAL, "%s, the baseline, is of other tasks: its \"%s\" differs",
                         s->baseline->path, other);
    }
    enum pq_status status = pq_run_open(s->run, s->options->out, settings, err);
    if (status != PQ_OK)
        return status;
    s->judged = s->run->resumed;
    json_array_foreach(s->run->rows, i, row) s->passed +=
        json_is_true(json_object_get(row, "passed"));
    if (s->run->torn)
        fprintf(stderr, "panq: %s: its last line was torn and is done again\n", s->options->out);
    if (s->run->resumed)
        fprintf(stderr, "panq: %s has %d replies; going on from there\n", s->options->out,
                s->run->resumed);
    return PQ_OK;
}

static enum pq_status evaluate_model(struct session *s, const char *dir, struct pq_err *err) {
    struct pq_pool *pool = NULL;
    struct pq_engine engine = {0};
    json_t *settings = NULL;
    enum pq_status status = pq_pool_open(&pool, s->options->engine.threads, err);
    if (status == PQ_OK)
        status = pq_engine_open(&engine, dir, &s->options->engine, pool, err);
    if (status == PQ_OK)
        status = parse_modes(s, &engine, err);
    if (status == PQ_OK)
        status = common_settings(&settings, s, err);
    if (status == PQ_OK)
        status = model_settings(settings, s, dir, &engine, err);
    if (status == PQ_OK)
        status = open_run(s, json_incref(settings), err);
    if (status == PQ_OK)
        status = generate(s, &engine, pool, err);
    json_decref(settings);
    pq_engine_close(&engine);
    pq_pool_close(pool);
    return status;
}

/* ---- Answers from a file --------------------------------------------------------------------- */

static int text_number(const json_t *object, const char *key) {
    return (int)json_integer_value(json_object_get(object, key));
}

/* Which reply of its task and mode the row is: its number, or the first that `seen` does not have;
 * -1: there was one with its number. */
static int sample_of(json_t *seen, const json_t *row, const char *id, const char *mode) {
    const json_t *given = json_object_get(row, "sample");
    for (int sample = (int)json_integer_value(given);; sample++) {
        json_t *key = json_sprintf("%s\n%s\n%d", mode, id, sample);
        const char *text = json_string_value(key);
        bool taken = json_object_get(seen, text) != NULL;
        if (!taken)
            json_object_set_new(seen, text, json_true());
        json_decref(key);
        if (given || !taken)
            return taken ? -1 : sample;
    }
}

static enum pq_status add_reply(struct session *s, const json_t *row, size_t number,
                                struct pq_err *err) {
    const char *path = s->options->replies;
    const char *id = json_string_value(json_object_get(row, "task_id"));
    const char *mode = json_string_value(json_object_get(row, "mode"));
    const char *content = json_string_value(json_object_get(row, "content"));
    const char *thinking = json_string_value(json_object_get(row, "thinking"));
    const char *finish = json_string_value(json_object_get(row, "finish_reason"));
    const struct pq_task *task = NULL;
    if (!id || !content)
        return pq_refuse(err, PQ_EFORMAT, "%s: reply %zu has no text \"%s\"", path, number,
                         id ? "content" : "task_id");
    for (int i = 0; i < s->tasks.n && !task; i++)
        if (strcmp(s->tasks.task[i].id, id) == 0)
            task = &s->tasks.task[i];
    if (!task)
        return s->options->limit ? PQ_OK
                                 : pq_refuse(err, PQ_EFORMAT,
                                             "%s: reply %zu is to task %s, which %s does not have",
                                             path, number, id, s->options->tasks);
    struct pq_answer answer = {.task = task, .mode = mode ? mode : "-"};
    answer.sample = sample_of(s->samples, row, id, answer.mode);
    if (answer.sample < 0)
        return pq_refuse(err, PQ_EFORMAT,
                         "%s: reply %zu is the second one to task %s with its mode and sample",
                         path, number, id);
    if (pq_run_row(s->run, id, answer.mode, answer.sample))
        return PQ_OK;
    answer.reply = (struct pq_job){.content = strdup(content),
                                   .thinking = strdup(thinking ? thinking : ""),
                                   .n = text_number(row, "prompt_tokens"),
                                   .tokens = text_number(row, "tokens"),
                                   .thinking_tokens = text_number(row, "thinking_tokens"),
                                   .ended = !finish || strcmp(finish, "stop") == 0};
    s->answers[s->n++] = answer;
    return answer.reply.content && answer.reply.thinking
               ? PQ_OK
               : pq_refuse(err, PQ_ENOMEM, "no memory for the replies");
}

static enum pq_status judge_replies(struct session *s, struct pq_err *err) {
    enum pq_status status = PQ_OK;
    size_t n = json_array_size(s->replies);
    s->answers = calloc(n + 1, sizeof *s->answers);
    s->samples = json_object();
    if (!s->answers || !s->samples)
        return pq_refuse(err, PQ_ENOMEM, "no memory for %zu replies", n);
    for (size_t i = 0; i < n && status == PQ_OK; i++) {
        const json_t *row = json_array_get(s->replies, i);
        if (!json_object_get(row, "run") && !json_object_get(row, "session"))
            status = add_reply(s, row, i + 1, err);
    }
    for (int i = 0; i < s->n && status == PQ_OK; i++)
        status = pq_judge_add(s->judge, &s->answers[i], err);
    while (status == PQ_OK && pq_judge_waiting(s->judge) > 0) {
        status = pq_judge_attend(s->judge, 0.2, err);
        if (!show_progress(s) && status == PQ_OK)
            status = pq_refuse(err, PQ_ECANCELLED, "stopped");
    }
    pq_progress_clear(&s->progress);
    return status;
}

static enum pq_status evaluate_replies(struct session *s, struct pq_err *err) {
    const char *path = s->options->replies;
    json_t *settings = NULL;
    char print[PQ_FINGERPRINT];
    enum pq_status status = pq_jsonl_read(&s->replies, path, err);
    if (status == PQ_OK && json_array_size(s->replies) == 0)
        status = pq_refuse(err, PQ_EFORMAT, "%s: no replies", path);
    if (status == PQ_OK)
        status = pq_fingerprint_file(print, path, err);
    if (status == PQ_OK)
        status = common_settings(&settings, s, err);
    if (status == PQ_OK) {
        json_object_set_new(settings, "model", json_string(base_name(path)));
        json_object_set_new(settings, "model_fingerprint", json_string(print));
        status = open_run(s, json_incref(settings), err);
    }
    if (status == PQ_OK)
        status = judge_replies(s, err);
    json_decref(settings);
    return status;
}

enum pq_status pq_evaluate(struct pq_run *out, const struct pq_eval_options *options,
                           const char *dir, const struct pq_run *baseline, struct pq_err *err) {
    struct session s = {
        .options = options, .run = out, .baseline = baseline, .start = pq_seconds()};
    struct pq_sandbox *sandbox = NULL;
    int parallel = options->engine.threads;
    if (parallel == 0)
        parallel = (int)sysconf(_SC_NPROCESSORS_ONLN);
    pq_progress_catch_interrupt();
    enum pq_status status = pq_tasks_read(&s.tasks, options->tasks, (enum pq_split)options->split,
                                          options->limit, options->shots, err);
    if (status == PQ_OK)
        status = pq_sandbox_open(&sandbox, (double)options->timeout, options->unsafe, err);
    if (status == PQ_OK)
        status = pq_judge_open(&s.judge, sandbox, parallel, keep_verdict, &s, err);
    if (status == PQ_OK)
        status = options->replies ? evaluate_replies(&s, err) : evaluate_model(&s, dir, err);
    pq_judge_close(s.judge);
    pq_sandbox_close(sandbox);
    for (int i = 0; i < s.n; i++) {
        pq_job_free(&s.answers[i].reply);
        if (s.jobs)
            pq_job_free(&s.jobs[i]);
    }
    free(s.answers);
    free(s.jobs);
    json_decref(s.replies);
    json_decref(s.samples);
    pq_tasks_free(&s.tasks);
    return status;
}
