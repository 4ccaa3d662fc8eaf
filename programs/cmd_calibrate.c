/* panq calibrate - the sequences that a checkpoint is calibrated with. */
#include "calibrate.h"
#include "commands.h"
#include "report.h"

#include <stdio.h>

#define FIELD(member) .offset = offsetof(struct pq_calibrate_options, member)
static const struct pq_option options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(out),
     .help = "the file of traces to write"},
    {.name = "prompts",
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(prompts),
     .help = "let the model reply to these: one a line, or JSON lines"},
    {.name = "modes",
     .kind = PQ_OPTION_TEXT,
     .value = "LIST",
     FIELD(modes),
     .help = "in these modes, as slow,auto,no (default: all that it has)"},
    {.name = "limit",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(limit),
     .min = 1,
     .max = 1 << 30,
     .help = "the first N prompts only"},
    {.name = "max-tokens",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(max_tokens),
     .min = 1,
     .max = 1 << 20,
     .help = "longest reply, thinking included (default 2048)"},
    {.name = "batch",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(batch),
     .min = 1,
     .max = 256,
     .help = "replies generated at a time, where memory allows (default 16)"},
    {.name = "greedy",
     .kind = PQ_OPTION_FLAG,
     FIELD(greedy),
     .help = "always take the likeliest token"},
    {.name = "temperature",
     .kind = PQ_OPTION_FLOAT,
     .value = "T",
     FIELD(temperature),
     .min = 0,
     .max = 100,
     .help = "sample; 0 is greedy (default: generation_config.json's)"},
    {.name = "top-p",
     .kind = PQ_OPTION_FLOAT,
     .value = "P",
     FIELD(top_p),
     .min = 0,
     .max = 1,
     .help = "sample among the likeliest tokens that make up P"},
    {.name = "text",
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(text),
     .help = "take windows of this text as well, or instead"},
    {.name = "field",
     .kind = PQ_OPTION_TEXT,
     .value = "LIST",
     FIELD(fields),
     .help = "the text is in these fields of JSON lines"},
    {.name = "window",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(window),
     .min = 2,
     .max = 1 << 20,
     .help = "tokens of a window, BOS included (default 512)"},
    {.name = "samples",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(samples),
     .min = 1,
     .max = 1 << 20,
     .help = "how many windows, from random places (default 64)"},
    {.name = "seed",
     .kind = PQ_OPTION_U64,
     .value = "N",
     FIELD(seed),
     .help = "of the replies and the places (default 1)"},
    {.name = "exclude",
     .kind = PQ_OPTION_TEXTS,
     .value = "FILE",
     FIELD(exclude),
     .help = "refuse prompts or a text with a task of this file; repeatable"},
    PQ_ENGINE_OPTIONS(struct pq_calibrate_options, engine),
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print the counts as JSON"},
};

static void print_counts(const char *out, const struct pq_calibrate_count *counts) {
    static const char *const heads[] = {"mode",   "sequences", "prompt", "thinking",
                                        "answer", "tokens",    "cut"};
    struct pq_table table = {.columns = 7, .left = 1};
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int mode = 0; mode < PQ_TRACE_MODES; mode++) {
        const struct pq_calibrate_count *c = &counts[mode];
        if (c->sequences == 0)
            continue;
        pq_table_add(&table, "%s", pq_trace_mode_name((enum pq_trace_mode)mode));
        pq_table_add(&table, "%d", c->sequences);
        pq_table_add(&table, "%lld", (long long)c->prompt);
        pq_table_add(&table, "%lld", (long long)c->thinking);
        pq_table_add(&table, "%lld", (long long)c->answer);
        pq_table_add(&table, "%lld", (long long)(c->prompt + c->thinking + c->answer));
        pq_table_add(&table, "%d", c->cut);
    }
    pq_table_print(&table);
    printf("%s: tokens by mode and part; cut: replies that --max-tokens ended\n", out);
}

static int print_json(const char *out, const struct pq_calibrate_count *counts) {
    json_t *modes = json_array();
    for (int mode = 0; mode < PQ_TRACE_MODES; mode++) {
        const struct pq_calibrate_count *c = &counts[mode];
        if (c->sequences > 0)
            json_array_append_new(modes, json_pack("{s:s, s:i, s:I, s:I, s:I, s:i}", "mode",
                                                   pq_trace_mode_name((enum pq_trace_mode)mode),
                                                   "sequences", c->sequences, "prompt_tokens",
                                                   (json_int_t)c->prompt, "thinking_tokens",
                                                   (json_int_t)c->thinking, "answer_tokens",
                                                   (json_int_t)c->answer, "cut", c->cut));
    }
    return pq_print_json(json_pack("{s:s, s:o}", "out", out, "modes", modes));
}

static int main_calibrate(const struct pq_command *command, int argc, char **argv) {
    struct pq_calibrate_options o = {.batch = 16,
                                     .max_tokens = 2048,
                                     .window = 512,
                                     .samples = 64,
                                     .temperature = -1,
                                     .top_p = -1,
                                     .seed = 1};
    struct pq_calibrate_count counts[PQ_TRACE_MODES] = {{0}};
    struct pq_err err = {""};
    int n, code;
    if (!pq_options_parse(command, argc, argv, &o, &n, &code))
        return code;
    if (!o.out)
        return pq_usage_error(command, "-o says where the traces go, and is missing");
    if (!o.prompts && !o.text)
        return pq_usage_error(command, "--prompts or --text is needed");
    if ((o.fields && !o.text) || (o.modes && !o.prompts))
        return pq_usage_error(command, o.modes && !o.prompts
                                           ? "--modes has no meaning without --prompts"
                                           : "--field has no meaning without --text");
    pq_progress_catch_interrupt();
    if (pq_calibrate(counts, &o, argv[0], &err) != PQ_OK)
        return pq_error("%s", err.text);
    if (o.json)
        return print_json(o.out, counts);
    print_counts(o.out, counts);
    return PQ_EXIT_OK;
}

const struct pq_command pq_command_calibrate = {
    .name = "calibrate",
    .arguments = "DIR -o FILE",
    .least = 1,
    .most = 1,
    .summary = "let a model write what it is calibrated with",
    .details = "The checkpoint itself replies to the prompts, through its chat template and in "
               "each mode;\n"
               "prompts and replies become JSON lines for panq quantize and panq fidelity.  A "
               "prompt file\n"
               "is plain text, one prompt a line, or JSON lines with \"prompt\", \"text\" or "
               "\"messages\".\n"
               "Tasks that the model is going to be judged by belong into --exclude.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_calibrate,
};
