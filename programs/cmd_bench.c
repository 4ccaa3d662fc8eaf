/* panq bench - tokens a second, beside what the machine could do. */
#include "bench.h"
#include "commands.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

struct options {
    struct pq_engine_options engine;
    const char *prompt, *contexts, *batches;
    int decode, repeat;
    bool profile, json;
};

#define FIELD(member) .offset = offsetof(struct options, member)
static const struct pq_option options[] = {
    {.name = "prompt",
     .kind = PQ_OPTION_TEXT,
     .value = "LIST",
     FIELD(prompt),
     .help = "prompt lengths to prefill (default 128,512,2048)"},
    {.name = "batches",
     .kind = PQ_OPTION_TEXT,
     .value = "LIST",
     FIELD(batches),
     .help = "sequences at a time, for each of which all is measured (default 1)"},
    {.name = "decode",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(decode),
     .min = 1,
     .max = 100000,
     .help = "tokens to decode (default 64)"},
    {.name = "contexts",
     .kind = PQ_OPTION_TEXT,
     .value = "LIST",
     FIELD(contexts),
     .help = "tokens before those decoded, 0 too (default: the first prompt length)"},
    {.name = "repeat",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(repeat),
     .min = 1,
     .max = PQ_BENCH_REPEAT,
     .help = "runs, of which medians are shown (default 5)"},
    {.name = "profile",
     .kind = PQ_OPTION_FLAG,
     FIELD(profile),
     .help = "break the times down by operator, and how they grow"},
    PQ_ENGINE_OPTIONS(struct options, engine),
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print JSON"},
};

/* ---- The works ------------------------------------------------------------------------------- */

enum { MOST_NUMBERS = 16 };

struct numbers {
    int value[MOST_NUMBERS], n;
};

/* "128,512" of --name: numbers from `least` to `most`. */
static enum pq_status parse_list(struct numbers *out, const char *name, const char *text, int least,
                                 int most, struct pq_err *err) {
    out->n = 0;
    for (const char *at = text; *at;) {
        char *end;
        long value = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || value < least || value > most)
            return pq_refuse(err, PQ_EINVAL,
                             "--%s takes numbers from %d to %d like 128,512, not "
                             "'%s'",
                             name, least, most, text);
        if (out->n == MOST_NUMBERS)
            return pq_refuse(err, PQ_EINVAL, "--%s takes %d numbers at most", name, MOST_NUMBERS);
        out->value[out->n++] = (int)value;
        at = end + (*end == ',');
    }
    return out->n ? PQ_OK : pq_refuse(err, PQ_EINVAL, "--%s names no number", name);
}

/* One more work, unless a model has no room for it: then that is said. */
static enum pq_status add_work(struct pq_bench *bench, int room, struct pq_bench_work work,
                               struct pq_err *err) {
    if (work.prompt + work.decode > room) {
        fprintf(stderr, "panq: %s %d is left out: the model has %d positions\n",
                work.decode ? "decoding after" : "a prompt of", work.prompt, room);
        return PQ_OK;
    }
    if (bench->works == PQ_BENCH_WORKS)
        return pq_refuse(err, PQ_EINVAL, "that is more than %d things to measure", PQ_BENCH_WORKS);
    bench->work[bench->works++] = work;
    return PQ_OK;
}

static enum pq_status plan(struct pq_bench *bench, const struct options *o, struct pq_err *err) {
    struct numbers prompts, batches, contexts;
    int room = INT32_MAX;
    for (int i = 0; i < bench->subjects; i++)
        if (bench->subject[i].engine.config->max_positions < room)
            room = bench->subject[i].engine.config->max_positions;
    enum pq_status status = parse_list(&prompts, "prompt", o->prompt, 1, 1 << 24, err);
    if (status == PQ_OK)
        status = parse_list(&batches, "batches", o->batches, 1, PQ_BENCH_BATCH, err);
    if (status == PQ_OK && o->contexts)
        status = parse_list(&contexts, "contexts", o->contexts, 0, 1 << 24, err);
    else
        contexts = (struct numbers){{prompts.value[0]}, 1};
    for (int b = 0; status == PQ_OK && b < batches.n; b++) {
        struct pq_bench_work work = {.batch = batches.value[b]};
        for (int i = 0; status == PQ_OK && i < prompts.n; i++) {
            work.prompt = prompts.value[i];
            status = add_work(bench, room, work, err);
        }
        work.decode = o->decode;
        for (int i = 0; status == PQ_OK && i < contexts.n; i++) {
            work.prompt = contexts.value[i];
            status = add_work(bench, room, work, err);
        }
    }
    return status == PQ_OK && bench->works == 0
               ? pq_refuse(err, PQ_EINVAL, "there is nothing left to measure")
               : status;
}

/* ---- The command ----------------------------------------------------------------------------- */

static enum pq_status run(struct pq_bench *bench, const struct options *o, struct pq_pool *pool,
                          struct pq_err *err) {
    enum pq_status status = PQ_OK;
    bench->threads = pq_pool_threads(pool);
    for (int i = 0; i < bench->subjects && status == PQ_OK; i++)
        status = pq_bench_load(bench, i, pool, err);
    if (status == PQ_OK)
        status = plan(bench, o, err);
    if (status == PQ_OK)
        status = pq_bench_prepare(bench, pool, err);
    return status == PQ_OK ? pq_bench_measure(bench, pool, err) : status;
}

/* Measure and show. */
static int bench_all(struct pq_bench *bench, const struct options *o) {
    struct pq_err err = {""};
    struct pq_pool *pool = NULL;
    enum pq_status status = pq_pool_open(&pool, o->engine.threads, &err);
    if (status == PQ_OK)
        status = run(bench, o, pool, &err);
    int code = PQ_EXIT_OK;
    if (status != PQ_OK)
        code = pq_error("%s", err.text);
    else if (o->json)
        code = pq_bench_print_json(bench);
    else
        pq_bench_print(bench);
    pq_bench_close(bench);
    pq_pool_close(pool);
    return code;
}

static int main_bench(const struct pq_command *command, int argc, char **argv) {
    struct options o = {.prompt = "128,512,2048", .batches = "1", .decode = 64, .repeat = 5};
    struct pq_bench bench = {.options = &o.engine, .arguments = json_array()};
    struct pq_err err = {""};
    char *builtin = NULL;
    int n, code;
    for (int i = 0; i < argc; i++) /* parsing moves them */
        json_array_append_new(bench.arguments, json_string(argv[i]));
    bool wanted = pq_options_parse(command, argc, argv, &o, &n, &code);
    if (wanted) {
        bench.repeat = o.repeat;
        bench.profile = o.profile;
        bench.subjects = n ? n : 1;
        for (int i = 0; i < n; i++)
            bench.subject[i].dir = argv[i];
        if (n == 0)
            bench.subject[0].dir = builtin = pq_builtin_checkpoint(&err);
        code = bench.subject[0].dir ? bench_all(&bench, &o) : pq_error("%s", err.text);
    }
    free(builtin);
    json_decref(bench.arguments);
    return code;
}

const struct pq_command pq_command_bench = {
    .name = "bench",
    .arguments = "[DIR...]",
    .least = 0,
    .most = PQ_BENCH_MODELS,
    .summary = "measure speed and memory beside the machine's peak",
    .details =
        "Several checkpoints are measured in turn, round by round, and compared with the first.\n"
        "GOPS counts two operations a weight of the linears that every token meets, in decoding\n"
        "also the head; GB/s the weights that a step of decoding reads, and every sequence's keys\n"
        "and values.  ms is a whole prefill, or a step of decoding.  Shares are of what this\n"
        "machine does with the same threads, measured before and after each run: 8-bit or BF16\n"
        "products from registers, and reading memory.\n"
        "--profile takes the run at the median.  An operator's limit is the time in which its\n"
        "operations at the peak of products, or what it reads and writes at the speed of memory,\n"
        "would be done, whichever is longer; activations that stay in caches can be faster.\n"
        "Typical is as if all layers of a call had taken what their median took: neighbours\n"
        "on the machine disturb single layers.  All of it follows ms = once + layers x\n"
        "(tokens x us + pairs x ns): a pair is a token and one that its attention sees.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_bench,
};
