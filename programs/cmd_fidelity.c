/* panq fidelity - how far quantized checkpoints are from the one that they were made from. */
#include "commands.h"
#include "engine.h"
#include "fidelity.h"
#include "report.h"
#include "windows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS = 8 }; /* most that are compared with the first */

struct options {
    struct pq_engine_options engine;
    const char *text, *fields, *traces;
    int window, windows;
    bool json;
};

#define FIELD(member) .offset = offsetof(struct options, member)
static const struct pq_option options[] = {
    {.name = "text",
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(text),
     .help = "compare on windows of this text"},
    {.name = "field",
     .kind = PQ_OPTION_TEXT,
     .value = "LIST",
     FIELD(fields),
     .help = "the text is in these fields of JSON lines, as prompt,canonical_solution"},
    {.name = "window",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(window),
     .min = 3,
     .max = 1 << 20,
     .help = "tokens of a window, BOS included (default 512)"},
    {.name = "windows",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(windows),
     .min = 1,
     .max = 1 << 20,
     .help = "at most N windows, spread over the text (default 32)"},
    {.name = "traces",
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(traces),
     .help = "instead: on the replies that panq calibrate has written"},
    PQ_ENGINE_OPTIONS(struct options, engine),
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print the table as JSON"},
};

struct session {
    const struct options *options;
    char **dirs; /* [1 + models] */
    int models;
    struct pq_engine engine[1 + MODELS];
    struct pq_traces traces;
    struct pq_fidelity fidelity;
    struct pq_progress progress;
};

/* ---- Measuring ------------------------------------------------------------------------------- */

static enum pq_status open_engines(struct session *s, struct pq_pool *pool, struct pq_err *err) {
    struct pq_engine_options o = s->options->engine;
    enum pq_status status = PQ_OK;
    for (int i = 0; i <= s->models && status == PQ_OK; i++) {
        o.without_text = i > 0;
        status = pq_engine_open(&s->engine[i], s->dirs[i], &o, pool, err);
        int vocab = s->engine[0].config ? s->engine[0].config->vocab : 0;
        if (status == PQ_OK && s->engine[i].config->vocab != vocab)
            status =
                pq_refuse(err, PQ_EINVAL, "%s has %d tokens and %s %d: they cannot be compared",
                          s->dirs[0], vocab, s->dirs[i], s->engine[i].config->vocab);
    }
    return status;
}

static enum pq_status read_traces(struct session *s, struct pq_err *err) {
    const struct options *o = s->options;
    struct pq_windows_options windows = {
        .file = o->text, .fields = o->fields, .window = o->window, .n = o->windows};
    return o->traces ? pq_traces_read(&s->traces, o->traces, s->engine[0].config->vocab, err)
                     : pq_windows_read(&s->traces, &windows, s->engine[0].tok, err);
}

static enum pq_status measure(struct session *s, struct pq_err *err) {
    struct pq_pool *pool = NULL;
    enum pq_status status = pq_pool_open(&pool, s->options->engine.threads, err);
    if (status == PQ_OK)
        status = open_engines(s, pool, err);
    if (status == PQ_OK)
        status = read_traces(s, err);
    if (status == PQ_OK)
        status = pq_fidelity_measure(&s->fidelity, s->engine, s->models, &s->traces, pool,
                                     &s->progress, err);
    pq_progress_clear(&s->progress);
    for (int i = 0; i <= s->models; i++)
        pq_engine_close(&s->engine[i]);
    pq_pool_close(pool);
    return status;
}

/* ---- Results --------------------------------------------------------------------------------- */

/* A row of the results: what is summed up, -1 being everything. */
struct row {
    int mode, part;
};
enum { ROWS = 1 + PQ_TRACE_MODES * 3 };

/* All, and, where there is more than one of these, every mode's parts. */
static int list_rows(const struct session *s, struct row rows[ROWS]) {
    bool seen[PQ_TRACE_MODES][3] = {{false}};
    int n = 1;
    rows[0] = (struct row){-1, -1};
    for (int i = 0; i < s->fidelity.n; i++)
        seen[s->fidelity.place[i].mode][s->fidelity.place[i].part] = true;
    for (int mode = 0; mode < PQ_TRACE_MODES; mode++)
        for (int part = 0; part < 3; part++)
            if (seen[mode][part])
                rows[n++] = (struct row){mode, part};
    return n == 2 ? 1 : n;
}

static const char *mode_name(int mode) {
    return mode < 0 ? "all" : pq_trace_mode_name((enum pq_trace_mode)mode);
}

static const char *part_name(int part) {
    return part < 0 ? "all" : pq_fidelity_part_name((enum pq_fidelity_part)part);
}

static enum pq_status print_table(const struct session *s, struct pq_err *err) {
    static const char *const heads[] = {"checkpoint", "mode",  "part",  "tokens", "KL",  "p99",
                                        "max",        "top-1", "flips", "drop",   "ppl", "to FP"};
    struct pq_table table = {.columns = 12, .left = 3};
    struct row rows[ROWS];
    int n = list_rows(s, rows);
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int m = 0; m < s->models; m++) {
        for (int i = 0; i < n; i++) {
            struct pq_fidelity_summary f;
            enum pq_status status =
                pq_fidelity_summarize(&f, &s->fidelity, m, rows[i].mode, rows[i].part, err);
            if (status != PQ_OK)
                return status;
            pq_table_add(&table, "%s", s->dirs[m + 1]);
            pq_table_add(&table, "%s", mode_name(rows[i].mode));
            pq_table_add(&table, "%s", part_name(rows[i].part));
            pq_table_add(&table, "%d", f.n);
            pq_table_add(&table, "%.4g", f.kl_mean);
            pq_table_add(&table, "%.3g", f.kl_p99);
            pq_table_add(&table, "%.3g", f.kl_max);
            pq_table_add(&table, "%.2f %%", 100 * f.agreement);
            pq_table_add(&table, "%d", f.flips);
            pq_table_add(&table, "%.4f", f.top_drop);
            pq_table_add(&table, "%.4f", f.ppl);
            pq_table_add(&table, "%+.4f", f.ppl - f.reference_ppl);
        }
    }
    pq_table_print(&table);
    printf("KL: mean of KL(%s || checkpoint), nats; drop: of the probability of its likeliest "
           "token\n",
           s->dirs[0]);
    return PQ_OK;
}

static json_t *summary_json(const struct pq_fidelity_summary *f, struct row row) {
    return json_pack("{s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:i, s:f, s:f, s:f}", "mode",
                     mode_name(row.mode), "part", part_name(row.part), "tokens", f->n, "kl",
                     f->kl_mean, "kl_p99", f->kl_p99, "kl_max", f->kl_max, "agreement",
                     f->agreement, "flips", f->flips, "top_drop", f->top_drop, "ppl", f->ppl,
                     "reference_ppl", f->reference_ppl);
}

static enum pq_status print_json(const struct session *s, struct pq_err *err) {
    json_t *models = json_array();
    struct row rows[ROWS];
    int n = list_rows(s, rows);
    enum pq_status status = PQ_OK;
    for (int m = 0; m < s->models; m++) {
        json_t *list = json_array();
        for (int i = 0; i < n && status == PQ_OK; i++) {
            struct pq_fidelity_summary f;
            status = pq_fidelity_summarize(&f, &s->fidelity, m, rows[i].mode, rows[i].part, err);
            if (status == PQ_OK)
                json_array_append_new(list, summary_json(&f, rows[i]));
        }
        json_array_append_new(models,
                              json_pack("{s:s, s:o}", "model", s->dirs[m + 1], "rows", list));
    }
    json_t *json = json_pack("{s:s, s:s, s:i, s:o}", "reference", s->dirs[0],
                             s->options->traces ? "traces" : "text",
                             s->options->traces ? s->options->traces : s->options->text,
                             "sequences", s->traces.n, "models", models);
    if (status != PQ_OK) {
        json_decref(json);
        return status;
    }
    return pq_print_json(json) == PQ_EXIT_OK ? PQ_OK : PQ_EIO;
}

/* ---- The command ----------------------------------------------------------------------------- */

static int main_fidelity(const struct pq_command *command, int argc, char **argv) {
    struct options o = {.window = 512, .windows = 32};
    struct session s = {.options = &o, .dirs = argv};
    struct pq_err err = {""};
    int n, code;
    if (!pq_options_parse(command, argc, argv, &o, &n, &code))
        return code;
    if (!o.text == !o.traces)
        return pq_usage_error(command, "one of --text and --traces is needed, and not both");
    if (o.fields && o.traces)
        return pq_usage_error(command, "--field has no meaning with --traces");
    s.models = n - 1;
    pq_progress_catch_interrupt();
    enum pq_status status = measure(&s, &err);
    if (status == PQ_OK)
        status = o.json ? print_json(&s, &err) : print_table(&s, &err);
    pq_fidelity_free(&s.fidelity);
    pq_traces_free(&s.traces);
    return status == PQ_OK ? PQ_EXIT_OK : pq_error("%s", err.text);
}

const struct pq_command pq_command_fidelity = {
    .name = "fidelity",
    .arguments = "FP Q... --text FILE",
    .least = 2,
    .most = 1 + MODELS,
    .summary = "how far quantized checkpoints are from FP",
    .details =
        "All checkpoints see the same tokens.  Compared are the predictions of every token but a\n"
        "sequence's first two (the second is predicted from BOS alone); of a reply, those that\n"
        "the model generated.  KL(FP || Q) is computed in FP64 from FP32 logits.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_fidelity,
};
