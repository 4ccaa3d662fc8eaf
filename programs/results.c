#include "results.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

/* ---- Which runs belong together -------------------------------------------------------------- */

static bool same_text(const struct pq_run *a, const struct pq_run *b, const char *key) {
    return strcmp(pq_row_text(a->settings, key), pq_row_text(b->settings, key)) == 0;
}

static bool same_tasks(const struct pq_run *a, const struct pq_run *b) {
    return !pq_other_tasks(a->settings, b->settings);
}

/* By its shape, for a quantized checkpoint has another name; replies from elsewhere have none. */
static bool same_model(const struct pq_run *a, const struct pq_run *b) {
    const char *const keys[] = {"layers", "hidden"};
    if (!json_object_get(a->settings, "layers") || !json_object_get(b->settings, "layers"))
        return true;
    for (int i = 0; i < 2; i++)
        if (pq_row_number(a->settings, keys[i]) != pq_row_number(b->settings, keys[i]))
            return false;
    return same_text(a, b, "family");
}

char *pq_precision_name(const json_t *settings, char out[48]) {
    const char *scheme = pq_row_text(settings, "scheme");
    bool fp32 = strcmp(pq_row_text(settings, "precision"), "fp32") == 0;
    double group = pq_row_number(settings, "group");
    if (strcmp(scheme, "w4a8") == 0 && group == PQ_GROUP_CHANNEL)
        snprintf(out, 32, "W4A8 channel");
    else if (strcmp(scheme, "w4a8") == 0 && group != 32)
        snprintf(out, 32, "W4A8 group %g", group);
    else if (fp32 && strcmp(scheme, "bf16") == 0)
        snprintf(out, 32, "FP32");
    else
        snprintf(out, 32, "%s", !*scheme ? "replies" : scheme);
    for (char *p = out; *p && p < out + 4; p++)
        *p = *p >= 'a' && *p <= 'z' && *scheme ? (char)(*p - 'a' + 'A') : *p;
    if (strcmp(pq_row_text(settings, "kv"), "int8") == 0)
        strcat(out, ", KV8");
    return out;
}

/* The precision alone, unless another run of the same tasks has it as well. */
static void label_runs(struct pq_results *r) {
    for (int i = 0; i < r->n_runs; i++) {
        char own[48], other[48];
        bool alone = true;
        pq_precision_name(r->runs[i].settings, own);
        for (int j = 0; j < r->n_runs && alone; j++) {
            pq_precision_name(r->runs[j].settings, other);
            alone = i == j || !same_tasks(&r->runs[i], &r->runs[j]) || strcmp(own, other) != 0;
        }
        const char *name = pq_row_text(r->runs[i].settings, "model");
        snprintf(r->labels[i], sizeof r->labels[i], alone ? "%s" : "%s %.40s", own, name);
    }
}

static void choose_baselines(struct pq_results *r, int given) {
    for (int i = 0; i < r->n_runs; i++) {
        int best = -1;
        bool best_fp = false;
        for (int j = 0; j < r->n_runs; j++) {
            bool fp = strcmp(pq_row_text(r->runs[j].settings, "scheme"), "bf16") == 0;
            if (!same_tasks(&r->runs[i], &r->runs[j]) || !same_model(&r->runs[i], &r->runs[j]))
                continue;
            if (best < 0 || (fp && !best_fp)) {
                best = j;
                best_fp = fp;
            }
        }
        bool fits = given >= 0 && same_tasks(&r->runs[i], &r->runs[given]);
        r->baselines[i] = fits ? given : best;
    }
}

/* ---- Sets ------------------------------------------------------------------------------------ */

static int compare_ids(const void *a, const void *b) {
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

/* Every task that a run of the set has a row of. */
static bool list_tasks(struct pq_results *r, struct pq_result_set *set) {
    json_t *seen = json_object(), *row;
    size_t i, room = 0;
    for (int k = 0; k < set->n_runs; k++)
        room += json_array_size(r->runs[set->runs[k]].rows);
    set->tasks = calloc(room + 1, sizeof *set->tasks);
    for (int k = 0; k < set->n_runs && set->tasks; k++) {
        json_array_foreach(r->runs[set->runs[k]].rows, i, row) {
            const char *id = pq_row_text(row, "task_id");
            if (json_object_get(seen, id) || json_object_set_new(seen, id, json_true()) != 0)
                continue;
            set->tasks[set->n_tasks++] = (char *)id;
        }
    }
    json_decref(seen);
    if (set->tasks)
        qsort(set->tasks, (size_t)set->n_tasks, sizeof *set->tasks, compare_ids);
    return set->tasks != NULL;
}

int pq_result_modes(const struct pq_results *results, const struct pq_result_set *set,
                    const char *modes[PQ_RUN_MODES]) {
    int n = 0;
    for (int k = 0; k < set->n_runs; k++) {
        const char *own[PQ_RUN_MODES];
        int n_own = pq_run_modes(&results->runs[set->runs[k]], own);
        for (int i = 0; i < n_own; i++) {
            int at = 0;
            while (at < n && strcmp(modes[at], own[i]) != 0)
                at++;
            if (at == n && n < PQ_RUN_MODES)
                modes[n++] = own[i];
        }
    }
    return n;
}

static bool sum_up(struct pq_results *r, struct pq_result_set *set) {
    const char *modes[PQ_RUN_MODES];
    int n = pq_result_modes(r, set, modes);
    set->result = calloc((size_t)(n * set->n_runs) + 1, sizeof *set->result);
    for (int m = 0; m < n && set->result; m++) {
        for (int k = 0; k < set->n_runs; k++) {
            int run = set->runs[k], baseline = r->baselines[run];
            struct pq_result result = {.run = run};
            pq_summarize(&result.summary, &r->runs[run], modes[m]);
            if (result.summary.replies == 0)
                continue;
            pq_compare(&result.comparison, &r->runs[run], &r->runs[baseline], modes[m]);
            result.compared = baseline != run && result.comparison.pairs > 0;
            set->result[set->n++] = result;
        }
    }
    return set->result && list_tasks(r, set);
}

static enum pq_status make_sets(struct pq_results *r, struct pq_err *err) {
    r->sets = calloc((size_t)r->n_runs + 1, sizeof *r->sets);
    bool good = r->sets != NULL;
    for (int i = 0; i < r->n_runs && good; i++) {
        int s = 0;
        while (s < r->n_sets && !same_tasks(&r->runs[i], &r->runs[r->sets[s].runs[0]]))
            s++;
        struct pq_result_set *set = &r->sets[s];
        if (s == r->n_sets) {
            const json_t *settings = r->runs[i].settings;
            const char *split = pq_row_text(settings, "split");
            bool all = strcmp(split, "all") == 0;
            int shots = (int)pq_row_number(settings, "shots");
            int used = snprintf(set->name, sizeof set->name, "%.100s%s%.20s",
                                pq_row_text(settings, "tasks"), all ? "" : ", ", all ? "" : split);
            if (shots > 0)
                snprintf(set->name + used, sizeof set->name - (size_t)used, ", %d-shot", shots);
            set->runs = calloc((size_t)r->n_runs, sizeof *set->runs);
            r->n_sets++;
        }
        good = set->runs != NULL;
        if (good)
            set->runs[set->n_runs++] = i;
    }
    for (int s = 0; s < r->n_sets && good; s++)
        good = sum_up(r, &r->sets[s]);
    return good ? PQ_OK : pq_refuse(err, PQ_ENOMEM, "no memory for the report");
}

/* ---- Reading --------------------------------------------------------------------------------- */

static enum pq_status read_bench(json_t **out, const char *path, struct pq_err *err) {
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (!json)
        return pq_refuse(err, PQ_EFORMAT, "%s: %s", path, error.text);
    if (!json_is_array(json_object_get(json, "models"))) {
        json_decref(json);
        return pq_refuse(err, PQ_EFORMAT, "%s is not what panq bench --json prints", path);
    }
    *out = json;
    return PQ_OK;
}

enum pq_status pq_results_read(struct pq_results *out, char *const *paths, int n,
                               const char *baseline, const char *bench, struct pq_err *err) {
    size_t most = (size_t)n + 1;
    struct pq_results r = {.runs = calloc(most, sizeof *r.runs),
                           .labels = calloc(most, sizeof *r.labels),
                           .baselines = calloc(most, sizeof *r.baselines)};
    enum pq_status status = r.runs && r.labels && r.baselines
                                ? PQ_OK
                                : pq_refuse(err, PQ_ENOMEM, "no memory for %d runs", n);
    int given = -1;
    for (int i = 0; i < n && status == PQ_OK; i++) {
        status = pq_run_read(&r.runs[i], paths[i], err);
        r.n_runs += status == PQ_OK;
        given = baseline && strcmp(paths[i], baseline) == 0 ? i : given;
    }
    if (status == PQ_OK && baseline && given < 0) {
        given = r.n_runs;
        status = pq_run_read(&r.runs[r.n_runs], baseline, err);
        r.n_runs += status == PQ_OK;
    }
    if (status == PQ_OK && bench)
        status = read_bench(&r.bench, bench, err);
    if (status == PQ_OK) {
        label_runs(&r);
        choose_baselines(&r, given);
        status = make_sets(&r, err);
    }
    if (status == PQ_OK)
        *out = r;
    else
        pq_results_free(&r);
    return status;
}

void pq_results_free(struct pq_results *r) {
    for (int i = 0; i < r->n_runs; i++)
        pq_run_close(&r->runs[i]);
    for (int i = 0; i < r->n_sets; i++) {
        free(r->sets[i].runs);
        free(r->sets[i].result);
        free(r->sets[i].tasks);
    }
    free(r->runs);
    free(r->labels);
    free(r->baselines);
    free(r->sets);
    json_decref(r->bench);
    *r = (struct pq_results){0};
}

/* ---- Looking things up ----------------------------------------------------------------------- */

const struct pq_result *pq_result_of(const struct pq_result_set *set, int run, const char *mode) {
    for (int i = 0; i < set->n; i++)
        if (set->result[i].run == run && strcmp(set->result[i].summary.mode, mode) == 0)
            return &set->result[i];
    return NULL;
}

bool pq_result_differs(const struct pq_results *results, const struct pq_result_set *set,
                       const char *task) {
    const char *modes[PQ_RUN_MODES];
    int n = pq_result_modes(results, set, modes);
    for (int m = 0; m < n; m++) {
        for (int sample = 0;; sample++) {
            int rows = 0, passed = 0;
            for (int k = 0; k < set->n_runs; k++) {
                const json_t *row =
                    pq_run_row(&results->runs[set->runs[k]], task, modes[m], sample);
                rows += row != NULL;
                passed += row && pq_row_true(row, "passed");
            }
            if (passed && passed < rows)
                return true;
            if (rows == 0)
                break;
        }
    }
    return false;
}
