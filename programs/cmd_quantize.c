/* panq quantize - a checkpoint with smaller weights. */
#include "commands.h"
#include "report.h"
#include "tally.h"

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
     .value = "rtn|rotate",
     FIELD(recipe),
     .help = "round to nearest (default), or do so after rotations"},
    {.name = "seed",
     .kind = PQ_OPTION_U64,
     .value = "N",
     FIELD(seed),
     .help = "of the rotations' signs (default 0)"},
    {.name = "portable",
     .kind = PQ_OPTION_FLAG,
     FIELD(portable),
     .help = "leave head and embeddings in floating point, for other engines"},
    {.name = "threads",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(threads),
     .min = 0,
     .max = 1024,
     .help = "threads to run (default 0: one per processor)"},
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

static enum pq_status summarize(const struct quantize *q, const char *dir, double seconds,
                                struct pq_err *err) {
    struct pq_tally before = {0}, after = {0};
    char from[24], to[24], time[24];
    enum pq_status status = count(dir, &before, err);
    if (status == PQ_OK)
        status = count(q->out, &after, err);
    if (status != PQ_OK)
        return status;
    if (q->json) {
        json_t *json = json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:f}", "out", q->out, "scheme",
                                 q->scheme ? "w4a8" : "w8a8", "bytes_before",
                                 (json_int_t)before.bytes, "bytes_after", (json_int_t)after.bytes,
                                 "linear_bits_before", pq_tally_bits(&before), "linear_bits_after",
                                 pq_tally_bits(&after), "seconds", seconds);
        return pq_print_json(json) == PQ_EXIT_OK ? PQ_OK : PQ_EIO;
    }
    printf("%s: %s -> %s (%.1f %%), %.3f -> %.3f bits a weight in the linears, in %s\n", q->out,
           pq_human_bytes((double)before.bytes, from), pq_human_bytes((double)after.bytes, to),
           100.0 * (double)after.bytes / (double)before.bytes, pq_tally_bits(&before),
           pq_tally_bits(&after), pq_human_time(seconds, time));
    return PQ_OK;
}

static int main_quantize(const struct pq_command *command, int argc, char **argv) {
    static const int groups[] = {32, 256, PQ_GROUP_CHANNEL};
    struct quantize q = {.scheme = -1, .group = -1};
    struct pq_progress progress = {0};
    struct pq_pool *pool = NULL;
    struct pq_err err = {""};
    int n, code;
    if (!pq_options_parse(command, argc, argv, &q, &n, &code))
        return code;
    if (!q.out || q.scheme < 0)
        return pq_usage_error(command, "--%s must be given", q.out ? "scheme" : "out");
    if (q.group >= 0 && q.scheme == 0)
        return pq_usage_error(command, "--group is for w4a8; w8a8 has one scale a channel");
    struct pq_quantize_options o = {.scheme = q.scheme ? PQ_SCHEME_W4A8 : PQ_SCHEME_W8A8,
                                    .group = groups[q.group < 0 ? 0 : q.group],
                                    .recipe = (enum pq_recipe_name)q.recipe,
                                    .seed = q.seed,
                                    .portable = q.portable,
                                    .progress = pq_progress_step,
                                    .user = &progress};
    double start = pq_seconds();
    enum pq_status status = pq_pool_open(&pool, q.threads, &err);
    pq_progress_catch_interrupt();
    if (status == PQ_OK)
        status = pq_quantize(argv[0], q.out, &o, pool, &err);
    pq_progress_clear(&progress);
    if (status == PQ_OK)
        status = summarize(&q, argv[0], pq_seconds() - start, &err);
    pq_pool_close(pool);
    return status == PQ_OK ? PQ_EXIT_OK : pq_error("%s", err.text);
}

const struct pq_command pq_command_quantize = {
    .name = "quantize",
    .arguments = "DIR -o OUT --scheme S",
    .least = 1,
    .most = 1,
    .summary = "write a checkpoint with 8-bit or 4-bit weights",
    .details =
        "OUT appears whole or not at all: it is written beside and renamed.  A w8a8 OUT is in\n"
        "compressed-tensors' int-quantized layout unless it is rotated; --portable makes one\n"
        "that transformers loads unchanged.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_quantize,
};
