#include "summary.h"
#include "stats.h"

#include <math.h>
#include <string.h>

const char *pq_row_text(const json_t *row, const char *key) {
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

double pq_row_number(const json_t *row, const char *key) {
    return json_number_value(json_object_get(row, key));
}

bool pq_row_true(const json_t *row, const char *key) {
    return json_is_true(json_object_get(row, key));
}

const char *pq_other_tasks(const json_t *settings, const json_t *other) {
    static const char *const keys[] = {"tasks_fingerprint", "split", "shots"};
    for (int i = 0; i < 3; i++)
        if (strcmp(pq_row_text(settings, keys[i]), pq_row_text(other, keys[i])) != 0 ||
            pq_row_number(settings, keys[i]) != pq_row_number(other, keys[i]))
            return keys[i];
    return NULL;
}

int pq_run_modes(const struct pq_run *run, const char *modes[PQ_RUN_MODES]) {
    static const char *const order[] = {"slow", "auto", "no"};
    const char *seen[PQ_RUN_MODES];
    int n = 0, kept = 0;
    size_t i;
    json_t *row;
    json_array_foreach(run->rows, i, row) {
        const char *mode = pq_row_text(row, "mode");
        int at = 0;
        while (at < n && strcmp(seen[at], mode) != 0)
            at++;
        if (at == n && n < PQ_RUN_MODES)
            seen[n++] = mode;
    }
    for (int rank = 0; rank < 4; rank++) {
        for (int at = 0; at < n; at++) {
            int own = 0;
            while (own < 3 && strcmp(order[own], seen[at]) != 0)
                own++;
            if (own == rank)
                modes[kept++] = seen[at];
        }
    }
    return n;
}

/* passed and samples of every task in the mode: {"id": [samples, passed]}. */
static json_t *count_tasks(const struct pq_run *run, const char *mode) {
    json_t *tasks = json_object(), *row;
    size_t i;
    json_array_foreach(run->rows, i, row) {
        if (strcmp(pq_row_text(row, "mode"), mode) != 0)
            continue;
        const char *id = pq_row_text(row, "task_id");
        json_t *old = json_object_get(tasks, id);
        json_int_t samples = json_integer_value(json_array_get(old, 0));
        json_int_t passed = json_integer_value(json_array_get(old, 1));
        json_object_set_new(tasks, id,
                            json_pack("[I, I]", samples + 1, passed + pq_row_true(row, "passed")));
    }
    return tasks;
}

/* pass@1, pass@k and the interval. */
static void estimate(struct pq_summary *s, const json_t *tasks) {
    static const int ks[] = {1, 2, 5, 10, 20, 50, 100};
    json_int_t fewest = 1 << 30;
    const char *id;
    json_t *counts;
    json_object_foreach((json_t *)tasks, id, counts) {
        json_int_t n = json_integer_value(json_array_get(counts, 0));
        fewest = n < fewest ? n : fewest;
        s->tasks++;
    }
    s->k = 1;
    for (int i = 0; i < 7; i++)
        if (s->tasks && ks[i] <= fewest)
            s->k = ks[i];
    json_object_foreach((json_t *)tasks, id, counts) {
        int n = (int)json_integer_value(json_array_get(counts, 0));
        int c = (int)json_integer_value(json_array_get(counts, 1));
        s->pass1 += pq_pass_at_k(n, c, 1) / s->tasks;
        s->passk += pq_pass_at_k(n, c, s->k) / s->tasks;
    }
    pq_wilson(s->pass1, s->tasks, &s->low, &s->high);
}

void pq_summarize(struct pq_summary *out, const struct pq_run *run, const char *mode) {
    struct pq_summary s = {.mode = mode};
    json_t *tasks = count_tasks(run, mode), *row;
    size_t i;
    estimate(&s, tasks);
    json_decref(tasks);
    json_array_foreach(run->rows, i, row) {
        if (strcmp(pq_row_text(row, "mode"), mode) != 0)
            continue;
        const char *thinking = pq_row_text(row, "thinking");
        double thought = pq_row_number(row, "thinking_tokens");
        s.replies++;
        s.passed += pq_row_true(row, "passed");
        s.thinking += thought;
        s.answer += pq_row_number(row, "tokens") - thought;
        s.truncated += strcmp(pq_row_text(row, "finish_reason"), "length") == 0;
        s.loops += pq_row_true(row, "loops");
        s.thought += thinking[strspn(thinking, " \t\r\n")] != 0;
    }
    s.thinking /= s.replies ? s.replies : 1;
    s.answer /= s.replies ? s.replies : 1;
    *out = s;
}

void pq_compare(struct pq_comparison *out, const struct pq_run *run, const struct pq_run *baseline,
                const char *mode) {
    struct pq_comparison c = {0};
    double thinking[2] = {0}, answer[2] = {0};
    size_t at;
    json_t *row;
    json_array_foreach(run->rows, at, row) {
        const json_t *other = strcmp(pq_row_text(row, "mode"), mode) == 0
                                  ? pq_run_row(baseline, pq_row_text(row, "task_id"), mode,
                                               (int)pq_row_number(row, "sample"))
                                  : NULL;
        if (!other)
            continue;
        bool now = pq_row_true(row, "passed"), then = pq_row_true(other, "passed");
        c.pairs++;
        c.both += now && then;
        c.lost += then && !now;
        c.gained += now && !then;
        c.neither += !now && !then;
        const json_t *rows[2] = {row, other};
        for (int i = 0; i < 2; i++) {
            double thought = pq_row_number(rows[i], "thinking_tokens");
            thinking[i] += thought;
            answer[i] += pq_row_number(rows[i], "tokens") - thought;
        }
    }
    c.retention = c.both + c.lost ? (double)(c.both + c.gained) / (c.both + c.lost) : NAN;
    c.p = pq_mcnemar(c.lost, c.gained);
    c.thinking = thinking[1] > 0 ? thinking[0] / thinking[1] : NAN;
    c.answer = answer[1] > 0 ? answer[0] / answer[1] : NAN;
    *out = c;
}

static double rate(double count, double seconds) {
    return seconds > 0 ? count / seconds : 0;
}

void pq_sum_sessions(struct pq_effort *out, const struct pq_run *run) {
    struct pq_effort e = {0};
    double prefill_s = 0, decode_s = 0;
    size_t i;
    json_t *s;
    json_array_foreach(run->sessions, i, s) {
        e.replies += pq_row_number(s, "replies");
        e.seconds += pq_row_number(s, "seconds");
        e.prefill += pq_row_number(s, "prefill_tokens");
        prefill_s += pq_row_number(s, "prefill_s");
        e.decode += pq_row_number(s, "decode_tokens");
        decode_s += pq_row_number(s, "decode_s");
        e.peak_bytes = fmax(e.peak_bytes, pq_row_number(s, "peak_bytes"));
    }
    e.per_minute = 60 * rate(e.replies, e.seconds);
    e.prefill = rate(e.prefill, prefill_s);
    e.decode = rate(e.decode, decode_s);
    *out = e;
}

static json_t *number_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *pq_summary_json(const struct pq_summary *s, const struct pq_comparison *c) {
    json_t *json =
        json_pack("{s:s, s:i, s:i, s:i, s:f, s:[f, f], s:f, s:f, s:f, s:i, s:i, s:i}", "mode",
                  s->mode, "tasks", s->tasks, "replies", s->replies, "passed", s->passed,
                  "pass_at_1", s->pass1, "interval", s->low, s->high, "thinking_tokens",
                  s->thinking, "answer_tokens", s->answer, "tokens", s->thinking + s->answer,
                  "truncated", s->truncated, "loops", s->loops, "thought", s->thought);
    if (s->k > 1)
        json_object_set_new(json, "pass_at_k",
                            json_pack("{s:i, s:f}", "k", s->k, "value", s->passk));
    if (c)
        json_object_set_new(json, "baseline",
                            json_pack("{s:i, s:i, s:i, s:i, s:i, s:o, s:f, s:o, s:o}", "pairs",
                                      c->pairs, "both", c->both, "lost", c->lost, "gained",
                                      c->gained, "neither", c->neither, "retention",
                                      number_or_null(c->retention), "mcnemar_p", c->p,
                                      "thinking_ratio", number_or_null(c->thinking), "answer_ratio",
                                      number_or_null(c->answer)));
    return json;
}
