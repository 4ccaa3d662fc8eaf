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
 * to.  Limits: processor time and time on the wall, address space, file size, open files, and no
 * child processes or threads at all.  Root gives up its rights first.  What remains is the kernel's
 * own surface: system calls are not filtered. */
#ifndef PQ_PROGRAMS_SANDBOX_H
#define PQ_PROGRAMS_SANDBOX_H

#include "panq.h"

struct pq_trial {
    const char *program;     /* what is judged; borrowed, as the others are */
    const char *entry_point; /* the function that the test is about */
    const char *reference; /* trusted: defines what the test may use besides, as the prompt does */
    const char *test;      /* trusted: a script that raises on a failure */
    bool over;             /* there is a verdict */
    bool passed;           /* the verdict */
    char reason[160];      /* why it failed, one line; "" when passed */
};

struct pq_sandbox;

/* Find out how programs can be confined here, by judging a trivial one.  seconds: of processor time
 * that each of the two may use; the clock on the wall gives them three times as much.  Without
 * bubblewrap, python3 or the right to make namespaces this fails with the reason and what to do.
 * unsafe: run programs without a sandbox, with the limits only: they can then do whatever the user
 * can, and forge their verdicts. */
enum pq_status pq_sandbox_open(struct pq_sandbox **out, double seconds, bool unsafe,
                               struct pq_err *err);
void pq_sandbox_close(struct pq_sandbox *sandbox);

/* Trials under way, at most `parallel` (1..64).  A status other than PQ_OK tells of a fault of the
 * machine, not of a program. */
struct pq_court;
enum pq_status pq_court_open(struct pq_court **out, const struct pq_sandbox *sandbox, int parallel,
                             struct pq_err *err);
void pq_court_close(struct pq_court *court); /* ends what still runs */
/* How many trials run; fewer than `parallel` leave room for another. */
int pq_court_busy(const struct pq_court *court);
int pq_court_room(const struct pq_court *court);
/* Begin the trial, which must stay where it is until it is over.  There must be room. */
enum pq_status pq_court_begin(struct pq_court *court, struct pq_trial *trial, struct pq_err *err);
/* Wait until a trial is over, but no longer than `wait` seconds. */
enum pq_status pq_court_attend(struct pq_court *court, double wait, struct pq_err *err);

#endif
