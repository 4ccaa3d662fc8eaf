/* sandbox.h - judging programs that nobody has read.
 *
 * A trial runs in two bubblewrap sandboxes that share nothing but two pipes: the program in one,
 * the test in the other.  The test calls the program's function through the pipes; arguments and
 * results cross as plain data (numbers, strings, lists, dicts, ...).  Only the test's sandbox can
 * write a verdict.  So a program cannot pass by ending early, by printing, by killing what it can
 * reach, by looking for secrets in its own memory or by returning objects that claim to be equal
 * to everything: there is nothing in its process to forge.
 *
 * Each sandbox has its own user (where the system allows it), mount, PID, network, IPC and UTS
 * namespaces, a read-only /usr, no /proc, an empty environment, and at most a small tmpfs to write
 * to.  Limits: wall and processor time, address space, file size, open files, and no child
 * processes or threads at all.  Root gives up its rights first.  What remains is the kernel's own
 * surface: system calls are not filtered. */
#ifndef PQ_PROGRAMS_SANDBOX_H
#define PQ_PROGRAMS_SANDBOX_H

#include "panq.h"

struct pq_trial {
    const char *program;     /* what is judged; borrowed, as the others are */
    const char *entry_point; /* the function that the test is about */
    const char *reference; /* trusted: defines what the test may use besides, as the prompt does */
    const char *test;      /* trusted: defines check(candidate), which raises on a failure */
    bool passed;           /* the verdict */
    char reason[160];      /* why it failed, one line; "" when passed */
};

struct pq_sandbox;

/* Find out how programs can be confined here, by judging a trivial one.  wall_seconds: the limit of
 * one trial.  Without bubblewrap, python3 or the right to make namespaces this fails with the
 * reason and what to do; there is no weaker way to run a program. */
enum pq_status pq_sandbox_open(struct pq_sandbox **out, double wall_seconds, struct pq_err *err);
void pq_sandbox_close(struct pq_sandbox *sandbox);

/* Judge trials [n], up to `parallel` (1..64) at a time.  A status other than PQ_OK tells of a fault
 * of the machine, not of a program.  progress may be NULL; it counts trials. */
enum pq_status pq_sandbox_judge(const struct pq_sandbox *sandbox, struct pq_trial *trials, int n,
                                int parallel, pq_progress_fn *progress, void *user,
                                struct pq_err *err);

#endif
