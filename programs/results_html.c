/* The report as a page: tables, plots and runs. */
#include "html.h"
#include "plot.h"
#include "report.h"
#include "results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Tables ---------------------------------------------------------------------------------- */

/* The paper's table: tasks and mode downwards, precisions across. */
static void put_overview(FILE *out, const struct pq_results *r, const struct pq_result_set *set) {
    const char *modes[PQ_RUN_MODES];
    int n = pq_result_modes(r, set, modes);
    pq_html(out, "<div class=\"scroll\"><table class=\"grid\"><thead><tr><th>mode</th>");
    for (int k = 0; k < set->n_runs; k++)
        pq_html(out, "<th class=\"n\">%s</th>", r->labels[set->runs[k]]);
    pq_html(out, "</tr></thead><tbody>\n");
    for (int m = 0; m < n; m++) {
        pq_html(out, "<tr><td>%s</td>", modes[m]);
        for (int k = 0; k < set->n_runs; k++) {
            const struct pq_result *result = pq_result_of(set, set->runs[k], modes[m]);
            if (result)
                pq_html(out, "<td class=\"n\"><b>%.1f</b> <small>%.1f to %.1f</small></td>",
                        100 * result->summary.pass1, 100 * result->summary.low,
                        100 * result->summary.high);
            else
                pq_html(out, "<td></td>");
        }
        pq_html(out, "</tr>\n");
    }
    pq_html(out, "</tbody></table></div>\n<p class=\"note\">pass@1 in percent; small: Wilson&#39;s "
                 "95 %% interval</p>\n");
}

static void put_ratio(FILE *out, double ratio, bool there) {
    if (there && isfinite(ratio))
        pq_html(out, " <small>%.2fx</small>", ratio);
}

/* k: whether there is a column for pass@k; first: of its mode. */
static void put_detail(FILE *out, const struct pq_results *r, const struct pq_result *result,
                       bool k, bool first) {
    const struct pq_summary *s = &result->summary;
    const struct pq_comparison *c = &result->comparison;
    double replies = s->replies;
    pq_html(out, first ? "<tr class=\"first\">" : "<tr>");
    pq_html(out, "<td>%s</td><td>%s</td>", s->mode, r->labels[result->run]);
    pq_html(out, "<td class=\"n\"><b>%.1f %%</b></td>", 100 * s->pass1);
    if (k)
        pq_html(out, "<td class=\"n\">%.1f %% <small>k = %d</small></td>", 100 * s->passk, s->k);
    if (result->compared) {
        if (isfinite(c->retention))
            pq_html(out, "<td class=\"n\">%.1f %%</td>", 100 * c->retention);
        else
            pq_html(out, "<td></td>");
        pq_html(out,
                "<td class=\"n\"><span class=\"bad\">%d</span> / "
                "<span class=\"good\">%d</span></td><td class=\"n\">%.2g</td>",
                c->lost, c->gained, c->p);
    } else {
        pq_html(out, "<td class=\"n\"><small>baseline</small></td><td></td><td></td>");
    }
    pq_html(out, "<td class=\"n\">%.0f", s->thinking);
    put_ratio(out, c->thinking, result->compared);
    pq_html(out, "</td><td class=\"n\">%.0f", s->answer);
    put_ratio(out, c->answer, result->compared);
    pq_html(out,
            "</td><td class=\"n\">%.1f %%</td><td class=\"n\">%.1f %%</td>"
            "<td class=\"n\">%.1f %%</td></tr>\n",
            100 * s->truncated / replies, 100 * s->loops / replies, 100 * s->thought / replies);
}

static void put_details(FILE *out, const struct pq_results *r, const struct pq_result_set *set) {
    bool k = false;
    for (int i = 0; i < set->n; i++)
        k |= set->result[i].summary.k > 1;
    pq_html(out, "<h3>In detail</h3>\n<div class=\"scroll\"><table class=\"grid\"><thead><tr>"
                 "<th>mode</th><th>run</th><th class=\"n\">pass@1</th>");
    if (k)
        pq_html(out, "<th class=\"n\">pass@k</th>");
    pq_html(out,
            "<th class=\"n\">retention</th><th class=\"n\">lost / gained</th><th class=\"n\">p</th>"
            "<th class=\"n\">thinking</th><th class=\"n\">answer</th><th class=\"n\">truncated</th>"
            "<th class=\"n\">loops</th><th class=\"n\">thought</th></tr></thead><tbody>\n");
    for (int i = 0; i < set->n; i++) {
        bool first = i > 0 && strcmp(set->result[i].summary.mode, set->result[i - 1].summary.mode);
        put_detail(out, r, &set->result[i], k, first);
    }
    pq_html(
        out,
        "</tbody></table></div>\n<p class=\"note\">Retention, flips, McNemar&#39;s exact p and "
        "the ratios of tokens are to the baseline, task by task; thinking and answer are mean "
        "tokens of a reply; a loop is an n-gram that stands four or more times in a row and "
        "makes up 64 words; thought: replies whose thinking is not blank. In slow mode the others "
        "are empty thinking, in auto mode it is the share that thought.</p>\n");
}

/* What each run keeps of its baseline, all modes together, in a large figure. */
static void put_facts(FILE *out, const struct pq_results *r, const struct pq_result_set *set) {
    pq_html(out, "<div class=\"facts\">\n");
    for (int k = 0; k < set->n_runs; k++) {
        int run = set->runs[k], baseline = r->baselines[run], lost = 0, gained = 0, both = 0;
        for (int i = 0; i < set->n; i++) {
            const struct pq_result *result = &set->result[i];
            if (result->run != run || !result->compared)
                continue;
            lost += result->comparison.lost;
            gained += result->comparison.gained;
            both += result->comparison.both;
        }
        if (both + lost == 0)
            continue;
        double bytes = pq_row_number(r->runs[run].settings, "weight_bytes");
        double whole = pq_row_number(r->runs[baseline].settings, "weight_bytes");
        pq_html(out,
                "<div class=\"card\">%s keeps<b>%.1f %%</b><small>of what %s solves, all modes "
                "together: %d lost, %d gained",
                r->labels[run], 100.0 * (both + gained) / (both + lost), r->labels[baseline], lost,
                gained);
        if (bytes > 0 && whole > 0)
            pq_html(out, "; %.0f %% of its bytes", 100 * bytes / whole);
        pq_html(out, "</small></div>\n");
    }
    pq_html(out, "</div>\n");
}

/* ---- Plots ----------------------------------------------------------------------------------- */

/* Values of every run at every place: y[run of the set][place]. */
static double *make_grid(int runs, int places) {
    double *y = malloc(((size_t)runs * (size_t)places + 1) * sizeof *y);
    for (int i = 0; y && i < runs * places; i++)
        y[i] = NAN;
    return y;
}

static void plot_accuracy(FILE *out, const struct pq_results *r, const struct pq_result_set *set) {
    const char *modes[PQ_RUN_MODES];
    int n = pq_result_modes(r, set, modes);
    double *grid[3] = {make_grid(set->n_runs, n), make_grid(set->n_runs, n),
                       make_grid(set->n_runs, n)};
    struct pq_series *series = calloc((size_t)set->n_runs + 1, sizeof *series);
    for (int k = 0; k < set->n_runs && series && grid[0] && grid[1] && grid[2]; k++) {
        series[k] = (struct pq_series){.name = r->labels[set->runs[k]],
                                       .color = k,
                                       .y = grid[0] + k * n,
                                       .low = grid[1] + k * n,
                                       .high = grid[2] + k * n};
        for (int m = 0; m < n; m++) {
            const struct pq_result *result = pq_result_of(set, set->runs[k], modes[m]);
            if (!result)
                continue;
            grid[0][k * n + m] = result->summary.pass1;
            grid[1][k * n + m] = result->summary.low;
            grid[2][k * n + m] = result->summary.high;
        }
    }
    struct pq_chart chart = {.title = "Accuracy by mode",
                             .note = "Whiskers: Wilson's 95 % interval.",
                             .x_label = "mode",
                             .y_label = "pass@1",
                             .x = modes,
                             .n = n,
                             .series = series,
                             .n_series = set->n_runs,
                             .percent = true};
    if (series && grid[0] && grid[1] && grid[2])
        pq_plot_bars(out, &chart);
    free(series);
    for (int i = 0; i < 3; i++)
        free(grid[i]);
}

enum { BINS = 16 };

/* Shares of the replies whose thinking has so many tokens, into y [BINS]; zeros are left to the
 * table. */
static void count_lengths(double y[BINS], const struct pq_run *run, const char *mode,
                          double width) {
    double all = 0;
    size_t i;
    json_t *row;
    for (int b = 0; b < BINS; b++)
        y[b] = 0;
    json_array_foreach(run->rows, i, row) {
        double length = pq_row_number(row, "thinking_tokens");
        if (strcmp(pq_row_text(row, "mode"), mode) != 0 || length <= 0)
            continue;
        int bin = (int)((length - 1) / width);
        y[bin < BINS ? bin : BINS - 1]++;
        all++;
    }
    for (int b = 0; b < BINS; b++)
        y[b] = all > 0 ? y[b] / all : NAN;
}

/* The width of bins that hold the longest thinking of the mode; 0: nobody thought. */
static double choose_width(const struct pq_results *r, const struct pq_result_set *set,
                           const char *mode) {
    double longest = 0, width = 5;
    for (int k = 0; k < set->n_runs; k++) {
        size_t i;
        json_t *row;
        json_array_foreach(r->runs[set->runs[k]].rows, i, row) {
            if (strcmp(pq_row_text(row, "mode"), mode) == 0)
                longest = fmax(longest, pq_row_number(row, "thinking_tokens"));
        }
    }
    for (int i = 0; width * BINS < longest; i++)
        width *= i % 3 == 1 ? 2.5 : 2;
    return longest > 0 ? width : 0;
}

static void plot_lengths(FILE *out, const struct pq_results *r, const struct pq_result_set *set,
                         const char *mode) {
    double width = choose_width(r, set, mode);
    double *grid = make_grid(set->n_runs, BINS);
    struct pq_series *series = calloc((size_t)set->n_runs + 1, sizeof *series);
    char title[80], text[BINS][24];
    const char *x[BINS];
    for (int b = 0; b < BINS; b++) {
        snprintf(text[b], sizeof text[b], "%g", width * (b + 1));
        x[b] = b % 2 ? text[b] : "";
    }
    snprintf(title, sizeof title, "How long it thinks, %s", mode);
    struct pq_chart chart = {.title = title,
                             .note = "Of the replies that thought at all.",
                             .x_label = "thinking tokens, up to",
                             .y_label = "replies",
                             .x = x,
                             .n = BINS,
                             .series = series,
                             .n_series = set->n_runs,
                             .percent = true};
    if (width > 0 && grid && series) {
        for (int k = 0; k < set->n_runs; k++) {
            count_lengths(grid + k * BINS, &r->runs[set->runs[k]], mode, width);
            series[k] = (struct pq_series){
                .name = r->labels[set->runs[k]], .color = k, .y = grid + k * BINS};
        }
        pq_plot_lines(out, &chart);
    }
    free(series);
    free(grid);
}

static void plot_flips(FILE *out, const struct pq_results *r, const struct pq_result_set *set) {
    struct pq_flips *rows = calloc((size_t)set->n + 1, sizeof *rows);
    char(*texts)[2][128] = calloc((size_t)set->n + 1, sizeof *texts);
    int n = 0;
    for (int i = 0; i < set->n && rows && texts; i++) {
        const struct pq_result *result = &set->result[i];
        if (!result->compared)
            continue;
        snprintf(texts[n][0], sizeof texts[n][0], "%.60s, %s", r->labels[result->run],
                 result->summary.mode);
        snprintf(texts[n][1], sizeof texts[n][1], "p = %.2g", result->comparison.p);
        rows[n] = (struct pq_flips){.label = texts[n][0],
                                    .lost = result->comparison.lost,
                                    .gained = result->comparison.gained,
                                    .note = texts[n][1]};
        n++;
    }
    if (n)
        pq_plot_flips(out, "Verdicts that flip",
                      "Replies that pass in the baseline and fail here, and the other way.", rows,
                      n);
    free(rows);
    free(texts);
}

/* ---- A set ------------------------------------------------------------------------------------
 */

static void put_set(FILE *out, const struct pq_results *r, const struct pq_result_set *set) {
    const char *modes[PQ_RUN_MODES];
    int n = pq_result_modes(r, set, modes);
    pq_html(out, "<section><h2>%s: %d tasks</h2>\n", set->name, set->n_tasks);
    put_facts(out, r, set);
    put_overview(out, r, set);
    pq_html(out, "<div class=\"cards\" style=\"margin:1rem 0\">\n");
    plot_accuracy(out, r, set);
    plot_flips(out, r, set);
    for (int m = 0; m < n; m++)
        plot_lengths(out, r, set, modes[m]);
    pq_html(out, "</div>\n");
    put_details(out, r, set);
    pq_html(out, "</section>\n");
}

/* ---- The page -------------------------------------------------------------------------------- */

/* What a figure that nobody measured is shown as. */
static void put_figure(FILE *out, double value, const char *text) {
    pq_html(out, "<td class=\"n\">%s</td>", value > 0 ? text : "");
}

static void put_run(FILE *out, const struct pq_results *r, int i) {
    const json_t *settings = r->runs[i].settings;
    double weights = pq_row_number(settings, "weight_bytes"),
           bits = pq_row_number(settings, "bits");
    struct pq_effort e;
    char text[24];
    pq_sum_sessions(&e, &r->runs[i]);
    pq_html(out, "<tr><td><b>%s</b></td><td>%s</td><td>%s</td>", r->labels[i],
            pq_row_text(settings, "model"), pq_row_text(settings, "tasks"));
    put_figure(out, weights, pq_human_bytes(weights, text));
    snprintf(text, sizeof text, "%.2f", bits);
    put_figure(out, bits, text);
    put_figure(out, e.peak_bytes, pq_human_bytes(e.peak_bytes, text));
    snprintf(text, sizeof text, "%.0f", e.prefill);
    put_figure(out, e.prefill, text);
    snprintf(text, sizeof text, "%.0f", e.decode);
    put_figure(out, e.decode, text);
    snprintf(text, sizeof text, "%.1f", e.per_minute);
    put_figure(out, e.per_minute, text);
    pq_html(out, "</tr>\n");
}

static void put_settings(FILE *out, const struct pq_results *r, int i) {
    json_t *value;
    const char *key;
    pq_html(out, "<details><summary>%s: %s</summary><div><pre>", r->labels[i], r->runs[i].path);
    json_object_foreach(r->runs[i].settings, key, value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        pq_html(out, "%s: %s\n", key, text ? text : "");
        free(text);
    }
    pq_html(out, "</pre></div></details>\n");
}

static void put_runs(FILE *out, const struct pq_results *r) {
    pq_html(out, "<section><h2>Runs</h2>\n<div class=\"scroll\"><table class=\"grid\"><thead><tr>"
                 "<th>run</th><th>model</th><th>tasks</th><th class=\"n\">weights</th>"
                 "<th class=\"n\">bits a weight</th><th class=\"n\">peak memory</th>"
                 "<th class=\"n\">prefill tok/s</th><th class=\"n\">decode tok/s</th>"
                 "<th class=\"n\">replies a minute</th></tr></thead><tbody>\n");
    for (int i = 0; i < r->n_runs; i++)
        put_run(out, r, i);
    pq_html(out, "</tbody></table></div>\n<p class=\"note\">Speeds are those of the runs, with the "
                 "judging beside them; panq bench measures better.</p>\n");
    for (int i = 0; i < r->n_runs; i++)
        put_settings(out, r, i);
    pq_html(out, "</section>\n");
}

void pq_results_html(FILE *out, const struct pq_results *r) {
    char names[512] = "";
    for (int i = 0; i < r->n_runs; i++) {
        const char *name = pq_row_text(r->runs[i].settings, "model");
        size_t used = strlen(names);
        if (!strstr(names, name))
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", name);
    }
    pq_html_begin(out, "What quantization costs", names);
    for (int i = 0; i < r->n_runs; i++)
        if (pq_row_true(r->runs[i].settings, "unsafe"))
            pq_html(out,
                    "<p class=\"warn\">%s ran its programs without a sandbox (--unsafe): they may "
                    "have forged their verdicts.</p>\n",
                    r->labels[i]);
    for (int i = 0; i < r->n_sets; i++)
        put_set(out, r, &r->sets[i]);
    if (r->bench)
        pq_results_html_bench(out, r);
    put_runs(out, r);
    for (int i = 0; i < r->n_sets; i++)
        pq_results_html_tasks(out, r, &r->sets[i], i);
    pq_html_end(out);
}
