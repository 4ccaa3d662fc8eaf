/* results.h - runs side by side: which belong together, what each amounts to, and the report of it
 * as a page, as Markdown and as JSON. */
#ifndef PQ_PROGRAMS_RESULTS_H
#define PQ_PROGRAMS_RESULTS_H

#include "summary.h"

#include <stdio.h>

/* A run in one mode. */
struct pq_result {
    int run;
    struct pq_summary summary;
    bool compared;
    struct pq_comparison comparison; /* with the run's baseline, if compared */
};

/* Runs of the same tasks. */
struct pq_result_set {
    char name[160]; /* "HumanEval.jsonl.gz" or "mbpp.jsonl, test" */
    int *runs;      /* [n_runs] owned */
    int n_runs;
    struct pq_result *result; /* [n] mode by mode, and run by run within; owned */
    int n;
    char **tasks; /* [n_tasks] ids in their natural order; owned, the texts borrowed */
    int n_tasks;
};

struct pq_results {
    struct pq_run *runs; /* [n_runs], owned */
    char (*labels)[96];  /* [n_runs] "W8A8", with the model's name where that is not enough */
    int *baselines;      /* [n_runs] index of a run, itself where it has none */
    int n_runs;
    struct pq_result_set *sets; /* [n_sets] */
    int n_sets;
    json_t *bench; /* what `panq bench --json` printed, or NULL; owned */
};

/* The runs at paths [n].  baseline NULL: the first run in BF16 of the same model and tasks, or else
 * the first run of these. */
enum pq_status pq_results_read(struct pq_results *out, char *const *paths, int n,
                               const char *baseline, const char *bench, struct pq_err *err);
void pq_results_free(struct pq_results *results);

/* The result of a run in a mode; NULL: the set does not have it. */
const struct pq_result *pq_result_of(const struct pq_result_set *set, int run, const char *mode);
/* The modes of a set, as pq_run_modes orders them. */
int pq_result_modes(const struct pq_results *results, const struct pq_result_set *set,
                    const char *modes[PQ_RUN_MODES]);
/* Whether the runs of the set disagree on some sample of the task in some mode. */
bool pq_result_differs(const struct pq_results *results, const struct pq_result_set *set,
                       const char *task);

/* "BF16", "W4A8 group 128", "W8A8, KV8" of a run's settings, or of a model of panq bench; into out,
 * which is returned. */
char *pq_precision_name(const json_t *settings, char out[48]);

void pq_results_html(FILE *out, const struct pq_results *results);
/* Sections of that page: what panq bench measured, and every reply to the tasks of a set, which is
 * the page's number-th. */
void pq_results_html_bench(FILE *out, const struct pq_results *results);
void pq_results_html_tasks(FILE *out, const struct pq_results *results,
                           const struct pq_result_set *set, int number);
void pq_results_markdown(FILE *out, const struct pq_results *results);
json_t *pq_results_json(const struct pq_results *results);

#endif
