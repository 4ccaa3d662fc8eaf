/* panq fidelity - how far quantized checkpoints are from the one that they were made from. */
#include "commands.h"
#include "engine.h"
#include "fidelity.h"
#include "fidelity_page.h"
#include "output.h"
#include "report.h"
#include "windows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    struct pq_engine_options engine;
    const char *text, *fields, *traces, *out;
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
    {.name = "out",
     .letter = 'o',
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(out),
     .help = "write a page too: distributions, layers, channels, the worst tokens"},
    PQ_ENGINE_OPTIONS(struct options, engine),
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print the table as JSON"},
};

struct session {
    const struct options *options;
    char **dirs; /* [1 + models] */
    int models;
    struct pq_engine engine[1 + PQ_FIDELITY_MODELS];
    struct pq_traces traces;
    struct pq_fidelity fidelity;
    struct pq_fidelity_row rows[PQ_FIDELITY_ROWS];
    int n_rows;
    struct pq_progress progress;
};

/* ---- Measuring ------------------------------------------------------------------------------- */

static enum pq_status open_engines(struct session *s, struct pq_pool *pool, struct pq_err *err) {
    struct pq_engine_options o = s->options->engine;
    enum pq_status status = PQ_OK;
    for (int i = 0; i <= s->models && status == PQ_OK; i++) {
        o.without_text = i > 0;
        o.kv = i > 0 ? s->options->engine.kv : PQ_KV_NATIVE;
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

static void print_table(const struct session *s) {
    static const char *const heads[] = {"checkpoint", "mode", "part", "tokens", "KL",
                                        "+-",         "p99",  "max",  "top-1",  "flips",
                                        "drop",       "ppl",  "to FP"};
    struct pq_table table = {.columns = 13, .left = 3};
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int m = 0; m < s->models; m++) {
        for (int i = 0; i < s->n_rows; i++) {
            const struct pq_fidelity_summary *f = &s->rows[i].model[m];
            pq_table_add(&table, "%s", s->dirs[m + 1]);
            pq_table_add(&table, "%s", s->rows[i].mode);
            pq_table_add(&table, "%s", s->rows[i].part);
            pq_table_add(&table, "%d", f->n);
            pq_table_add(&table, "%.4g", f->kl_mean);
            pq_table_add(&table, "%.1g", f->kl_error);
            pq_table_add(&table, "%.3g", f->kl_p99);
            pq_table_add(&table, "%.3g", f->kl_max);
            pq_table_add(&table, "%.2f %%", 100 * f->agreement);
            pq_table_add(&table, "%d", f->flips);
            pq_table_add(&table, "%.4f", f->top_drop);
            pq_table_add(&table, "%.4f", f->ppl);
            pq_table_add(&table, "%+.4f", f->ppl - f->reference_ppl);
        }
    }
    pq_table_print(&table);
    printf("KL: mean of KL(%s || checkpoint), nats, and its standard error; drop: of the "
           "probability of its likeliest token\n",
           s->dirs[0]);
}

/* The layer whose attention (first = 1) or MLP (first = 2) has the least signal to noise. */
static int noisiest_layer(const struct pq_noise *noise, int model, int first) {
    int noisiest = first;
    for (int point = first; point < noise->points; point += 2)
        if (pq_noise_added(noise, model, point) < pq_noise_added(noise, model, noisiest))
            noisiest = point;
    return (noisiest - first) / 2;
}

static void print_noise(const struct session *s) {
    static const char *const heads[] = {"checkpoint", "stream, dB", "attention",
                                        "of layer",   "MLP",        "of layer"};
    const struct pq_noise *noise = &s->fidelity.noise;
    struct pq_table table = {.columns = 6, .left = 1};
    if (noise->points == 0)
        return;
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int m = 0; m < s->models; m++) {
        int attention = noisiest_layer(noise, m, 1), mlp = noisiest_layer(noise, m, 2);
        pq_table_add(&table, "%s", s->dirs[m + 1]);
        pq_table_add(&table, "%.1f", pq_noise_stream(noise, m, noise->points - 1));
        pq_table_add(&table, "%.1f", pq_noise_added(noise, m, 2 * attention + 1));
        pq_table_add(&table, "%d", attention);
        pq_table_add(&table, "%.1f", pq_noise_added(noise, m, 2 * mlp + 2));
        pq_table_add(&table, "%d", mlp);
    }
    putchar('\n');
    pq_table_print(&table);
    printf("signal to noise of the residual stream after the last layer, and of what the noisiest "
           "attention and MLP add to it\n");
}

static json_t *summary_json(const struct pq_fidelity_row *row, int model) {
    const struct pq_fidelity_summary *f = &row->model[model];
    return json_pack("{s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:i, s:f, s:f, s:f}", "mode",
                     row->mode, "part", row->part, "tokens", f->n, "kl", f->kl_mean, "kl_error",
                     f->kl_error, "kl_p99", f->kl_p99, "kl_max", f->kl_max, "agreement",
                     f->agreement, "flips", f->flips, "top_drop", f->top_drop, "ppl", f->ppl,
                     "reference_ppl", f->reference_ppl);
}

/* null where it is unknown or there is no noise. */
static json_t *decibels_json(double decibels) {
    return isfinite(decibels) ? json_real(decibels) : json_null();
}

static json_t *layers_json(const struct pq_noise *noise, int model) {
    json_t *layers = json_array();
    for (int point = 1; point < noise->points; point += 2)
        json_array_append_new(
            layers, json_pack("{s:o, s:o, s:o}", "attention",
                              decibels_json(pq_noise_added(noise, model, point)), "mlp",
                              decibels_json(pq_noise_added(noise, model, point + 1)), "stream",
                              decibels_json(pq_noise_stream(noise, model, point + 1))));
    return layers;
}

static int print_json(const struct session *s) {
    json_t *models = json_array();
    for (int m = 0; m < s->models; m++) {
        json_t *rows = json_array();
        for (int i = 0; i < s->n_rows; i++)
            json_array_append_new(rows, summary_json(&s->rows[i], m));
        json_array_append_new(models,
                              json_pack("{s:s, s:o, s:o}", "model", s->dirs[m + 1], "rows", rows,
                                        "signal_to_noise_db", layers_json(&s->fidelity.noise, m)));
    }
    return pq_print_json(json_pack("{s:s, s:s, s:i, s:o}", "reference", s->dirs[0],
                                   s->options->traces ? "traces" : "text",
                                   s->options->traces ? s->options->traces : s->options->text,
                                   "sequences", s->traces.n, "models", models));
}

/* The page of --out. */
static enum pq_status write_page(const struct session *s, FILE *out, struct pq_err *err) {
    struct pq_fidelity_page page = {.dirs = s->dirs,
                                    .source =
                                        s->options->traces ? s->options->traces : s->options->text,
                                    .fidelity = &s->fidelity,
                                    .rows = s->rows,
                                    .n_rows = s->n_rows};
    struct pq_tokenizer *tok = NULL;
    enum pq_status status = pq_tokenizer_open(&tok, s->dirs[0], err);
    page.tok = tok;
    if (status == PQ_OK)
        status = pq_fidelity_write_page(out, &page, err);
    pq_tokenizer_close(tok);
    return status;
}

/* ---- The command ----------------------------------------------------------------------------- */

static int main_fidelity(const struct pq_command *command, int argc, char **argv) {
    struct options o = {.window = 512, .windows = 32};
    struct session s = {.options = &o, .dirs = argv};
    struct pq_output page = {0};
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
    if (o.out && pq_output_open(&page, o.out, &err) != PQ_OK) /* before hours of work */
        return pq_error("%s", err.text);
    enum pq_status status = measure(&s, &err);
    if (status == PQ_OK)
        status = pq_fidelity_rows(s.rows, &s.n_rows, &s.fidelity, &err);
    if (status == PQ_OK && o.out)
        status = write_page(&s, page.file, &err);
    if (o.out)
        status = pq_output_close(&page, status, &err);
    if (status != PQ_OK) {
        code = pq_error("%s", err.text);
    } else if (o.json) {
        code = print_json(&s);
    } else {
        print_table(&s);
        print_noise(&s);
        code = PQ_EXIT_OK;
    }
    pq_fidelity_free(&s.fidelity);
    pq_traces_free(&s.traces);
    return code;
}

const struct pq_command pq_command_fidelity = {
    .name = "fidelity",
    .arguments = "FP Q... --text FILE",
    .least = 2,
    .most = 1 + PQ_FIDELITY_MODELS,
    .summary = "how far quantized checkpoints are from FP",
    .details =
        "All checkpoints see the same tokens.  Compared are the predictions of every token but a\n"
        "sequence's first two (the second is predicted from BOS alone); of a reply, those that\n"
        "the model generated.  KL(FP || Q) is computed in FP64 from FP32 logits.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_fidelity,
};
