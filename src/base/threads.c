/* Workers spin for a moment after a section, since the next one usually follows within
 * microseconds, then sleep on a condition variable.
 *
 * One 64-bit word, `ticket`, holds the section's number and the next task, so that a worker that
 * comes late can never take a task of a section it did not see begin. */
#include "base/threads.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPINS = 4000, MAX_THREADS = 1024 };

struct worker {
    struct pq_pool *pool;
    pthread_t thread;
    int index;
};

struct pq_pool {
    int threads;
    pq_task_fn *fn;
    void *arg;
    int tasks;
    _Alignas(64) _Atomic uint64_t ticket; /* section << 32 | next task */
    _Alignas(64) _Atomic int finished;    /* tasks of the section that have ended */
    _Atomic int sleepers;
    _Atomic bool stopping;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct worker workers[]; /* [threads - 1] */
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Take tasks of `section` until there are none.  fn, arg and tasks are stable while one is held,
 * since the section cannot end before it is finished. */
static void work(struct pq_pool *pool, uint32_t section, int thread) {
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    for (;;) {
        uint32_t task = (uint32_t)ticket;
        if ((uint32_t)(ticket >> 32) != section || task == 0)
            return;
        /* Counting down needs no look at `tasks`, which may belong to a later section by now. */
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket - 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        pool->fn(pool->arg, pool->tasks - (int)task, thread);
        atomic_fetch_add_explicit(&pool->finished, 1, memory_order_release);
        ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    }
}

static uint32_t section_of(struct pq_pool *pool) {
    return (uint32_t)(atomic_load_explicit(&pool->ticket, memory_order_acquire) >> 32);
}

/* Wait until a section other than `seen` begins; false when the pool closes. */
static bool wait_for_section(struct pq_pool *pool, uint32_t seen) {
    for (int i = 0; i < SPINS; i++) {
        if (section_of(pool) != seen)
            return true;
        if (atomic_load_explicit(&pool->stopping, memory_order_acquire))
            return false;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while ((uint32_t)(atomic_load(&pool->ticket) >> 32) == seen && !atomic_load(&pool->stopping))
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
    return !atomic_load(&pool->stopping);
}

static void *worker_main(void *arg) {
    struct worker *self = arg;
    uint32_t seen = 0;
    while (wait_for_section(self->pool, seen)) {
        seen = section_of(self->pool);
        work(self->pool, seen, self->index);
    }
    return NULL;
}

static void wake_all(struct pq_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

void pq_pool_run(struct pq_pool *pool, int tasks, pq_task_fn *fn, void *arg) {
    if (tasks <= 1 || pool->threads == 1) {
        for (int task = 0; task < tasks; task++)
            fn(arg, task, 0);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->tasks = tasks;
    atomic_store_explicit(&pool->finished, 0, memory_order_relaxed);
    uint32_t section = section_of(pool) + 1;
    atomic_store(&pool->ticket, (uint64_t)section << 32 | (uint32_t)tasks);
    if (atomic_load(&pool->sleepers) > 0)
        wake_all(pool);
    work(pool, section, 0);
    for (int i = 0; atomic_load_explicit(&pool->finished, memory_order_acquire) != tasks; i++) {
        relax();
        if (i > SPINS) /* more threads than processors: let the other one run */
            usleep(0);
    }
}

static int processors(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    return 1;
}

enum pq_status pq_pool_open(struct pq_pool **out, int threads, struct pq_err *err) {
    if (threads < 0 || threads > MAX_THREADS)
        return pq_fail(err, PQ_EINVAL, "threads must be 0 to %d, not %d", MAX_THREADS, threads);
    if (threads == 0)
        threads = processors() < MAX_THREADS ? processors() : MAX_THREADS;
    size_t bytes = sizeof(struct pq_pool) + (size_t)(threads - 1) * sizeof(struct worker);
    struct pq_pool *pool = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!pool)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d threads", threads);
    memset(pool, 0, bytes);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = 1;
    for (int i = 1; i < threads; i++) {
        struct worker *w = &pool->workers[i - 1];
        *w = (struct worker){.pool = pool, .index = i};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
            pq_pool_close(pool);
            return pq_fail(err, PQ_ENOMEM, "cannot start thread %d of %d", i + 1, threads);
        }
        pool->threads = i + 1;
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
        pthread_join(pool->workers[i - 1].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

int pq_pool_threads(const struct pq_pool *pool) {
    return pool->threads;
}
