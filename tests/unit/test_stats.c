/* Counted successes against published and hand-made values; and loops in made texts. */
#include "loops.h"
#include "stats.h"
#include "tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int near(double a, double b) {
    return fabs(a - b) < 1e-4;
}

static int interval(double p, int n, double low, double high) {
    double got[2];
    pq_wilson(p, n, &got[0], &got[1]);
    return near(got[0], low) && near(got[1], high);
}

/* R: binom::binom.confint(method = "wilson"). */
static void test_wilson(void) {
    CHECK(interval(0.5, 10, 0.2366, 0.7634));
    CHECK(interval(0, 10, 0, 0.2775));
    CHECK(interval(1, 6, 0.6097, 1));
    CHECK(interval(85.0 / 164, 164, 0.4423, 0.5935));
    CHECK(interval(0.3, 0, 0, 1));
}

/* R: binom.test(lost, lost + gained). */
static void test_mcnemar(void) {
    CHECK(near(pq_mcnemar(0, 0), 1));
    CHECK(near(pq_mcnemar(3, 3), 1));
    CHECK(near(pq_mcnemar(8, 0), 2.0 / 256));
    CHECK(near(pq_mcnemar(1, 5), 0.21875));
    CHECK(near(pq_mcnemar(24, 16), 0.2682));
    CHECK(near(pq_mcnemar(16, 24), pq_mcnemar(24, 16)));
    CHECK(pq_mcnemar(600, 300) > 0 && pq_mcnemar(600, 300) < 1e-20);
}

static double choose(int n, int k) {
    double c = 1;
    for (int i = 1; i <= k; i++)
        c = c * (n - k + i) / i;
    return n < k ? 0 : c;
}

static void test_pass_at_k(void) {
    CHECK(near(pq_pass_at_k(10, 3, 5), 1 - 21.0 / 252));
    CHECK(pq_pass_at_k(10, 0, 5) == 0 && pq_pass_at_k(10, 10, 1) == 1);
    CHECK(pq_pass_at_k(5, 1, 5) == 1);
    int good = 1;
    for (int n = 1; n <= 20; n++)
        for (int c = 0; c <= n; c++)
            for (int k = 1; k <= n; k++)
                good &= near(pq_pass_at_k(n, c, k), 1 - choose(n - c, k) / choose(n, k));
    CHECK(good);
}

/* `before`, `times` repetitions of `unit`, `after`. */
static int loops(const char *before, const char *unit, int times, const char *after) {
    size_t length = strlen(before) + strlen(unit) * (size_t)times + strlen(after) + 1;
    char *text = malloc(length);
    strcpy(text, before);
    for (int i = 0; i < times; i++)
        strcat(text, unit);
    strcat(text, after);
    int found = pq_text_loops(text);
    free(text);
    return found;
}

static void test_loops(void) {
    CHECK(loops("Let me think. ", "Wait, I should check again. ", 12, ""));
    CHECK(loops("", "no ", 64, ""));
    CHECK(loops("Well. ", "让我再想一想。", 12, ""));
    CHECK(loops("First this. ", "a b c d e f g h i j k l m n o p q r s t\n", 4, "Then that."));
    CHECK(loops("```python\n", "    if x == 1:\n        return 1\n", 10, ""));
}

static void test_no_loops(void) {
    CHECK(!pq_text_loops("") && !pq_text_loops("one"));
    CHECK(!loops("", "no ", 63, ""));
    CHECK(!loops("", "Wait, I should check again. ", 3, ""));
    CHECK(!loops("", "a b c d e f g h i j k l m n o p q r s t\n", 3, ""));
    CHECK(!loops("", "-", 1000, ""));    /* a ruler */
    CHECK(!loops("", " ", 1000, ""));    /* white space */
    CHECK(!loops("[", "0, ", 31, "0]")); /* a short table */
    char text[8192] = "";
    for (int i = 0; i < 100; i++)
        sprintf(text + strlen(text), "Step %d: take x and add %d to it.\n", i, i * i);
    CHECK(!pq_text_loops(text)); /* counted steps */
}

int main(void) {
    RUN(test_wilson);
    RUN(test_mcnemar);
    RUN(test_pass_at_k);
    RUN(test_loops);
    RUN(test_no_loops);
    return tap_done();
}
