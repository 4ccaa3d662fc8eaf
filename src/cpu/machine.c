/* machine.c - what this machine can do, for speeds to be held against. */
#include "base/arena.h"
#include "base/sort.h"
#include "base/threads.h"
#include "cpu/ops.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    TRIALS = 7,
    STREAM = 64 << 20, /* bytes that each of many threads reads ... */
};

/* ... between all of them, at least and at most.  Of half the least a cache of 32 MB gives a
 * twentieth. */
static const size_t least_stream = (size_t)512 << 20, most_stream = (size_t)2 << 30;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct probe {
    double (*peak)(int rounds);
    int rounds;
    unsigned char *stream; /* [threads][each] */
    size_t each;
    double work[1024]; /* [threads] */
};

static void peak_task(void *arg, int task, int thread) {
    (void)thread;
    struct probe *p = arg;
    p->work[task] = p->peak(p->rounds);
}

/* By the thread that will read it, whose memory it then is. */
static void fill_task(void *arg, int task, int thread) {
    (void)thread;
    struct probe *p = arg;
    memset(p->stream + (size_t)task * p->each, 1, p->each);
}

/* Two lines a turn, in vectors that every compiler keeps in registers. */
static void read_task(void *arg, int task, int thread) {
    (void)thread;
    struct probe *p = arg;
    typedef uint64_t words __attribute__((vector_size(16)));
    const words *w = (const void *)(p->stream + (size_t)task * p->each);
    words any[8] = {0};
    for (size_t i = 0; i < p->each / sizeof *w; i += 8) {
        __builtin_prefetch((const char *)(w + i) + PQ_FETCH_DISTANCE);
        __builtin_prefetch((const char *)(w + i) + PQ_FETCH_DISTANCE + 64);
        for (size_t j = 0; j < 8; j++)
            any[j] |= w[i + j];
    }
    for (size_t j = 1; j < 8; j++)
        any[0] |= any[j];
    __asm__ volatile("" ::"m"(any[0]));
    p->work[task] = (double)p->each;
}

/* rates[] = what the trials gave in units of work a second, the slowest first. */
static void try_out(double rates[TRIALS], struct pq_pool *pool, struct probe *p, pq_task_fn *fn) {
    int threads = pq_pool_threads(pool);
    for (int i = -1; i < TRIALS; i++) { /* the first one wakes clocks and threads */
        double start = now(), work = 0;
        pq_pool_run(pool, threads, fn, p);
        double seconds = now() - start;
        for (int t = 0; t < threads; t++)
            work += p->work[t];
        if (i >= 0)
            rates[i] = work / seconds;
    }
    pq_sort(rates, TRIALS);
}

/* The best: the limit, not the average. */
static double peak_rate(struct pq_pool *pool, struct probe *p, double (*peak)(int rounds)) {
    double rates[TRIALS];
    p->peak = peak;
    p->rounds = 1000;
    double start = now();
    peak(p->rounds);
    double each = (now() - start) / p->rounds;
    p->rounds = (int)(0.01 / (each > 1e-10 ? each : 1e-10));
    try_out(rates, pool, p, peak_task);
    return rates[TRIALS - 1];
}

static void processor_name(char *out, size_t size) {
    snprintf(out, size, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            colon[1 + strcspn(colon + 1, "\n")] = 0;
            snprintf(out, size, "%s", colon + 2);
            break;
        }
    }
    if (f)
        fclose(f);
}

/* The median: neighbours take of memory from moment to moment, from what is probed as from a step
 * that lasts longer than a trial. */
static enum pq_status measure_read(double *read_gbs, struct pq_pool *pool, struct pq_err *err) {
    double rates[TRIALS];
    struct pq_arena arena;
    size_t threads = (size_t)pq_pool_threads(pool), all = threads * STREAM;
    all = all < least_stream ? least_stream : all > most_stream ? most_stream : all;
    size_t each = all / threads / 4096 * 4096;
    PQ_TRY(pq_arena_open(&arena, threads * each, false, "the bandwidth probe", err));
    struct probe probe = {.stream = arena.base, .each = each};
    pq_pool_run(pool, (int)threads, fill_task, &probe);
    try_out(rates, pool, &probe, read_task);
    *read_gbs = rates[TRIALS / 2] * 1e-9;
    pq_arena_close(&arena);
    return PQ_OK;
}

enum pq_status pq_machine_measure(struct pq_machine *out, enum pq_isa isa, struct pq_pool *pool,
                                  struct pq_err *err) {
    const struct pq_ops *ops = pq_ops_get(isa);
    struct pq_machine machine = {.isa = ops->isa};
    struct probe probe = {0};
    PQ_TRY(measure_read(&machine.read_gbs, pool, err));
    processor_name(machine.cpu, sizeof machine.cpu);
    machine.int8_gops = peak_rate(pool, &probe, ops->peak_i8) * 1e-9;
    machine.bf16_gflops = peak_rate(pool, &probe, ops->peak_bf16) * 1e-9;
    *out = machine;
    return PQ_OK;
}
