/* KL between next-token distributions: identities, an example by hand, and what is refused. */
#include "panq.h"
#include "tap.h"

#include <math.h>
#include <string.h>

static struct pq_pool *pool;
static struct pq_err err;

static void test_equal_is_zero(void) {
    enum { ROWS = 3, VOCAB = 1000 };
    static float p[ROWS * VOCAB], shifted[ROWS * VOCAB];
    struct pq_divergence d[ROWS];
    for (int i = 0; i < ROWS * VOCAB; i++) {
        p[i] = (float)(i * 7919 % 1009) / 40 - 12;
        shifted[i] = p[i] + 3; /* the same distribution */
    }
    CHECK_OK(pq_diverge(d, p, p, ROWS, VOCAB, NULL, pool, &err));
    for (int r = 0; r < ROWS; r++)
        CHECK(d[r].kl == 0 && d[r].p_top == d[r].q_top && d[r].p_best == d[r].q_best);
    CHECK_OK(pq_diverge(d, p, shifted, ROWS, VOCAB, NULL, pool, &err));
    for (int r = 0; r < ROWS; r++)
        CHECK(d[r].kl >= 0 && d[r].kl < 1e-6);
}

/* p = (1/2, 1/4, 1/4), q = (1/8, 1/8, 3/4):
 * KL = 1/2 ln 4 + 1/4 ln 2 + 1/4 ln 1/3. */
static void test_by_hand(void) {
    const float p[] = {logf(2), 0, 0}, q[] = {50, 50, 50 + logf(6)};
    const int32_t target = 2;
    struct pq_divergence d;
    CHECK_OK(pq_diverge(&d, p, q, 1, 3, &target, pool, &err));
    CHECK(fabs(d.kl - (0.5 * log(4) + 0.25 * log(2) - 0.25 * log(3))) < 1e-6);
    CHECK(d.p_top == 0 && d.q_top == 2);
    CHECK(fabs(d.p_best - 0.5) < 1e-6 && fabs(d.q_best - 0.125) < 1e-6);
    CHECK(fabs(d.p_loss - log(4)) < 1e-6 && fabs(d.q_loss + log(0.75)) < 1e-6);
    /* It is no distance: the other way round it is another number. */
    CHECK_OK(pq_diverge(&d, q, p, 1, 3, NULL, pool, &err));
    CHECK(fabs(d.kl - (0.125 * log(0.25) + 0.125 * log(0.5) + 0.75 * log(3))) < 1e-6);
    CHECK(d.p_loss == 0 && d.q_loss == 0);
}

static void test_extremes(void) {
    const float p[] = {3e38f, 0, -3e38f}, q[] = {0, 1, 0}, even[] = {4, 4, 4};
    struct pq_divergence d;
    CHECK_OK(pq_diverge(&d, p, q, 1, 3, NULL, pool, &err));
    CHECK(fabs(d.kl - log(2 + exp(1))) < 1e-6 && d.p_best == 1);
    CHECK_OK(pq_diverge(&d, even, q, 1, 3, NULL, pool, &err));
    CHECK(d.p_top == 0 && d.q_top == 1 && d.kl > 0);
}

static void test_not_finite(void) {
    float p[4] = {0}, q[4] = {0, 0, 0, NAN};
    struct pq_divergence d[2];
    CHECK(pq_diverge(d, p, q, 2, 2, NULL, pool, &err) == PQ_EINVAL);
    CHECK(strcmp(err.text, "the second logits of row 1 are not finite") == 0);
    p[0] = INFINITY;
    CHECK(pq_diverge(d, p, p, 2, 2, NULL, pool, &err) == PQ_EINVAL);
    CHECK(strcmp(err.text, "the first logits of row 0 are not finite") == 0);
}

int main(void) {
    if (pq_pool_open(&pool, 2, &err) != PQ_OK)
        return 1;
    RUN(test_equal_is_zero);
    RUN(test_by_hand);
    RUN(test_extremes);
    RUN(test_not_finite);
    pq_pool_close(pool);
    return tap_done();
}
