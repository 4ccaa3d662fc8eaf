#include "calibrate.h"
#include "batch.h"
#include "exclude.h"
#include "generate.h"
#include "output.h"
#include "prompts.h"
#include "report.h"
#include "windows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct session {
    const struct pq_calibrate_options *options;
    struct pq_calibrate_count *counts; /* [PQ_TRACE_MODES] */
    struct pq_engine engine;
    struct pq_pool *pool;
    struct pq_exclusion exclusion;
    struct pq_prompts prompts;
    enum pq_think modes[PQ_MODES];
    int n_modes;
    struct pq_job *jobs; /* [n_jobs] every prompt in every mode; owned */
    int n_jobs, ended;
    struct pq_traces windows;
    struct pq_progress progress;
};

static void close_session(struct session *s) {
    for (int i = 0; i < s->n_jobs; i++)
        pq_job_free(&s->jobs[i]);
    free(s->jobs);
    pq_traces_free(&s->windows);
    pq_prompts_free(&s->prompts);
    pq_exclusion_free(&s->exclusion);
    pq_engine_close(&s->engine);
    pq_pool_close(s->pool);
}

/* ---- What goes in ---------------------------------------------------------------------------- */

static enum pq_status check_prompt(const struct session *s, const struct pq_prompt *prompt,
                                   struct pq_err *err) {
    enum pq_status status = PQ_OK;
    char called[256];
    snprintf(called, sizeof called, "%s, prompt %d", s->options->prompts, prompt->number);
    for (int i = 0; i < prompt->n && status == PQ_OK; i++) {
        const char *text = prompt->message[i].text;
        status = pq_exclude_check(&s->exclusion, text, strlen(text), called, err);
    }
    return status;
}

/* All that there is without the model. */
static enum pq_status read_inputs(struct session *s, struct pq_err *err) {
    const struct pq_calibrate_options *o = s->options;
    struct pq_windows_options windows = {.file = o->text,
                                         .fields = o->fields,
                                         .window = o->window,
                                         .n = o->samples,
                                         .seed = &o->seed,
                                         .exclude = &s->exclusion};
    enum pq_status status = PQ_OK;
    for (int i = 0; i < o->exclude.n && status == PQ_OK; i++)
        status = pq_exclude_read(&s->exclusion, o->exclude.text[i], err);
    if (status == PQ_OK && o->prompts)
        status = pq_prompts_read(&s->prompts, o->prompts, err);
    for (int i = 0; i < s->prompts.n && status == PQ_OK; i++)
        status = check_prompt(s, &s->prompts.prompt[i], err);
    if (status == PQ_OK && o->text)
        status = pq_windows_read(&s->windows, &windows, s->engine.tok, err);
    return status;
}

/* ---- Replies --------------------------------------------------------------------------------- */

static enum pq_status encode_prompt(const struct session *s, const struct pq_prompt *prompt,
                                    enum pq_think think, struct pq_job *job, struct pq_err *err) {
    int most = s->engine.config->max_positions;
    for (int i = 0; i < prompt->n; i++)
        prompt->message[i].think = think;
    enum pq_status status =
        pq_chat_encode(s->engine.tok, prompt->message, prompt->n, &job->prompt, &job->n, err);
    if (status == PQ_OK && job->n >= most)
        return pq_refuse(err, PQ_ERANGE,
                         "%s: prompt %d has %d tokens and leaves no room in the model's %d "
                         "positions",
                         s->options->prompts, prompt->number, job->n, most);
    return status;
}

/* Every prompt in every mode; *longest receives the tokens of the longest prompt. */
static enum pq_status list_jobs(struct session *s, int *longest, struct pq_err *err) {
    const struct pq_calibrate_options *o = s->options;
    int prompts = o->limit && o->limit < s->prompts.n ? o->limit : s->prompts.n;
    enum pq_status status =
        pq_parse_modes(s->modes, &s->n_modes, o->modes, "modes", &s->engine, err);
    if (status != PQ_OK)
        return status;
    s->jobs = calloc((size_t)prompts * (size_t)s->n_modes, sizeof *s->jobs);
    if (!s->jobs)
        return pq_refuse(err, PQ_ENOMEM, "no memory for %d prompts", prompts);
    while (s->n_jobs < prompts * s->n_modes && status == PQ_OK) {
        int i = s->n_jobs++;
        struct pq_job *job = &s->jobs[i];
        job->seed = o->seed + (uint64_t)i;
        status = encode_prompt(s, &s->prompts.prompt[i / s->n_modes], s->modes[i % s->n_modes], job,
                               err);
        *longest = job->n > *longest ? job->n : *longest;
    }
    return status;
}

static enum pq_status count_reply(void *user, int job, struct pq_err *err) {
    struct session *s = user;
    (void)job, (void)err;
    s->ended++;
    return PQ_OK;
}

static enum pq_status between_steps(void *user, struct pq_err *err) {
    struct session *s = user;
    return pq_progress_step(&s->progress, "generating", (uint64_t)s->ended, (uint64_t)s->n_jobs)
               ? PQ_OK
               : pq_refuse(err, PQ_ECANCELLED, "stopped");
}

static enum pq_status generate(struct session *s, struct pq_err *err) {
    const struct pq_calibrate_options *o = s->options;
    const struct pq_sampling_options given = {.temperature = o->temperature,
                                              .top_p = o->top_p,
                                              .top_k = -1,
                                              .repetition_penalty = 1,
                                              .greedy = o->greedy};
    struct pq_sampler_options sampling = pq_choose_sampling(&s->engine, &given);
    int longest = 0, most = s->engine.config->max_positions;
    enum pq_status status = list_jobs(s, &longest, err);
    int64_t want = (int64_t)longest + o->max_tokens;
    struct pq_batch_options batch = {.slots = o->batch < s->n_jobs ? o->batch : s->n_jobs,
                                     .positions = want < most ? (int)want : most,
                                     .max_tokens = o->max_tokens,
                                     .sampling = &sampling,
                                     .done = count_reply,
                                     .step = between_steps,
                                     .user = s};
    struct pq_batch_stats stats;
    if (status == PQ_OK)
        status = pq_batch_generate(&s->engine, s->pool, s->jobs, s->n_jobs, &batch, &stats, err);
    pq_progress_clear(&s->progress);
    return status;
}

/* ---- The file -------------------------------------------------------------------------------- */

/* A line of first [n_first] and then [n_then] ids. */
static void write_trace(FILE *file, const struct pq_trace *t, const int32_t *reply) {
    fprintf(file, "{\"mode\": \"%s\", \"ids\": [", pq_trace_mode_name(t->mode));
    for (int i = 0; i < t->n; i++)
        fprintf(file, "%s%d", i ? ", " : "",
                reply && i >= t->prompt ? reply[i - t->prompt] : t->ids[i]);
    fprintf(file, "], \"prompt\": %d, \"answer\": %d}\n", t->prompt, t->answer);
}

static void count_trace(struct pq_calibrate_count *counts, const struct pq_trace *t) {
    struct pq_calibrate_count *c = &counts[t->mode];
    c->sequences++;
    c->prompt += t->prompt;
    c->thinking += t->answer - t->prompt;
    c->answer += t->n - t->answer;
}

static int least(int a, int b) {
    return a < b ? a : b;
}

/* The last token of a reply that the context ended was never fed: the model has no position for it,
 * nor whoever takes the trace. */
static void write_all(const struct session *s, FILE *file) {
    for (int i = 0; i < s->n_jobs; i++) {
        const struct pq_job *job = &s->jobs[i];
        int n = least(job->n + job->tokens, s->engine.config->max_positions);
        struct pq_trace t = {.mode = (enum pq_trace_mode)s->modes[i % s->n_modes],
                             .ids = job->prompt,
                             .n = n,
                             .prompt = job->n,
                             .answer = least(job->n + job->answer, n)};
        write_trace(file, &t, job->ids);
        count_trace(s->counts, &t);
        s->counts[t.mode].cut += !job->ended;
    }
    for (int i = 0; i < s->windows.n; i++) {
        write_trace(file, &s->windows.trace[i], NULL);
        count_trace(s->counts, &s->windows.trace[i]);
    }
}

enum pq_status pq_calibrate(struct pq_calibrate_count *counts,
                            const struct pq_calibrate_options *options, const char *dir,
                            struct pq_err *err) {
    struct session s = {.options = options, .counts = counts};
    struct pq_output out;
    enum pq_status status = pq_output_open(&out, options->out, err); /* before hours of work */
    if (status != PQ_OK)
        return status;
    status = pq_pool_open(&s.pool, options->engine.threads, err);
    if (status == PQ_OK)
        status = pq_engine_open(&s.engine, dir, &options->engine, s.pool, err);
    if (status == PQ_OK)
        status = read_inputs(&s, err);
    if (status == PQ_OK && options->prompts)
        status = generate(&s, err);
    if (status == PQ_OK)
        write_all(&s, out.file);
    close_session(&s);
    return pq_output_close(&out, status, err);
}
