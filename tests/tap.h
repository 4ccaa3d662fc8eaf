/* tap.h - tests that speak TAP, one line a test function.
 *
 *     static void test_adds(void) { CHECK(1 + 1 == 2); }
 *     int main(void) { RUN(test_adds); return tap_done(); }
 *
 * CHECK ends the test function that it fails in. */
#ifndef PQ_TESTS_TAP_H
#define PQ_TESTS_TAP_H

#include <stdio.h>
#include <stdlib.h>

/* Whether address sanitizer looks at every access.  Plain C takes sixty times as long then, and
 * whole models ten times: tests of figures, not of memory, are for other builds. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static int tap_tests, tap_failures;
static int tap_failed_now;

/* Prints where and what, and makes the running test a failure. */
#define FAIL(...)                                                                                  \
    do {                                                                                           \
        printf("# %s:%d: ", __FILE__, __LINE__);                                                   \
        printf(__VA_ARGS__);                                                                       \
        putchar('\n');                                                                             \
        tap_failed_now = 1;                                                                        \
        return;                                                                                    \
    } while (0)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            FAIL("%s", #condition);                                                                \
    } while (0)

/* For a call that must return PQ_OK; needs a struct pq_err err in scope. */
#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        err.text[0] = 0;                                                                           \
        if ((call) != PQ_OK)                                                                       \
            FAIL("%s: %s", #call, err.text);                                                       \
    } while (0)

static inline void tap_report(const char *name) {
    tap_tests++;
    tap_failures += tap_failed_now;
    printf("%sok %d - %s\n", tap_failed_now ? "not " : "", tap_tests, name);
    fflush(stdout);
    tap_failed_now = 0;
}

#define RUN(test)                                                                                  \
    do {                                                                                           \
        test();                                                                                    \
        tap_report(#test);                                                                         \
    } while (0)

static inline int tap_done(void) {
    printf("1..%d\n", tap_tests);
    return tap_failures != 0;
}

#endif
