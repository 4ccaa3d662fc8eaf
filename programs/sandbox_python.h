/* sandbox_python.h - the two Python programs that run inside the sandboxes, as text.
 *
 * pq_sandbox_program holds the program and answers calls: all of it is in the program's hands, and
 * nothing that it sends is more than a claim about results.  pq_sandbox_test runs the test and
 * writes the verdict.
 *
 * Both: standard input is one JSON object, the job; 3 is read from the other sandbox and 4 is
 * written to it, a line of JSON a message; 5, the test's alone, is where the verdict goes. */
#ifndef PQ_PROGRAMS_SANDBOX_PYTHON_H
#define PQ_PROGRAMS_SANDBOX_PYTHON_H

extern const char pq_sandbox_program[], pq_sandbox_test[];

#endif
