/* panq pack - a checkpoint whose weights are mapped as they are. */
#include "commands.h"
#include "engine.h"
#include "report.h"
#include "tally.h"

#include <stdio.h>

struct pack {
    const char *out, *isa;
    int threads;
    bool json;
};

#define FIELD(member) .offset = offsetof(struct pack, member)
static const struct pq_option options[] = {
    {.name = "out",
     .letter = 'o',
     .kind = PQ_OPTION_TEXT,
     .value = "OUT",
     FIELD(out),
     .help = "the directory to make; it must not exist"},
    {.name = "isa",
     .kind = PQ_OPTION_TEXT,
     .value = "NAME",
     FIELD(isa),
     .help = "for the kernels of these instructions (default: this machine's)"},
    PQ_THREADS_OPTION(struct pack, threads),
    {.name = "json", .kind = PQ_OPTION_FLAG, FIELD(json), .help = "print the summary as JSON"},
};

static enum pq_status pack(const struct pack *p, const char *dir, struct pq_pack_options *o,
                           struct pq_err *err) {
    struct pq_pool *pool = NULL;
    enum pq_status status = pq_isa_option(p->isa, &o->isa, err);
    if (status == PQ_OK)
        status = pq_pool_open(&pool, p->threads, err);
    if (status == PQ_OK)
        status = pq_pack(dir, p->out, o, pool, err);
    pq_pool_close(pool);
    return status;
}

/* The checkpoint that was made, of so many bytes; returns the exit code. */
static int print_made(const struct pack *p, const struct pq_config *config, size_t bytes,
                      double seconds) {
    const char *scheme = pq_scheme_name(config->scheme), *order = pq_panels_name(config->panels);
    char size[24], time[24];
    if (p->json)
        return pq_print_json(json_pack("{s:s, s:s, s:s, s:I, s:f}", "out", p->out, "scheme", scheme,
                                       "panels", order, "bytes", (json_int_t)bytes, "seconds",
                                       seconds));
    printf("%s: %s, %s in panels of %s, in %s\n", p->out, pq_human_bytes((double)bytes, size),
           scheme, order, pq_human_time(seconds, time));
    return PQ_EXIT_OK;
}

static int summarize(const struct pack *p, double seconds) {
    struct pq_checkpoint *ckpt = NULL;
    struct pq_tally tally = {0};
    struct pq_err err;
    enum pq_status status = pq_checkpoint_open(&ckpt, p->out, &err);
    if (status == PQ_OK)
        status = pq_tally_count(&tally, ckpt, &err);
    int code = status == PQ_OK ? print_made(p, pq_checkpoint_config(ckpt), tally.bytes, seconds)
                               : pq_error("%s", err.text);
    pq_tally_free(&tally);
    pq_checkpoint_close(ckpt);
    return code;
}

static int main_pack(const struct pq_command *command, int argc, char **argv) {
    struct pack p = {0};
    struct pq_progress progress = {0};
    struct pq_pack_options o = {.progress = pq_progress_step, .user = &progress};
    struct pq_err err = {""};
    int n, code;
    if (!pq_options_parse(command, argc, argv, &p, &n, &code))
        return code;
    if (!p.out)
        return pq_usage_error(command, "--out must be given");
    double start = pq_seconds();
    pq_progress_catch_interrupt();
    enum pq_status status = pack(&p, argv[0], &o, &err);
    pq_progress_clear(&progress);
    return status == PQ_OK ? summarize(&p, pq_seconds() - start) : pq_error("%s", err.text);
}

const struct pq_command pq_command_pack = {
    .name = "pack",
    .arguments = "DIR -o OUT",
    .least = 1,
    .most = 1,
    .summary = "lay weights out for this machine, to start at once",
    .details =
        "OUT is the checkpoint DIR, of any precision, with its weights as kernels read them: it\n"
        "is mapped instead of packed when it is opened, so that it is ready at once, and the\n"
        "page cache holds the one copy that all processes share.  It answers as DIR does, to the\n"
        "last bit, and as fast where the kernel keeps files in huge pages (ext4 since Linux 6.16,\n"
        "XFS since 5.18).  Keep DIR: OUT cannot be quantized, and other kinds of machines may\n"
        "need another.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .main = main_pack,
};
