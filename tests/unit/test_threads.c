#include "base/threads.h"
#include "tap.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 5000 };
static atomic_int runs[MOST];
static atomic_int bad_thread;
static int threads_now;

static void count(void *arg, int task, int thread) {
    (void)arg;
    atomic_fetch_add(&runs[task], 1);
    if (thread < 0 || thread >= threads_now)
        atomic_store(&bad_thread, 1);
}

static struct pq_err err;

/* Every task of every section runs once, whatever the numbers; results are there on return. */
static void test_every_task_runs_once(void) {
    static const int threads[] = {1, 2, 3, 8}, tasks[] = {0, 1, 2, 7, 100, MOST};
    for (int t = 0; t < 4; t++) {
        struct pq_pool *pool;
        CHECK_OK(pq_pool_open(&pool, threads[t], &err));
        threads_now = threads[t];
        CHECK(pq_pool_threads(pool) == threads[t]);
        for (int k = 0; k < 6; k++) {
            memset((void *)runs, 0, sizeof runs);
            pq_pool_run(pool, tasks[k], count, NULL);
            for (int i = 0; i < MOST; i++)
                CHECK(atomic_load(&runs[i]) == (i < tasks[k]));
        }
        pq_pool_close(pool);
    }
    CHECK(!atomic_load(&bad_thread));
}

static atomic_int ran, own;

/* Holds its thread until every thread has a task. */
static void begin(void *arg, int task, int thread) {
    (void)arg;
    if (task == thread)
        atomic_fetch_add(&own, 1);
    atomic_fetch_add(&ran, 1);
    while (atomic_load(&ran) < threads_now)
        sched_yield();
}

/* As many tasks as threads, all at once: each thread has the one that it is dealt, be there more
 * threads than processors or not. */
static void test_a_thread_begins_with_its_own(void) {
    static const int threads[] = {2, 3, 16};
    for (int t = 0; t < 3; t++) {
        struct pq_pool *pool;
        CHECK_OK(pq_pool_open(&pool, threads[t], &err));
        threads_now = threads[t];
        atomic_store(&ran, 0);
        atomic_store(&own, 0);
        pq_pool_run(pool, threads_now, begin, NULL);
        CHECK(atomic_load(&own) == threads_now);
        pq_pool_close(pool);
    }
}

enum { SLOW = 40 };

/* Task 0 ends after all others. */
static void slow_first(void *arg, int task, int thread) {
    (void)arg, (void)thread;
    while (task == 0 && atomic_load(&ran) < SLOW - 1)
        sched_yield();
    atomic_fetch_add(&ran, 1);
}

/* A thread that is held up loses the rest of its run to the others: were it not so, this would
 * never end. */
static void test_others_help_a_slow_thread(void) {
    struct pq_pool *pool;
    CHECK_OK(pq_pool_open(&pool, 2, &err));
    atomic_store(&ran, 0);
    pq_pool_run(pool, SLOW, slow_first, NULL);
    CHECK(atomic_load(&ran) == SLOW);
    pq_pool_close(pool);
}

/* Many short sections in a row, some after a pause that puts the workers to sleep. */
static void test_sections_follow_each_other(void) {
    struct pq_pool *pool;
    CHECK_OK(pq_pool_open(&pool, 3, &err));
    threads_now = 3;
    memset((void *)runs, 0, sizeof runs);
    enum { SECTIONS = 20000 };
    for (int i = 0; i < SECTIONS; i++) {
        pq_pool_run(pool, 4, count, NULL);
        if (i % 4000 == 0)
            usleep(20000);
    }
    for (int i = 0; i < 4; i++)
        CHECK(atomic_load(&runs[i]) == SECTIONS);
    pq_pool_close(pool);
}

static void test_bad_numbers_are_refused(void) {
    struct pq_pool *pool = NULL;
    CHECK(pq_pool_open(&pool, -1, &err) == PQ_EINVAL && strstr(err.text, "-1") && !pool);
    CHECK(pq_pool_open(&pool, 100000, &err) == PQ_EINVAL && !pool);
    CHECK_OK(pq_pool_open(&pool, 0, &err));
    CHECK(pq_pool_threads(pool) >= 1);
    pq_pool_close(pool);
    pq_pool_close(NULL);
}

int main(void) {
    RUN(test_every_task_runs_once);
    RUN(test_a_thread_begins_with_its_own);
    RUN(test_others_help_a_slow_thread);
    RUN(test_sections_follow_each_other);
    RUN(test_bad_numbers_are_refused);
    return tap_done();
}
