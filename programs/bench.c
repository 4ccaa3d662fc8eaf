#include "bench.h"

#include "generate.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>

/* ---- Setting up ------------------------------------------------------------------------------ */

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

/* Places for the measurements of one checkpoint, and its context. */
static enum pq_status prepare_subject(const struct pq_bench *bench,
                                      struct pq_bench_subject *subject, struct pq_pool *pool,
                                      struct pq_err *err) {
    int64_t tokens = (int64_t)bench->sequences * bench->positions;
    struct pq_context_options o = {.sequences = bench->sequences,
                                   .positions = bench->positions,
                                   .batch = tokens < PQ_CHUNK ? (int)tokens : PQ_CHUNK,
                                   .kv = subject->engine.kv};
    bool room = true;
    for (int w = 0; w < bench->works; w++) {
        subject->round[w] = calloc((size_t)bench->repeat, sizeof *subject->round[w]);
        room &= subject->round[w] != NULL;
    }
    return room ? pq_context_open(&subject->ctx, subject->engine.model, pool, &o, err)
                : pq_refuse(err, PQ_ENOMEM, "no memory for the measurements");
}

enum pq_status pq_bench_prepare(struct pq_bench *bench, struct pq_pool *pool, struct pq_err *err) {
    int vocab = 0, smallest = INT32_MAX;
    bench->sequences = bench->positions = 1;
    for (int w = 0; w < bench->works; w++) {
        int length = bench->work[w].prompt + bench->work[w].decode;
        if (length > bench->positions)
            bench->positions = length;
        if (bench->work[w].batch > bench->sequences)
            bench->sequences = bench->work[w].batch;
    }
    enum pq_status status = PQ_OK;
    for (int i = 0; i < bench->subjects && status == PQ_OK; i++) {
        int own = bench->subject[i].engine.config->vocab;
        vocab = own > vocab ? own : vocab;
        smallest = own < smallest ? own : smallest;
        status = prepare_subject(bench, &bench->subject[i], pool, err);
    }
    bench->ids = malloc((size_t)bench->positions * sizeof *bench->ids);
    bench->logits = pq_logits_open((size_t)bench->sequences, vocab);
    if (status == PQ_OK && (!bench->ids || !bench->logits))
        status = pq_refuse(err, PQ_ENOMEM, "no memory for %d positions", bench->positions);
    if (status == PQ_OK)
        random_ids(bench->ids, bench->positions, smallest);
    if (status == PQ_OK)
        status = pq_machine_measure(&bench->machine, pq_model_isa(bench->subject[0].engine.model),
                                    pool, err);
    return status;
}

void pq_bench_close(struct pq_bench *bench) {
    for (int i = 0; i < bench->subjects; i++) {
        struct pq_bench_subject *subject = &bench->subject[i];
        for (int w = 0; w < bench->works; w++)
            free(subject->round[w]);
        pq_context_close(subject->ctx);
        pq_engine_close(&subject->engine);
    }
    free(bench->ids);
    free(bench->logits);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

/* Take the work's sequences, all of length `from`, to length `to`: calls are filled across
 * sequences, and only a sequence's last token has logits. */
static enum pq_status feed(struct pq_bench *bench, struct pq_context *ctx, int batch, int from,
                           int to, struct pq_err *err) {
    struct pq_feed feeds[PQ_BENCH_BATCH];
    enum pq_status status = PQ_OK;
    int n = 0, room = PQ_CHUNK;
    for (int i = 0; i < batch; i++) {
        for (int at = from; at < to && status == PQ_OK;) {
            int now = to - at < room ? to - at : room;
            feeds[n++] = (struct pq_feed){i, now, bench->ids + at, at + now == to};
            at += now;
            room -= now;
            if (room > 0 && (i < batch - 1 || at < to))
                continue;
            status = pq_forward(ctx, feeds, n, bench->logits, err);
            n = 0;
            room = PQ_CHUNK;
        }
    }
    return status;
}

/* Where the sequences have been prefilled by the work before, decoding goes on from there. */
static enum pq_status measure(struct pq_bench *bench, struct pq_bench_subject *subject,
                              const struct pq_bench_work *work, struct pq_bench_round *round,
                              struct pq_err *err) {
    struct pq_context *ctx = subject->ctx;
    enum pq_status status = PQ_OK;
    bool keep = work->decode > 0;
    for (int i = 0; i < work->batch; i++)
        keep = keep && pq_sequence_length(ctx, i) == work->prompt;
    for (int i = 0; i < work->batch && !keep; i++)
        pq_sequence_truncate(ctx, i, 0);
    if (work->decode && !keep)
        status = feed(bench, ctx, work->batch, 0, work->prompt, err);
    pq_context_profile(ctx, bench->profile ? &round->profile : NULL);
    double start = pq_seconds();
    if (!work->decode)
        status = feed(bench, ctx, work->batch, 0, work->prompt, err);
    for (int i = 0; i < work->decode && status == PQ_OK; i++)
        status = feed(bench, ctx, work->batch, work->prompt + i, work->prompt + i + 1, err);
    round->seconds = pq_seconds() - start;
    pq_context_profile(ctx, NULL);
    int tokens = work->decode ? work->decode : work->prompt;
    round->speed = (double)work->batch * tokens / round->seconds;
    for (int i = 0; i < work->batch; i++)
        pq_sequence_truncate(ctx, i, work->prompt);
    return status;
}

/* What a decoding reads, at so many tokens a second: the weights once for all sequences, and of
 * each its keys and values, half of the new ones at the mean. */
static double read_gbs(const struct pq_bench_subject *subject, const struct pq_bench_work *work,
                       double speed) {
    double past = work->prompt + work->decode / 2.0;
    double bytes = (double)pq_model_token_bytes(subject->engine.model) / work->batch +
                   past * (double)pq_context_position_bytes(subject->ctx);
    return 1e-9 * bytes * speed;
}

/* The best of what was seen before, and what is seen now. */
static void keep_best(struct pq_machine *best, const struct pq_machine *now) {
    best->int8_gops = fmax(best->int8_gops, now->int8_gops);
    best->bf16_gflops = fmax(best->bf16_gflops, now->bf16_gflops);
    best->read_gbs = fmax(best->read_gbs, now->read_gbs);
}

/* The peak of the products that the body's linears are, and of most heads; 0: FP32's, which is not
 * measured. */
static double peak_of(const struct pq_bench *bench, const struct pq_bench_subject *subject,
                      const struct pq_machine *machine) {
    if (subject->engine.config->scheme != PQ_SCHEME_FP)
        return machine->int8_gops;
    return bench->options->precision == PQ_PRECISION_FP32 ? 0 : machine->bf16_gflops;
}

/* Of the linears that every token meets: in decoding, the head's too. */
static double gops(const struct pq_bench_subject *subject, const struct pq_bench_work *work,
                   double speed) {
    const struct pq_config *config = subject->engine.config;
    double head = work->decode ? (double)config->vocab * config->hidden : 0;
    return 2e-9 * (pq_model_token_macs(subject->engine.model) + head) * speed;
}

/* Measure, and then the machine again: *around is what it gave before, and becomes what it gives
 * afterwards.  Neighbours take of it by the minute. */
static enum pq_status measure_between(struct pq_bench *bench, struct pq_bench_subject *subject,
                                      const struct pq_bench_work *work, struct pq_machine *around,
                                      struct pq_pool *pool, struct pq_bench_round *round,
                                      struct pq_err *err) {
    struct pq_machine before = *around, *m = &round->machine;
    enum pq_status status = measure(bench, subject, work, round, err);
    if (status == PQ_OK)
        status = pq_machine_measure(around, before.isa, pool, err);
    if (status != PQ_OK)
        return status;
    keep_best(&bench->machine, around);
    *m = before;
    m->int8_gops = (before.int8_gops + around->int8_gops) / 2;
    m->bf16_gflops = (before.bf16_gflops + around->bf16_gflops) / 2;
    m->read_gbs = (before.read_gbs + around->read_gbs) / 2;
    double peak = peak_of(bench, subject, m);
    round->gops_share = peak > 0 ? gops(subject, work, round->speed) / peak : 0;
    if (work->decode)
        round->gbs_share = read_gbs(subject, work, round->speed) / m->read_gbs;
    return PQ_OK;
}

static int compare(const void *a, const void *b) {
    double x = ((const struct pq_bench_round *)a)->speed;
    double y = ((const struct pq_bench_round *)b)->speed;
    return (x > y) - (x < y);
}

enum pq_status pq_bench_measure(struct pq_bench *bench, struct pq_pool *pool, struct pq_err *err) {
    enum pq_status status = PQ_OK;
    struct pq_progress progress = {0};
    struct pq_machine around = bench->machine;
    int done = 0, total = (bench->repeat + 1) * bench->works * bench->subjects;
    for (int r = -1; r < bench->repeat; r++) {
        for (int w = 0; w < bench->works; w++) {
            for (int i = 0; i < bench->subjects && status == PQ_OK; i++) {
                struct pq_bench_subject *subject = &bench->subject[i];
                const struct pq_bench_work *work = &bench->work[w];
                struct pq_bench_round round = {0};
                pq_progress_show(&progress, "measuring", done++, total);
                status = measure_between(bench, subject, work, &around, pool, &round, err);
                if (r >= 0)
                    subject->round[w][r] = round;
            }
        }
    }
    pq_progress_clear(&progress);
    bench->resident = pq_resident_now();
    for (int i = 0; i < bench->subjects; i++)
        for (int w = 0; w < bench->works; w++)
            qsort(bench->subject[i].round[w], (size_t)bench->repeat, sizeof(struct pq_bench_round),
                  compare);
    return status;
}

/* ---- Concluding ------------------------------------------------------------------------------ */

struct pq_bench_result pq_bench_conclude(const struct pq_bench *bench, int index, int w) {
    const struct pq_bench_subject *subject = &bench->subject[index];
    const struct pq_bench_work *work = &bench->work[w];
    const struct pq_bench_round *round = subject->round[w];
    int n = bench->repeat, low = (n - 1) / 2, high = n / 2;
    double median = (round[low].speed + round[high].speed) / 2;
    struct pq_bench_result r = {
        .median = median, .least = round[0].speed, .most = round[n - 1].speed};
    r.ms = 1e3 * work->batch * (work->decode ? 1 : work->prompt) / median;
    r.gops = gops(subject, work, median);
    r.gops_share = (round[low].gops_share + round[high].gops_share) / 2;
    if (work->decode) {
        r.gbs = read_gbs(subject, work, median);
        r.gbs_share = (round[low].gbs_share + round[high].gbs_share) / 2;
    }
    return r;
}
