/* panq bench - tokens a second, beside what the machine could do. */
#include "commands.h"
#include "engine.h"
#include "generate.h"
#include "report.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPTS = 8, MAX_MODELS = 8, MAX_REPEAT = 1000 };

struct bench {
    struct pq_engine_options engine;
    const char *prompt;
    int decode, repeat;
    bool json;
};

#define FIELD(member) .offset = offsetof(struct bench, member)
static const struct pq_option options[] = {
    {.name = "prompt",
     .kind = PQ_OPTION_TEXT,
     .value = "LIST",
     FIELD(prompt),
     .help = "prompt lengths to prefill (default 128,512,2048)"},
    {.name = "decode",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(decode),
     .min = 1,
     .max = 100000,
     .help = "tokens to decode after the first prompt (default 64)"},
    {.name = "repeat",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(repeat),
     .min = 1,
     .max = MAX_REPEAT,
     .help = "runs, of which medians are shown (default 5)"},
    PQ_ENGINE_OPTIONS(struct bench, engine),
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print JSON"},
};

/* Prefill of `prompt` tokens, or decoding of `decode` after them. */
struct work {
    int prompt, decode;
};

struct subject {
    const char *dir;
    struct pq_engine engine;
    struct pq_context *ctx;
    double *speed[MAX_PROMPTS + 1]; /* [repeat] tokens/s of each work */
    double *share;                  /* [repeat] of the read speed that each decoding came to */
};

struct session {
    const struct bench *bench;
    struct subject subject[MAX_MODELS];
    int subjects;
    struct work work[MAX_PROMPTS + 1]; /* the prefills, then the decode */
    int works;
    struct pq_machine machine;
    int threads;
    int32_t *ids;  /* [longest work] random */
    float *logits; /* [largest vocab] */
};

/* ---- Measuring ------------------------------------------------------------------------------- */

/* splitmix64, from a fixed seed: the same tokens in every run. */
static void random_ids(int32_t *ids, int n, int vocab) {
    uint64_t state = 1;
    for (int i = 0; i < n; i++) {
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        ids[i] = (int32_t)((z ^ (z >> 31)) % (uint64_t)vocab);
    }
}

static enum pq_status measure(struct session *s, struct subject *subject, const struct work *work,
                              double *speed, struct pq_err *err) {
    int n = work->prompt;
    pq_sequence_truncate(subject->ctx, 0, 0);
    double start = pq_seconds();
    enum pq_status status = pq_feed_chunks(subject->ctx, s->ids, 0, n, s->logits, NULL, err);
    if (work->decode)
        start = pq_seconds();
    for (int i = 0; i < work->decode && status == PQ_OK; i++)
        status = pq_feed_chunks(subject->ctx, s->ids, n + i, n + i + 1, s->logits, NULL, err);
    *speed = (work->decode ? work->decode : n) / (pq_seconds() - start);
    return status;
}

static double weight_gbs(const struct subject *subject, double speed) {
    return 1e-9 * (double)pq_model_token_bytes(subject->engine.model) * speed;
}

/* The same of a decode, between two probes of what memory gives: it changes by the minute. */
static enum pq_status measure_decode(struct session *s, struct subject *subject,
                                     const struct work *work, struct pq_pool *pool, double *speed,
                                     double *share, struct pq_err *err) {
    double before, after;
    enum pq_status status = pq_machine_measure_read(&before, pool, err);
    if (status == PQ_OK)
        status = measure(s, subject, work, speed, err);
    if (status == PQ_OK)
        status = pq_machine_measure_read(&after, pool, err);
    if (status == PQ_OK)
        *share = weight_gbs(subject, *speed) / ((before + after) / 2);
    return status;
}

/* Round by round through all checkpoints, so that a slow minute of the machine meets all alike.
 * The first round warms up and is not counted. */
static enum pq_status measure_all(struct session *s, struct pq_pool *pool, struct pq_err *err) {
    enum pq_status status = PQ_OK;
    struct pq_progress progress = {0};
    int done = 0, total = (s->bench->repeat + 1) * s->works * s->subjects;
    for (int round = -1; round < s->bench->repeat; round++) {
        for (int w = 0; w < s->works; w++) {
            for (int i = 0; i < s->subjects && status == PQ_OK; i++) {
                double speed, share = 0;
                pq_progress_show(&progress, "measuring", done++, total);
                status = s->work[w].decode ? measure_decode(s, &s->subject[i], &s->work[w], pool,
                                                            &speed, &share, err)
                                           : measure(s, &s->subject[i], &s->work[w], &speed, err);
                if (round < 0)
                    continue;
                s->subject[i].speed[w][round] = speed;
                if (s->work[w].decode)
                    s->subject[i].share[round] = share;
            }
        }
    }
    pq_progress_clear(&progress);
    return status;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What a work came to on a checkpoint. */
struct result {
    double median, least, most;   /* tokens a second */
    double gops, gbs;             /* at the median; gbs 0 for a prefill */
    double gops_share, gbs_share; /* of the machine's peak; 0 = there is none to compare with */
};

/* Sorts v [n] and returns its median. */
static double median_of(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, compare);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static struct result conclude(const struct session *s, const struct subject *subject, int w) {
    int n = s->bench->repeat;
    double *v = subject->speed[w], median = median_of(v, n);
    struct result r = {.median = median, .least = v[0], .most = v[n - 1]};
    bool integer = subject->engine.config->scheme != PQ_SCHEME_FP;
    double peak = integer ? s->machine.int8_gops : s->machine.bf16_gflops;
    if (!integer && s->bench->engine.precision == PQ_PRECISION_FP32)
        peak = 0;
    r.gops = 2e-9 * pq_model_token_macs(subject->engine.model) * median;
    r.gops_share = peak > 0 ? r.gops / peak : 0;
    if (s->work[w].decode) {
        r.gbs = weight_gbs(subject, median);
        r.gbs_share = median_of(subject->share, n);
    }
    return r;
}

/* Most memory the process has had, in bytes; 0 if the system does not say. */
static double peak_memory(void) {
    char line[256];
    double kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lf", &kilobytes) == 1)
            break;
    if (file)
        fclose(file);
    return 1024 * kilobytes;
}

/* ---- Setting up ------------------------------------------------------------------------------ */

/* The works that all checkpoints have room for, saying which are left out. */
static enum pq_status plan(struct session *s, struct pq_err *err) {
    const char *list = s->bench->prompt;
    int most = s->subject[0].engine.config->max_positions;
    for (int i = 1; i < s->subjects; i++)
        if (s->subject[i].engine.config->max_positions < most)
            most = s->subject[i].engine.config->max_positions;
    while (*list) {
        char *end;
        long n = strtol(list, &end, 10);
        if (end == list || (*end && *end != ',') || n < 1 || n > 1 << 24)
            return pq_refuse(err, PQ_EINVAL, "--prompt takes lengths like 128,512, not '%s'",
                             s->bench->prompt);
        list = end + (*end == ',');
        if (n > most)
            fprintf(stderr, "panq: a prompt of %ld is left out: the model has %d positions\n", n,
                    most);
        else if (s->works == MAX_PROMPTS)
            return pq_refuse(err, PQ_EINVAL, "--prompt takes %d lengths at most", MAX_PROMPTS);
        else
            s->work[s->works++] = (struct work){.prompt = (int)n};
    }
    int prompt = s->works ? s->work[0].prompt : 1, room = most - prompt;
    if (room < 1)
        fprintf(stderr, "panq: decoding is left out: no room after a prompt of %d\n", prompt);
    else
        s->work[s->works++] = (struct work){
            .prompt = prompt, .decode = s->bench->decode < room ? s->bench->decode : room};
    return PQ_OK;
}

static enum pq_status prepare(struct session *s, struct pq_pool *pool, struct pq_err *err) {
    int positions = 1, vocab = 0, smallest = INT32_MAX;
    enum pq_status status = plan(s, err);
    for (int w = 0; w < s->works; w++)
        if (s->work[w].prompt + s->work[w].decode > positions)
            positions = s->work[w].prompt + s->work[w].decode;
    for (int i = 0; i < s->subjects && status == PQ_OK; i++) {
        struct subject *subject = &s->subject[i];
        struct pq_context_options o = {.sequences = 1,
                                       .positions = positions,
                                       .batch = positions < PQ_CHUNK ? positions : PQ_CHUNK};
        int own = subject->engine.config->vocab;
        vocab = own > vocab ? own : vocab;
        smallest = own < smallest ? own : smallest;
        status = pq_context_open(&subject->ctx, subject->engine.model, pool, &o, err);
        bool room = (subject->share = calloc((size_t)s->bench->repeat, sizeof(double))) != NULL;
        for (int w = 0; w < s->works; w++)
            room &= (subject->speed[w] = calloc((size_t)s->bench->repeat, sizeof(double))) != NULL;
        if (status == PQ_OK && !room)
            status = pq_refuse(err, PQ_ENOMEM, "no memory for the measurements");
    }
    s->ids = malloc((size_t)positions * sizeof *s->ids);
    s->logits = malloc((size_t)vocab * sizeof *s->logits);
    if (status == PQ_OK && (!s->ids || !s->logits))
        status = pq_refuse(err, PQ_ENOMEM, "no memory for %d positions", positions);
    if (status == PQ_OK)
        random_ids(s->ids, positions, smallest);
    return status;
}

static void close_session(struct session *s) {
    for (int i = 0; i < s->subjects; i++) {
        for (int w = 0; w < s->works; w++)
            free(s->subject[i].speed[w]);
        free(s->subject[i].share);
        pq_context_close(s->subject[i].ctx);
        pq_engine_close(&s->subject[i].engine);
    }
    free(s->ids);
    free(s->logits);
}

/* ---- Printing -------------------------------------------------------------------------------- */

static const char *label(const struct subject *subject, char buf[256]) {
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", subject->dir);
    snprintf(buf, 256, "%.200s (%s)", basename(copy),
             pq_scheme_name(subject->engine.config->scheme));
    return buf;
}

static void add_share(struct pq_table *table, double value, double share) {
    if (value > 0)
        pq_table_add(table, value < 10 ? "%.2f" : "%.0f", value);
    else
        pq_table_add(table, "-");
    if (share > 0)
        pq_table_add(table, "%.0f %%", 100 * share);
    else
        pq_table_add(table, "-");
}

static void print_speeds(const struct session *s) {
    static const char *const heads[] = {"checkpoint", "work", "tok/s",   "min .. max", "GOPS",
                                        "of peak",    "GB/s", "of peak", "to first"};
    struct pq_table table = {.columns = s->subjects > 1 ? 9 : 8, .left = 2};
    for (int i = 0; i < table.columns; i++)
        pq_table_add(&table, "%s", heads[i]);
    for (int w = 0; w < s->works; w++) {
        double first = conclude(s, &s->subject[0], w).median;
        for (int i = 0; i < s->subjects; i++) {
            char name[256];
            struct result r = conclude(s, &s->subject[i], w);
            bool decode = s->work[w].decode > 0;
            pq_table_add(&table, "%s", label(&s->subject[i], name));
            pq_table_add(&table, "%s %d", decode ? "decode" : "prefill",
                         decode ? s->work[w].decode : s->work[w].prompt);
            pq_table_add(&table, "%.1f", r.median);
            pq_table_add(&table, "%.1f .. %.1f", r.least, r.most);
            add_share(&table, r.gops, r.gops_share);
            add_share(&table, r.gbs, r.gbs_share);
            if (s->subjects > 1)
                pq_table_add(&table, "%.2fx", r.median / first);
        }
    }
    pq_table_print(&table);
}

static void print_memory(const struct session *s) {
    struct pq_table table = {.columns = 4, .left = 1};
    char text[256], size[24];
    pq_table_add(&table, "checkpoint");
    pq_table_add(&table, "weights");
    pq_table_add(&table, "KV cache");
    pq_table_add(&table, "scratch");
    for (int i = 0; i < s->subjects; i++) {
        const struct subject *subject = &s->subject[i];
        double bytes[3] = {(double)pq_model_bytes(subject->engine.model),
                           (double)pq_context_kv_bytes(subject->ctx),
                           (double)pq_context_scratch_bytes(subject->ctx)};
        pq_table_add(&table, "%s", label(subject, text));
        for (int k = 0; k < 3; k++)
            pq_table_add(&table, "%s", pq_human_bytes(bytes[k], size));
    }
    putchar('\n');
    pq_table_print(&table);
    printf("peak memory of the process: %s\n", pq_human_bytes(peak_memory(), size));
}

static json_t *work_json(const struct session *s, const struct subject *subject, int w) {
    struct result r = conclude(s, subject, w);
    bool decode = s->work[w].decode > 0;
    return json_pack("{s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "work",
                     decode ? "decode" : "prefill", "prompt", s->work[w].prompt, "tokens",
                     decode ? s->work[w].decode : s->work[w].prompt, "tok_s", r.median, "tok_s_min",
                     r.least, "tok_s_max", r.most, "gops", r.gops, "gops_share", r.gops_share,
                     "gbs", r.gbs, "gbs_share", r.gbs_share);
}

static int print_json(const struct session *s) {
    json_t *models = json_array();
    for (int i = 0; i < s->subjects; i++) {
        const struct subject *subject = &s->subject[i];
        json_t *speeds = json_array();
        for (int w = 0; w < s->works; w++)
            json_array_append_new(speeds, work_json(s, subject, w));
        json_array_append_new(
            models, json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:I}", "dir", subject->dir, "scheme",
                              pq_scheme_name(subject->engine.config->scheme), "isa",
                              pq_isa_name(pq_model_isa(subject->engine.model)), "speeds", speeds,
                              "weight_bytes", (json_int_t)pq_model_bytes(subject->engine.model),
                              "kv_bytes", (json_int_t)pq_context_kv_bytes(subject->ctx),
                              "scratch_bytes", (json_int_t)pq_context_scratch_bytes(subject->ctx)));
    }
    const struct pq_machine *m = &s->machine;
    json_t *machine =
        json_pack("{s:s, s:s, s:i, s:f, s:f, s:f}", "cpu", m->cpu, "isa", pq_isa_name(m->isa),
                  "threads", s->threads, "int8_gops", m->int8_gops, "bf16_gflops", m->bf16_gflops,
                  "read_gbs", m->read_gbs);
    return pq_print_json(json_pack("{s:o, s:i, s:o, s:I}", "machine", machine, "repeat",
                                   s->bench->repeat, "models", models, "peak_memory_bytes",
                                   (json_int_t)peak_memory()));
}

/* ---- The command ----------------------------------------------------------------------------- */

static enum pq_status run_session(struct session *s, struct pq_pool *pool, struct pq_err *err) {
    const struct pq_machine *m = &s->machine;
    enum pq_status status = PQ_OK;
    for (int i = 0; i < s->subjects && status == PQ_OK; i++)
        status =
            pq_engine_open(&s->subject[i].engine, s->subject[i].dir, &s->bench->engine, pool, err);
    if (status == PQ_OK)
        status = prepare(s, pool, err);
    if (status == PQ_OK)
        status =
            pq_machine_measure(&s->machine, pq_model_isa(s->subject[0].engine.model), pool, err);
    s->threads = pq_pool_threads(pool);
    if (status == PQ_OK && !s->bench->json) {
        printf("%s, %d threads, %s\n", m->cpu, s->threads, pq_isa_name(m->isa));
        printf("peak, measured now: %.0f GOPS in 8 bits, %.0f GFLOPS in BF16, %.1f GB/s read\n\n",
               m->int8_gops, m->bf16_gflops, m->read_gbs);
        fflush(stdout);
    }
    return status == PQ_OK ? measure_all(s, pool, err) : status;
}

static int main_bench(const struct pq_command *command, int argc, char **argv) {
    struct bench bench = {.prompt = "128,512,2048", .decode = 64, .repeat = 5};
    struct session s = {.bench = &bench};
    struct pq_err err = {""};
    struct pq_pool *pool = NULL;
    char *builtin = NULL;
    int n, code;
    if (!pq_options_parse(command, argc, argv, &bench, &n, &code))
        return code;
    s.subjects = n ? n : 1;
    for (int i = 0; i < n; i++)
        s.subject[i].dir = argv[i];
    if (n == 0 && !(s.subject[0].dir = builtin = pq_builtin_checkpoint(&err)))
        return pq_error("%s", err.text);
    enum pq_status status = pq_pool_open(&pool, bench.engine.threads, &err);
    if (status == PQ_OK)
        status = run_session(&s, pool, &err);
    code = PQ_EXIT_OK;
    if (status != PQ_OK) {
        code = pq_error("%s", err.text);
    } else if (bench.json) {
        code = print_json(&s);
    } else {
        print_speeds(&s);
        print_memory(&s);
    }
    close_session(&s);
    pq_pool_close(pool);
    free(builtin);
    return code;
}

const struct pq_command pq_command_bench = {
    .name = "bench",
    .arguments = "[DIR...]",
    .least = 0,
    .most = MAX_MODELS,
    .summary = "measure speed and memory beside the machine's peak",
    .details =
        "Several checkpoints are measured in turn, round by round, and compared with the first.\n"
        "GOPS counts two operations a weight of the body's linears; GB/s the weights that one\n"
        "decoded token reads.  Shares are of what this machine does with the same threads in the\n"
        "same run: 8-bit or BF16 products from registers, and reading memory, which is measured\n"
        "before and after each decoding.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_bench,
};
