/* threads.h - a pool of workers that runs one parallel section at a time.
 *
 * A section is a function called for every task 0 <= task < tasks, each exactly once.  Thread t of
 * T begins with the tasks from tasks * t / T to tasks * (t + 1) / T, in order, and then takes what
 * others have not begun: neighbours in memory stay with one core, and a slow core takes fewer.
 * What a task computes must not depend on the thread that runs it; `thread` only names scratch
 * memory. */
#ifndef PQ_BASE_THREADS_H
#define PQ_BASE_THREADS_H

#include "base/status.h"

/* thread: 0 <= thread < pq_pool_threads(pool), 0 is the caller. */
typedef void pq_task_fn(void *arg, int task, int thread);

/* Run fn(arg, task, thread) for all tasks and return when the last has ended.  Not reentrant: one
 * thread at a time may run sections on a pool.  A single task runs on the caller alone.
 * tasks < 2^24. */
void pq_pool_run(struct pq_pool *pool, int tasks, pq_task_fn *fn, void *arg);

#endif
