/* The choice of linears to promote. */
#include "quant/promote.h"
#include "tap.h"

#include <math.h>

static bool close_to(double a, double b) {
    return fabs(a - b) < 1e-12;
}

static void test_order(void) {
    /* Loss for each weight: 1, 4, 2, 4. */
    struct pq_candidate c[] = {{100, 100, 0}, {200, 50, 0}, {200, 100, 0}, {400, 100, 0}};
    CHECK(close_to(pq_promote(c, 4, 4, 8, 4), 4));
    CHECK(!c[0].promoted && !c[1].promoted && !c[2].promoted && !c[3].promoted);
    CHECK(close_to(pq_promote(c, 4, 4, 8, 4 + 4.0 * 150 / 350), 4 + 4.0 * 150 / 350));
    CHECK(c[1].promoted && c[3].promoted && !c[0].promoted && !c[2].promoted);
    CHECK(close_to(pq_promote(c, 4, 4, 8, 8), 8));
    CHECK(c[0].promoted && c[1].promoted && c[2].promoted && c[3].promoted);
}

/* One that is too large does not stop smaller ones. */
static void test_passes_over(void) {
    struct pq_candidate c[] = {{900, 300, 0}, {10, 10, 0}, {20, 40, 0}};
    double mean = pq_promote(c, 3, 4, 8, 4.5);
    CHECK(!c[0].promoted && c[1].promoted && !c[2].promoted && mean <= 4.5);
    CHECK(close_to(mean, 4 + 4.0 * 10 / 350));
}

static void test_nothing_to_gain(void) {
    struct pq_candidate c[] = {{0, 10, 0}, {-1e-9, 10, 0}};
    CHECK(close_to(pq_promote(c, 2, 4, 8, 8), 4) && !c[0].promoted && !c[1].promoted);
    CHECK(pq_promote(c, 0, 4, 8, 8) == 0);
}

int main(void) {
    RUN(test_order);
    RUN(test_passes_over);
    RUN(test_nothing_to_gain);
    return tap_done();
}
