/* panq report - runs of panq eval side by side. */
#include "commands.h"
#include "output.h"
#include "report.h"
#include "results.h"

#include <stdio.h>

struct report {
    const char *out, *baseline, *bench;
    bool markdown, json;
};

#define FIELD(member) .offset = offsetof(struct report, member)
static const struct pq_option options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(out),
     .help = "write the page, one file of HTML that needs nothing else"},
    {.name = "markdown", .kind = PQ_OPTION_FLAG, FIELD(markdown), .help = "print it as Markdown"},
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print it as JSON"},
    {.name = "baseline",
     .kind = PQ_OPTION_TEXT,
     .value = "RUN",
     FIELD(baseline),
     .help = "compare with this run (default: the one in BF16)"},
    {.name = "bench",
     .kind = PQ_OPTION_TEXT,
     .value = "FILE",
     FIELD(bench),
     .help = "what panq bench --json printed, for speed and memory"},
};

static int write_page(const char *path, const struct pq_results *results) {
    struct pq_output out;
    struct pq_err err;
    enum pq_status status = pq_output_open(&out, path, &err);
    if (status == PQ_OK) {
        pq_results_html(out.file, results);
        status = pq_output_close(&out, status, &err);
    }
    return status == PQ_OK ? PQ_EXIT_OK : pq_error("%s", err.text);
}

static int main_report(const struct pq_command *command, int argc, char **argv) {
    struct report o = {0};
    struct pq_results results = {0};
    struct pq_err err;
    int n, code;
    if (!pq_options_parse(command, argc, argv, &o, &n, &code))
        return code;
    if (o.markdown && o.json)
        return pq_usage_error(command, "--markdown and --json exclude each other");
    if (!o.out && !o.json && !o.markdown)
        return pq_usage_error(command, "give -o FILE, --markdown or --json");
    if (pq_results_read(&results, argv, n, o.baseline, o.bench, &err) != PQ_OK)
        return pq_error("%s", err.text);
    code = o.out ? write_page(o.out, &results) : PQ_EXIT_OK;
    if (code == PQ_EXIT_OK && o.markdown)
        pq_results_markdown(stdout, &results);
    if (code == PQ_EXIT_OK && o.json)
        code = pq_print_json(pq_results_json(&results));
    pq_results_free(&results);
    return code;
}

const struct pq_command pq_command_report = {
    .name = "report",
    .arguments = "RUN...",
    .least = 1,
    .most = 64,
    .summary = "runs of panq eval side by side, as a page",
    .details =
        "RUN is a file of panq eval -o.  Runs of the same tasks are compared: accuracy with\n"
        "intervals, flips, thinking, loops, and every reply behind a click.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_report,
};
