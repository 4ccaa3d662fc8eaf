/* The report's page: what panq bench measured. */
#include "html.h"
#include "plot.h"
#include "results.h"

#include <math.h>
#include <string.h>

enum { MOST_MODELS = 8, BATCHES = 6, CONTEXTS = 6 };

/* The models of panq bench, and their series, whose y is to be set. */
struct bench {
    const json_t *models; /* [n] */
    int n;
    char names[MOST_MODELS][48];
    struct pq_series series[MOST_MODELS];
};

static const json_t *model_of(const struct bench *bench, int m) {
    return json_array_get(bench->models, (size_t)m);
}

/* The color of the first set's run in this precision, or one that no run of it has. */
static int choose_color(const struct pq_results *r, const char *name, int m) {
    const struct pq_result_set *set = &r->sets[0];
    char own[48];
    for (int k = 0; k < set->n_runs; k++)
        if (strcmp(pq_precision_name(r->runs[set->runs[k]].settings, own), name) == 0)
            return k;
    return set->n_runs + m;
}

static void list_models(struct bench *bench, const struct pq_results *r) {
    bench->models = json_object_get(r->bench, "models");
    bench->n = (int)json_array_size(bench->models);
    bench->n = bench->n < MOST_MODELS ? bench->n : MOST_MODELS;
    for (int m = 0; m < bench->n; m++) {
        char *name = pq_precision_name(model_of(bench, m), bench->names[m]);
        bench->series[m] = (struct pq_series){.name = name, .color = choose_color(r, name, m)};
    }
}

/* ---- Speed ----------------------------------------------------------------------------------- */

/* What panq bench measured of the work at the batch: tokens a second, or NAN.  *prompt is the
 * length of the prompts; 0 takes, and becomes, the first that comes. */
static double speed_of(const json_t *model, const char *work, int batch, double *prompt) {
    json_t *speeds = json_object_get(model, "speeds"), *speed;
    size_t i;
    json_array_foreach(speeds, i, speed) {
        double tokens = pq_row_number(speed, "prompt");
        if (strcmp(pq_row_text(speed, "work"), work) != 0 ||
            pq_row_number(speed, "batch") != batch || (*prompt > 0 && tokens != *prompt))
            continue;
        *prompt = tokens;
        return pq_row_number(speed, "tok_s");
    }
    return NAN;
}

/* By batch: how long a prefill takes, or how many tokens a second are decoded. */
static void plot_speed(FILE *out, struct bench *bench, bool prefill) {
    static const char *const x[BATCHES] = {"1", "2", "4", "8", "16", "32"};
    double y[MOST_MODELS][BATCHES], prompt = 0;
    char note[96];
    int found = 0;
    for (int m = 0; m < bench->n; m++) {
        for (int b = 0; b < BATCHES; b++) {
            double speed =
                speed_of(model_of(bench, m), prefill ? "prefill" : "decode", 1 << b, &prompt);
            y[m][b] = prefill ? (1 << b) * prompt / speed : speed;
            found += isfinite(speed);
        }
        bench->series[m].y = y[m];
    }
    snprintf(note, sizeof note,
             prefill ? "Prompts of %g tokens." : "After %g tokens, all sequences together.",
             prompt);
    struct pq_chart chart = {.title = prefill ? "Prefill latency by batch" : "Decoding by batch",
                             .note = note,
                             .x_label = prefill ? "prompts at a time" : "sequences at a time",
                             .y_label = prefill ? "seconds" : "tokens a second",
                             .x = x,
                             .n = BATCHES,
                             .series = bench->series,
                             .n_series = bench->n,
                             .log_y = prefill};
    if (found > bench->n)
        pq_plot_lines(out, &chart);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void plot_memory(FILE *out, struct bench *bench) {
    static const char *const keys[] = {"weight_bytes", "kv_bytes", "scratch_bytes"};
    static const char *const x[] = {"weights", "KV cache", "scratch"};
    double y[MOST_MODELS][3];
    for (int m = 0; m < bench->n; m++) {
        for (int i = 0; i < 3; i++)
            y[m][i] = pq_row_number(model_of(bench, m), keys[i]) / (1 << 20);
        bench->series[m].y = y[m];
    }
    struct pq_chart chart = {.title = "Memory by precision",
                             .note = "The cache has room for the largest batch that was measured.",
                             .x_label = "",
                             .y_label = "MiB",
                             .x = x,
                             .n = 3,
                             .series = bench->series,
                             .n_series = bench->n};
    pq_plot_bars(out, &chart);
}

/* Up to the longest context that every model has, in doublings. */
static void plot_contexts(FILE *out, struct bench *bench) {
    double y[MOST_MODELS][CONTEXTS], longest = INFINITY;
    char texts[CONTEXTS][24];
    const char *x[CONTEXTS];
    for (int m = 0; m < bench->n; m++)
        longest = fmin(longest, pq_row_number(model_of(bench, m), "max_positions"));
    for (int i = 0; i < CONTEXTS; i++) {
        double context = floor(ldexp(longest, i + 1 - CONTEXTS));
        snprintf(texts[i], sizeof texts[i], "%.0f", context);
        x[i] = texts[i];
        for (int m = 0; m < bench->n; m++) {
            const json_t *model = model_of(bench, m);
            y[m][i] =
                (pq_row_number(model, "weight_bytes") + pq_row_number(model, "scratch_bytes") +
                 context * pq_row_number(model, "kv_position_bytes")) /
                (1 << 20);
            bench->series[m].y = y[m];
        }
    }
    struct pq_chart chart = {.title = "Memory by context",
                             .note = "Weights, scratch and the keys and values of one sequence.",
                             .x_label = "tokens in the context",
                             .y_label = "MiB",
                             .x = x,
                             .n = CONTEXTS,
                             .series = bench->series,
                             .n_series = bench->n};
    if (isfinite(longest) && longest >= 1 << CONTEXTS)
        pq_plot_lines(out, &chart);
}

void pq_results_html_bench(FILE *out, const struct pq_results *r) {
    const json_t *machine = json_object_get(r->bench, "machine");
    struct bench bench;
    list_models(&bench, r);
    pq_html(out,
            "<section><h2>Speed and memory</h2>\n<p class=\"note\">panq bench on %s, %d threads, "
            "%s</p>\n<div class=\"cards\">\n",
            pq_row_text(machine, "cpu"), (int)pq_row_number(machine, "threads"),
            pq_row_text(machine, "isa"));
    plot_speed(out, &bench, true);
    plot_speed(out, &bench, false);
    plot_memory(out, &bench);
    plot_contexts(out, &bench);
    pq_html(out, "</div></section>\n");
}
