/* The report as Markdown and as JSON. */
#include "report.h"
#include "results.h"

#include <math.h>
#include <string.h>

/* Text in a cell: a bar would end it. */
static void put_cell(FILE *out, const char *text) {
    for (; *text; text++)
        fprintf(out, strchr("|<>&*_`\\", *text) ? "\\%c" : "%c", *text == '\n' ? ' ' : *text);
}

static void put_ratio(FILE *out, double ratio) {
    if (isfinite(ratio))
        fprintf(out, " %.2fx |", ratio);
    else
        fputs(" |", out);
}

static void markdown_row(FILE *out, const struct pq_results *r, const struct pq_result *result) {
    const struct pq_summary *s = &result->summary;
    const struct pq_comparison *c = &result->comparison;
    double replies = s->replies;
    fprintf(out, "| %s | ", s->mode);
    put_cell(out, r->labels[result->run]);
    fprintf(out, " | %.1f %% (%.1f to %.1f) |", 100 * s->pass1, 100 * s->low, 100 * s->high);
    if (s->k > 1)
        fprintf(out, " pass@%d %.1f %% |", s->k, 100 * s->passk);
    else
        fputs(" |", out);
    if (result->compared) {
        if (isfinite(c->retention))
            fprintf(out, " %.1f %%", 100 * c->retention);
        fprintf(out, " | %d, %d | %.2g |", c->lost, c->gained, c->p);
    } else {
        fputs(" | | |", out);
    }
    fprintf(out, " %.0f |", s->thinking);
    put_ratio(out, result->compared ? c->thinking : NAN);
    fprintf(out, " %.0f |", s->answer);
    put_ratio(out, result->compared ? c->answer : NAN);
    fprintf(out, " %.1f %% | %.1f %% | %.1f %% |\n", 100 * s->truncated / replies,
            100 * s->loops / replies, 100 * s->thought / replies);
}

static void markdown_run(FILE *out, const struct pq_results *r, int i) {
    const json_t *settings = r->runs[i].settings;
    double weights = pq_row_number(settings, "weight_bytes");
    struct pq_effort e;
    char text[24];
    pq_sum_sessions(&e, &r->runs[i]);
    fputs("| ", out);
    put_cell(out, r->labels[i]);
    fputs(" | ", out);
    put_cell(out, pq_row_text(settings, "tasks"));
    fprintf(out, " | %s |", weights > 0 ? pq_human_bytes(weights, text) : "");
    fprintf(out, " %s |", e.peak_bytes > 0 ? pq_human_bytes(e.peak_bytes, text) : "");
    fprintf(out, " %.0f | %.0f | %.1f |\n", e.prefill, e.decode, e.per_minute);
}

void pq_results_markdown(FILE *out, const struct pq_results *r) {
    for (int i = 0; i < r->n_sets; i++) {
        const struct pq_result_set *set = &r->sets[i];
        fprintf(out, "%s## ", i ? "\n" : "");
        put_cell(out, set->name);
        fprintf(out, ", %d tasks\n\n", set->n_tasks);
        fputs("| mode | run | pass@1 (95 %) | pass@k | retention | lost, gained | p | thinking | "
              "ratio | answer | ratio | truncated | loops | thought |\n"
              "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
              out);
        for (int k = 0; k < set->n; k++)
            markdown_row(out, r, &set->result[k]);
    }
    fputs(
        "\n| run | tasks | weights | peak memory | prefill tok/s | decode tok/s | replies a minute "
        "|\n|---|---|---|---|---|---|---|\n",
        out);
    for (int i = 0; i < r->n_runs; i++)
        markdown_run(out, r, i);
    for (int i = 0; i < r->n_runs; i++)
        if (pq_row_true(r->runs[i].settings, "unsafe"))
            fprintf(out, "\n%s: judged without a sandbox; verdicts may be forged.\n", r->labels[i]);
}

static json_t *run_json(const struct pq_results *r, int i) {
    struct pq_effort e;
    pq_sum_sessions(&e, &r->runs[i]);
    return json_pack("{s:s, s:s, s:O, s:f, s:f, s:f, s:f, s:f}", "run", r->runs[i].path, "label",
                     r->labels[i], "settings", r->runs[i].settings, "seconds", e.seconds,
                     "replies_a_minute", e.per_minute, "prefill_tok_s", e.prefill, "decode_tok_s",
                     e.decode, "peak_bytes", e.peak_bytes);
}

json_t *pq_results_json(const struct pq_results *r) {
    json_t *sets = json_array(), *runs = json_array();
    for (int i = 0; i < r->n_runs; i++)
        json_array_append_new(runs, run_json(r, i));
    for (int i = 0; i < r->n_sets; i++) {
        const struct pq_result_set *set = &r->sets[i];
        json_t *rows = json_array(), *differ = json_array();
        for (int k = 0; k < set->n; k++) {
            const struct pq_result *result = &set->result[k];
            json_t *row =
                pq_summary_json(&result->summary, result->compared ? &result->comparison : NULL);
            json_object_set_new(row, "run", json_string(r->runs[result->run].path));
            json_object_set_new(row, "label", json_string(r->labels[result->run]));
            json_array_append_new(rows, row);
        }
        for (int t = 0; t < set->n_tasks; t++)
            if (pq_result_differs(r, set, set->tasks[t]))
                json_array_append_new(differ, json_string(set->tasks[t]));
        json_array_append_new(sets, json_pack("{s:s, s:i, s:o, s:o}", "tasks", set->name, "n",
                                              set->n_tasks, "results", rows, "differ", differ));
    }
    return json_pack("{s:o, s:o, s:O?}", "sets", sets, "runs", runs, "bench", r->bench);
}
