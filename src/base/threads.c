/* Workers spin for a moment after a section, since the next one usually follows within
 * microseconds, then sleep on a condition variable.
 *
 * A section's tasks are dealt in runs, one a thread: a thread goes through its own in order, then
 * takes what others have not begun, so that a slow core delays a section by one task.  Every
 * thread's run is a 64-bit word, `left`: the section's number and the tasks left of the run.  A
 * word of an earlier section is a run that nobody has touched; since a section ends when all its
 * tasks have, and its number and its tasks are read in one word, `announced`, a worker that comes
 * late can never take a task of a section it did not see begin. */
#include "base/threads.h"

#include <assert.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SPINS = 4000,
    MAX_THREADS = 1024,
    TASK_BITS = 24, /* and 40 of the section: years of microseconds */
};

struct worker {
    _Alignas(64) _Atomic uint64_t left; /* section << TASK_BITS | tasks left */
    struct pq_pool *pool;
    pthread_t thread;
    int index;
};

struct pq_pool {
    int threads, spins;
    pq_task_fn *fn;
    void *arg;
    _Alignas(64) _Atomic uint64_t announced; /* section << TASK_BITS | its tasks */
    _Atomic bool stopping;                   /* in its line, which is all that spinning reads */
    _Alignas(64) _Atomic int finished;       /* tasks of the section that have ended */
    _Atomic int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct worker workers[]; /* [threads], the caller's first */
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* some 10 ns; yield is nothing where a core has one thread */
#endif
}

static uint64_t section_of(uint64_t word) {
    return word >> TASK_BITS;
}

static int tasks_of(uint64_t word) {
    return (int)(word & ((1u << TASK_BITS) - 1));
}

static int first_task(int tasks, int thread, int threads) {
    return (int)((int64_t)tasks * thread / threads);
}

/* The next task of a thread's run; -1: there is none. */
static int take(struct pq_pool *pool, uint64_t announced, int thread) {
    int tasks = tasks_of(announced), first = first_task(tasks, thread, pool->threads);
    int end = first_task(tasks, thread + 1, pool->threads);
    _Atomic uint64_t *word = &pool->workers[thread].left;
    uint64_t seen = atomic_load_explicit(word, memory_order_acquire);
    for (;;) {
        if (section_of(seen) > section_of(announced))
            return -1;
        int left = section_of(seen) == section_of(announced) ? tasks_of(seen) : end - first;
        if (left == 0)
            return -1;
        uint64_t next = section_of(announced) << TASK_BITS | (uint64_t)(left - 1);
        if (atomic_compare_exchange_weak_explicit(word, &seen, next, memory_order_acq_rel,
                                                  memory_order_acquire))
            return end - left;
    }
}

/* fn and arg are stable while a task is held, since the section cannot end before it. */
static void work(struct pq_pool *pool, uint64_t announced, int thread) {
    int done = 0;
    for (int i = 0; i < pool->threads; i++) {
        int owner = (thread + i) % pool->threads;
        for (int task; (task = take(pool, announced, owner)) >= 0; done++)
            pool->fn(pool->arg, task, thread);
    }
    if (done > 0)
        atomic_fetch_add_explicit(&pool->finished, done, memory_order_release);
}

/* Wait until another section than that of `seen` is announced; false when the pool closes. */
static bool wait_for_section(struct pq_pool *pool, uint64_t *seen) {
    uint64_t last = *seen;
    for (int i = 0; i < pool->spins; i++) {
        *seen = atomic_load_explicit(&pool->announced, memory_order_acquire);
        if (*seen != last)
            return true;
        if (atomic_load_explicit(&pool->stopping, memory_order_acquire))
            return false;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while ((*seen = atomic_load(&pool->announced)) == last && !atomic_load(&pool->stopping))
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
    return !atomic_load(&pool->stopping);
}

static void *worker_main(void *arg) {
    struct worker *self = arg;
    uint64_t seen = 0;
    while (wait_for_section(self->pool, &seen))
        work(self->pool, seen, self->index);
    return NULL;
}

static void wake_all(struct pq_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

void pq_pool_run(struct pq_pool *pool, int tasks, pq_task_fn *fn, void *arg) {
    assert(tasks < 1 << TASK_BITS);
    if (tasks <= 1 || pool->threads == 1) {
        for (int task = 0; task < tasks; task++)
            fn(arg, task, 0);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    atomic_store_explicit(&pool->finished, 0, memory_order_relaxed);
    uint64_t section = section_of(atomic_load_explicit(&pool->announced, memory_order_relaxed));
    uint64_t announced = (section + 1) << TASK_BITS | (uint64_t)tasks;
    atomic_store(&pool->announced, announced);
    if (atomic_load(&pool->sleepers) > 0)
        wake_all(pool);
    work(pool, announced, 0);
    for (int spins = 0; atomic_load_explicit(&pool->finished, memory_order_acquire) != tasks;) {
        relax();
        if (spins < pool->spins)
            spins++;
        else /* more threads than processors: let the other one run */
            sched_yield();
    }
}

static int processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more than a set has room for */
    return online > 0 && online < INT_MAX ? (int)online : 1;
}

enum pq_status pq_pool_open(struct pq_pool **out, int threads, struct pq_err *err) {
    if (threads < 0 || threads > MAX_THREADS)
        return pq_fail(err, PQ_EINVAL, "threads must be 0 to %d, not %d", MAX_THREADS, threads);
    if (threads == 0)
        threads = processors() < MAX_THREADS ? processors() : MAX_THREADS;
    size_t bytes = sizeof(struct pq_pool) + (size_t)threads * sizeof(struct worker);
    struct pq_pool *pool = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!pool)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d threads", threads);
    memset(pool, 0, bytes);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = threads;
    pool->spins = threads > processors() ? 0 : SPINS;
    for (int i = 1; i < threads; i++) {
        struct worker *w = &pool->workers[i];
        w->pool = pool;
        w->index = i;
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            pool->threads = i;
            pq_pool_close(pool);
            return pq_fail(err, PQ_ENOMEM, "cannot start thread %d of %d", i + 1, threads);
        }
    }
    *out = pool;
    return PQ_OK;
}

void pq_pool_close(struct pq_pool *pool) {
    if (!pool)
        return;
    atomic_store(&pool->stopping, true);
    wake_all(pool);
    for (int i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

int pq_pool_threads(const struct pq_pool *pool) {
    return pool->threads;
}
