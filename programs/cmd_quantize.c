/* panq quantize - a checkpoint with smaller weights. */
#include "commands.h"
#include "report.h"
#include "tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct quantize {
    const char *out;
    int scheme; /* index of --scheme's words; -1 = not given */
    int group;  /* index of --group's words; -1 = not given */
    int threads;
    int recipe; /* enum pq_recipe_name */
    uint64_t seed;
    const char *calibration, *without, *modes;
    float budget;
    bool portable, json;
};

#define FIELD(member) .offset = offsetof(struct quantize, member)
static const struct pq_option options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = PQ_OPTION_TEXT,
     .value = "OUT",
     FIELD(out),
     .help = "the directory to make; it must not exist"},
    {.name = "scheme",
     .kind = PQ_OPTION_CHOICE,
     .value = "w8a8|w4a8",
     FIELD(scheme),
     .help = "bits of the weights; activations have 8"},
    {.name = "group",
     .kind = PQ_OPTION_CHOICE,
     .value = "32|256|channel",
     FIELD(group),
     .help = "inputs that share a multiplier in w4a8 (default 32)"},
    {.name = "recipe",
     .kind = PQ_OPTION_CHOICE,
     .value = "rtn|rotate|smooth|best",
     FIELD(recipe),
     .help = "how to round (default best with --calibration, else rtn)"},
    {.name = "calibration",
     .kind = PQ_OPTION_TEXT,
     .value = "TRACES",
     FIELD(calibration),
     .help = "what the model sees and says, by panq calibrate"},
    {.name = "mode-weights",
     .kind = PQ_OPTION_TEXT,
     .value = "slow=1,...",
     FIELD(modes),
     .help = "shares of the modes slow, auto, no, text; 0 where not named (default: alike)"},
    {.name = "budget-bits",
     .kind = PQ_OPTION_FLOAT,
     .value = "B",
     FIELD(budget),
     .min = 4,
     .max = 8,
     .help = "w4a8: give linears that need it 8 bits, up to B on average"},
    {.name = "without",
     .kind = PQ_OPTION_TEXT,
     .value = "STEP,...",
     FIELD(without),
     .help = "leave out steps: rotate, online, gptq, gptaq, refine, equalize"},
    {.name = "seed",
     .kind = PQ_OPTION_U64,
     .value = "N",
     FIELD(seed),
     .help = "of the rotations' signs (default 0)"},
    {.name = "portable",
     .kind = PQ_OPTION_FLAG,
     FIELD(portable),
     .help =
         "leave head and embeddings in floating point, for other engines (w4a8: not group 256)"},
    PQ_THREADS_OPTION(struct quantize, threads),
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print the summary as JSON"},
};

static enum pq_status count(const char *dir, struct pq_tally *tally, struct pq_err *err) {
    struct pq_checkpoint *ckpt;
    enum pq_status status = pq_checkpoint_open(&ckpt, dir, err);
    if (status != PQ_OK)
        return status;
    status = pq_tally_count(tally, ckpt, err);
    pq_tally_free(&(struct pq_tally){.group = tally->group});
    tally->group = NULL; /* the sums are all that is wanted */
    pq_checkpoint_close(ckpt);
    return status;
}

static json_t *calibration_json(const struct pq_calibration_report *r) {
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:s, s:i, s:f}", "tokens",
                     (json_int_t)r->tokens, "bos", (json_int_t)r->bos, "rows", (json_int_t)r->rows,
                     "massive_rows", (json_int_t)r->massive, "masked_share", r->masked_share,
                     "worst_masked_share", r->worst_share, "worst_masked", r->worst, "nearest",
                     r->nearest, "loss", r->loss);
}

static void print_calibration(const struct pq_calibration_report *r) {
    printf("calibrated with %" PRId64 " tokens; outputs of linears err by %.2g of their power\n",
           r->tokens, r->loss);
    printf("left out: %" PRId64 " BOS tokens, %" PRId64 " massive rows of %" PRId64
           ": %.1f %% of inputs' squares on average, at most %.1f %%%s%s\n",
           r->bos, r->massive, r->rows, 100 * r->masked_share, 100 * r->worst_share,
           *r->worst ? ", of " : "", r->worst);
    if (r->nearest)
        printf("%d linears are rounded to nearest: what enters them has no factor\n", r->nearest);
}

/* Returns the exit code. */
static int summarize(const struct quantize *q, const char *dir, double seconds,
                     const struct pq_calibration_report *report) {
    struct pq_tally before = {0}, after = {0};
    struct pq_err err;
    char from[24], to[24], time[24];
    enum pq_status status = count(dir, &before, &err);
    if (status == PQ_OK)
        status = count(q->out, &after, &err);
    if (status != PQ_OK)
        return pq_error("%s", err.text);
    if (q->json) {
        json_t *calibration = report->inputs ? calibration_json(report) : NULL;
        json_t *json =
            json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:o*}", "out", q->out, "scheme",
                      q->scheme ? "w4a8" : "w8a8", "bytes_before", (json_int_t)before.bytes,
                      "bytes_after", (json_int_t)after.bytes, "linear_bits_before",
                      pq_tally_bits(&before), "linear_bits_after", pq_tally_bits(&after), "seconds",
                      seconds, "calibration", calibration);
        return pq_print_json(json);
    }
    printf("%s: %s -> %s (%.1f %%), %.3f -> %.3f bits a weight in the linears, in %s\n", q->out,
           pq_human_bytes((double)before.bytes, from), pq_human_bytes((double)after.bytes, to),
           100.0 * (double)after.bytes / (double)before.bytes, pq_tally_bits(&before),
           pq_tally_bits(&after), pq_human_time(seconds, time));
    if (report->inputs)
        print_calibration(report);
    return PQ_EXIT_OK;
}

/* ---- Options in words ------------------------------------------------------------------------ */

/* The next of the words that commas part, NUL-terminated; NULL: there is none. */
static char *next_word(char **list) {
    char *word = strsep(list, ",");
    while (word && !*word)
        word = strsep(list, ",");
    return word;
}

static enum pq_status parse_steps(char *list, unsigned *steps, struct pq_err *err) {
    static const char *const names[] = {"rotate", "online", "gptq", "refine", "equalize", "gptaq"};
    const unsigned n = sizeof names / sizeof *names;
    for (char *word; (word = next_word(&list));) {
        unsigned i = 0;
        while (i < n && strcmp(names[i], word) != 0)
            i++;
        if (i == n)
            return pq_refuse(
                err, PQ_EINVAL,
                "--without takes rotate, online, gptq, gptaq, refine and equalize, not '%s'", word);
        *steps |= 1u << i;
    }
    return PQ_OK;
}

static enum pq_status parse_weights(char *list, float weights[PQ_TRACE_MODES], struct pq_err *err) {
    bool given = false, any = false;
    for (char *word; (word = next_word(&list));) {
        char *value = strchr(word, '='), *end = NULL;
        size_t length = value ? (size_t)(value - word) : 0;
        int mode = 0;
        while (mode < PQ_TRACE_MODES &&
               (strlen(pq_trace_mode_name((enum pq_trace_mode)mode)) != length ||
                strncmp(pq_trace_mode_name((enum pq_trace_mode)mode), word, length) != 0))
            mode++;
        float weight = value ? strtof(value + 1, &end) : -1;
        if (mode == PQ_TRACE_MODES || end == value + 1 || *end || !(weight >= 0 && weight <= 1e6f))
            return pq_refuse(err, PQ_EINVAL,
                             "--mode-weights takes slow, auto, no or text with a share, like "
                             "slow=1,no=0.5, not '%s'",
                             word);
        weights[mode] = weight;
        given = true;
        any |= weight > 0;
    }
    return any || !given ? PQ_OK
                         : pq_refuse(err, PQ_EINVAL,
                                     "--mode-weights gives no mode a share above 0; modes that it "
                                     "does not name have none");
}

static enum pq_status parse_words(const struct quantize *q, struct pq_quantize_options *o,
                                  struct pq_err *err) {
    char *steps = strdup(q->without ? q->without : ""), *modes = strdup(q->modes ? q->modes : "");
    enum pq_status status =
        steps && modes ? PQ_OK : pq_refuse(err, PQ_ENOMEM, "no memory for the options");
    if (status == PQ_OK)
        status = parse_steps(steps, &o->without, err);
    if (status == PQ_OK)
        status = parse_weights(modes, o->mode_weight, err);
    free(steps);
    free(modes);
    return status;
}

/* ---- The command ----------------------------------------------------------------------------- */

static enum pq_status read_traces(struct pq_traces *traces, const char *path, const char *dir,
                                  struct pq_err *err) {
    struct pq_checkpoint *ckpt;
    enum pq_status status = pq_checkpoint_open(&ckpt, dir, err);
    if (status != PQ_OK)
        return status;
    status = pq_traces_read(traces, path, pq_checkpoint_config(ckpt)->vocab, err);
    pq_checkpoint_close(ckpt);
    return status;
}

static enum pq_status quantize(const struct quantize *q, const char *dir,
                               struct pq_quantize_options *o, struct pq_err *err) {
    struct pq_traces traces = {0};
    struct pq_pool *pool = NULL;
    enum pq_status status = parse_words(q, o, err);
    if (status == PQ_OK && q->calibration)
        status = read_traces(&traces, q->calibration, dir, err);
    if (status == PQ_OK)
        status = pq_pool_open(&pool, q->threads, err);
    o->calibration = q->calibration ? &traces : NULL;
    if (status == PQ_OK)
        status = pq_quantize(dir, q->out, o, pool, err);
    pq_traces_free(&traces);
    pq_pool_close(pool);
    return status;
}

static int main_quantize(const struct pq_command *command, int argc, char **argv) {
    static const int groups[] = {32, 256, PQ_GROUP_CHANNEL};
    struct quantize q = {.scheme = -1, .group = -1, .recipe = -1};
    struct pq_progress progress = {0};
    struct pq_calibration_report report = {0};
    struct pq_err err = {""};
    int n, code;
    if (!pq_options_parse(command, argc, argv, &q, &n, &code))
        return code;
    if (!q.out || q.scheme < 0)
        return pq_usage_error(command, "--%s must be given", q.out ? "scheme" : "out");
    if (q.group >= 0 && q.scheme == 0)
        return pq_usage_error(command, "--group is for w4a8; w8a8 has one scale a channel");
    if (q.recipe < 0)
        q.recipe = q.calibration ? PQ_RECIPE_BEST : PQ_RECIPE_RTN;
    struct pq_quantize_options o = {.scheme = q.scheme ? PQ_SCHEME_W4A8 : PQ_SCHEME_W8A8,
                                    .group = groups[q.group < 0 ? 0 : q.group],
                                    .recipe = (enum pq_recipe_name)q.recipe,
                                    .seed = q.seed,
                                    .budget_bits = q.budget,
                                    .portable = q.portable,
                                    .report = &report,
                                    .progress = pq_progress_step,
                                    .user = &progress};
    double start = pq_seconds();
    pq_progress_catch_interrupt();
    enum pq_status status = quantize(&q, argv[0], &o, &err);
    pq_progress_clear(&progress);
    return status == PQ_OK ? summarize(&q, argv[0], pq_seconds() - start, &report)
                           : pq_error("%s", err.text);
}

const struct pq_command pq_command_quantize = {
    .name = "quantize",
    .arguments = "DIR -o OUT --scheme S",
    .least = 1,
    .most = 1,
    .summary = "write a checkpoint with 8-bit or 4-bit weights",
    .details =
        "OUT appears whole or not at all: it is written beside and renamed; a run that was\n"
        "stopped goes on where it stood.  Recipes: rtn rounds to nearest, rotate does so after\n"
        "Hadamard rotations, best rounds rotated weights against what the traces of\n"
        "--calibration do in the model, smooth does so after scaling channels instead, which\n"
        "every engine can run.  --portable makes a directory that transformers and\n"
        "vLLM load unchanged, but for groups of 256, which compressed-tensors lacks here.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_quantize,
};
