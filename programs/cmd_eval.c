/* panq eval - pass@1 on programming tasks. */
#include "commands.h"
#include "evaluate.h"
#include "report.h"
#include "summary.h"
#include "tasks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(member) .offset = offsetof(struct pq_eval_options, member)
static const struct pq_option options[] = {
    {.name = "task",
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(tasks),
     .help = "the published file of HumanEval or MBPP, or one like it"},
    {.name = "split",
     .kind = PQ_OPTION_CHOICE,
     .value = PQ_SPLIT_WORDS,
     FIELD(split),
     .help = "part of MBPP; the default is its test split"},
    {.name = "shots",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(shots),
     .min = 0,
     .max = PQ_MOST_SHOTS,
     .help = "examples before each task of MBPP, from its prompt split (default 0)"},
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
    {.name = "out",
     .letter = 'o',
     .kind = PQ_OPTION_TEXT,
     .value = "RUN",
     FIELD(out),
     .help = "keep every reply and verdict there at once; go on where RUN stands"},
    {.name = "baseline",
     .kind = PQ_OPTION_TEXT,
     .value = "RUN",
     FIELD(baseline),
     .help = "compare with that run, task by task"},
    {.name = "batch",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(batch),
     .min = 1,
     .max = 256,
     .help = "most replies generated at a time (default 32)"},
    {.name = "kv-memory",
     .kind = PQ_OPTION_FLOAT,
     .value = "GIB",
     FIELD(kv_memory),
     .min = 0.001,
     .max = 1 << 20,
     .help = "memory for their KV cache (default: half of what is free)"},
    {.name = "max-tokens",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(max_tokens),
     .min = 1,
     .max = 1 << 30,
     .help = "longest reply, thinking included (default 4096)"},
    {.name = "samples",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(samples),
     .min = 1,
     .max = 1000,
     .help = "replies to each task, for pass@k; wants a --temperature"},
    {.name = "temperature",
     .kind = PQ_OPTION_FLOAT,
     .value = "T",
     FIELD(temperature),
     .min = 0,
     .max = 100,
     .help = "sample (default 0: greedy)"},
    {.name = "top-k",
     .kind = PQ_OPTION_INT,
     .value = "K",
     FIELD(top_k),
     .min = 0,
     .max = 1 << 30,
     .help = "among the K likeliest tokens (default 0: all)"},
    {.name = "top-p",
     .kind = PQ_OPTION_FLOAT,
     .value = "P",
     FIELD(top_p),
     .min = 0,
     .max = 1,
     .help = "among the likeliest tokens that make up P (default 1)"},
    {.name = "seed",
     .kind = PQ_OPTION_U64,
     .value = "N",
     FIELD(seed),
     .help = "of the random streams, one for each reply (default 1)"},
    {.name = "timeout",
     .kind = PQ_OPTION_FLOAT,
     .value = "S",
     FIELD(timeout),
     .min = 0.1,
     .max = 3600,
     .help = "seconds of processor time that a program may take, rounded up (default 10)"},
    {.name = "replies",
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(replies),
     .help = "judge the replies of such a file instead of generating any"},
    {.name = "unsafe",
     .kind = PQ_OPTION_FLAG,
     FIELD(unsafe),
     .help = "run programs without a sandbox, with your own rights"},
    PQ_ENGINE_OPTIONS(struct pq_eval_options, engine),
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print the tables as JSON"},
};

static double of(int part, int all) {
    return all ? 100.0 * part / all : 0;
}

static void print_summaries(const struct pq_run *run, const char *const *modes, int n) {
    struct pq_summary s[PQ_RUN_MODES];
    int k = 1;
    for (int i = 0; i < n; i++) {
        pq_summarize(&s[i], run, modes[i]);
        k = s[i].k > k ? s[i].k : k;
    }
    static const char *const heads[] = {"mode",     "tasks",  "pass@1",    "95 %",  "",
                                        "thinking", "answer", "truncated", "loops", "thought"};
    struct pq_table table = {.columns = k > 1 ? 10 : 9, .left = 1};
    for (int i = 0; i < 10; i++)
        if (i != 4)
            pq_table_add(&table, "%s", heads[i]);
        else if (k > 1)
            pq_table_add(&table, "pass@%d", k);
    for (int i = 0; i < n; i++) {
        pq_table_add(&table, "%s", s[i].mode);
        pq_table_add(&table, "%d", s[i].tasks);
        pq_table_add(&table, "%.1f %%", 100 * s[i].pass1);
        pq_table_add(&table, "%.1f .. %.1f", 100 * s[i].low, 100 * s[i].high);
        if (k > 1)
            pq_table_add(&table, "%.1f %%", 100 * s[i].passk);
        pq_table_add(&table, "%.1f", s[i].thinking);
        pq_table_add(&table, "%.1f", s[i].answer);
        pq_table_add(&table, "%.1f %%", of(s[i].truncated, s[i].replies));
        pq_table_add(&table, "%.1f %%", of(s[i].loops, s[i].replies));
        pq_table_add(&table, "%.1f %%", of(s[i].thought, s[i].replies));
    }
    pq_table_print(&table);
    printf("thinking and answer: mean tokens of a reply; the rest: shares of the replies\n");
}

/* A ratio, or "-" where there is none. */
static void add_ratio(struct pq_table *table, double ratio) {
    pq_table_add(table, isfinite(ratio) ? "%.3f" : "-", ratio);
}

static void print_comparisons(const struct pq_run *run, const struct pq_run *baseline,
                              const char *const *modes, int n) {
    static const char *const heads[] = {"mode",   "pairs", "retention", "lost",
                                        "gained", "p",     "thinking",  "answer"};
    struct pq_table table = {.columns = 8, .left = 1};
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int i = 0; i < n; i++) {
        struct pq_comparison c;
        pq_compare(&c, run, baseline, modes[i]);
        pq_table_add(&table, "%s", modes[i]);
        pq_table_add(&table, "%d", c.pairs);
        add_ratio(&table, c.retention);
        pq_table_add(&table, "%d", c.lost);
        pq_table_add(&table, "%d", c.gained);
        pq_table_add(&table, "%.3g", c.p);
        add_ratio(&table, c.thinking);
        add_ratio(&table, c.answer);
    }
    printf("\nagainst %s (%s):\n", baseline->path, pq_row_text(baseline->settings, "model"));
    pq_table_print(&table);
    printf("p: McNemar's exact; thinking and answer: tokens to the baseline's\n");
}

static void print_sessions(const struct pq_run *run) {
    struct pq_effort e;
    char text[2][24];
    pq_sum_sessions(&e, run);
    if (e.replies > 0)
        printf("%.0f replies in %s, %.1f a minute; prefill %.0f tok/s, decode %.0f tok/s; "
               "peak memory %s\n",
               e.replies, pq_human_time(e.seconds, text[0]), e.per_minute, e.prefill, e.decode,
               pq_human_bytes(e.peak_bytes, text[1]));
}

static int print_json(const struct pq_eval_options *o, const struct pq_run *run,
                      const struct pq_run *baseline, const char *const *modes, int n) {
    json_t *all = json_array();
    for (int i = 0; i < n; i++) {
        struct pq_summary summary;
        struct pq_comparison comparison;
        pq_summarize(&summary, run, modes[i]);
        if (baseline)
            pq_compare(&comparison, run, baseline, modes[i]);
        json_array_append_new(all, pq_summary_json(&summary, baseline ? &comparison : NULL));
    }
    return pq_print_json(json_pack("{s:s, s:O, s:s?, s:o, s:O}", "task", o->tasks, "run",
                                   run->settings, "baseline", o->baseline, "modes", all, "sessions",
                                   run->sessions));
}

static int print_results(const struct pq_eval_options *o, const struct pq_run *run,
                         const struct pq_run *baseline) {
    const char *modes[PQ_RUN_MODES];
    int n = pq_run_modes(run, modes);
    if (o->json)
        return print_json(o, run, baseline, modes, n);
    print_summaries(run, modes, n);
    print_sessions(run);
    if (baseline)
        print_comparisons(run, baseline, modes, n);
    if (o->unsafe)
        printf("--unsafe: the programs ran without a sandbox and may have forged their verdicts\n");
    return PQ_EXIT_OK;
}

static int main_eval(const struct pq_command *command, int argc, char **argv) {
    struct pq_eval_options o = {
        .batch = 32, .max_tokens = 4096, .timeout = 10, .samples = 1, .top_p = 1, .seed = 1};
    struct pq_run run = {0}, baseline = {0};
    struct pq_err err = {""};
    char *builtin = NULL;
    int n, code;
    if (!pq_options_parse(command, argc, argv, &o, &n, &code))
        return code;
    if (!o.tasks)
        return pq_usage_error(command, "--task must be given");
    if (o.replies && n)
        return pq_usage_error(command, "--replies needs no checkpoint, but there is '%s'", argv[0]);
    if (o.samples > 1 && o.temperature == 0)
        return pq_usage_error(command, "--samples of a greedy model are all the same; give a "
                                       "--temperature");
    const char *dir = n ? argv[0] : NULL;
    if (!dir && !o.replies && !(dir = builtin = pq_builtin_checkpoint(&err)))
        return pq_error("%s", err.text);
    enum pq_status status = PQ_OK;
    if (o.baseline)
        status = pq_run_read(&baseline, o.baseline, &err);
    if (status == PQ_OK)
        status = pq_evaluate(&run, &o, dir, o.baseline ? &baseline : NULL, &err);
    if (status == PQ_OK)
        code = print_results(&o, &run, o.baseline ? &baseline : NULL);
    else if (status == PQ_ECANCELLED && o.out)
        code = pq_error("stopped; %s keeps %zu replies, and the same command goes on", o.out,
                        json_array_size(run.rows));
    else
        code = pq_error("%s", err.text);
    pq_run_close(&run);
    pq_run_close(&baseline);
    free(builtin);
    return code;
}

const struct pq_command pq_command_eval = {
    .name = "eval",
    .arguments = "[DIR] --task FILE",
    .least = 0,
    .most = 1,
    .summary = "pass@1 on programming tasks, in a sandbox",
    .details = "Replies are generated, and the Python in them is judged by the tasks' tests in\n"
               "bubblewrap: no network, no files, and limits on time and memory.\n"
               "\n"
               "Task files, gzip'd or not, are published at\n"
               "  HumanEval    github.com/openai/human-eval, data/HumanEval.jsonl.gz\n"
               "  MBPP         github.com/google-research/google-research, mbpp/mbpp.jsonl and\n"
               "               mbpp/sanitized-mbpp.json\n"
               "  HumanEval+   github.com/evalplus/humanevalplus_release, releases,\n"
               "               HumanEvalPlus-OriginFmt.jsonl.gz\n"
               "  MBPP+        huggingface.co/datasets/evalplus/mbppplus, as JSON lines\n"
               "and anything else in HumanEval's fields will do.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_eval,
};
