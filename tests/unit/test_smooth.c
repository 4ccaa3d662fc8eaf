#include "quant/smooth.h"
#include "quant/rtn.h"

#include "rounding.h"
#include "tap.h"

/* k is padded to whole blocks of activations. */
enum { K = 200, N = 70, ROWS = 600 };

static struct pq_pool *pool;
static struct pq_workspace ws;
static float *x, *w, *h, x_most[K], w_most[K];

static struct pq_smooth settings(enum pq_scheme scheme) {
    return (struct pq_smooth){.ws = &ws,
                              .k = K,
                              .scheme = scheme,
                              .group = 32,
                              .h = h,
                              .tokens = ROWS,
                              .x = x,
                              .m = ROWS,
                              .w = w,
                              .n = N};
}

static void test_scales(void) {
    static const float xs[4] = {4, 0, 9, 1e30f}, ws_[4] = {0.25f, 3, 0, 1e-30f};
    float s[4];
    pq_smooth_scales(s, xs, ws_, 0.5f, 4);
    CHECK(fabsf(s[0] - 4) < 1e-5f && s[1] == 1 && s[2] == 1 && s[3] == 1e5f);
    pq_smooth_scales(s, xs, ws_, 1, 4);
    CHECK(fabsf(s[0] - 4) < 1e-5f);
    pq_smooth_scales(s, xs, ws_, 0, 4);
    CHECK(fabsf(s[0] - 4) < 1e-5f);
    pq_smooth_scales(s, xs + 2, xs, 0.75f, 1); /* 9^.75 / 4^.25 */
    CHECK(fabsf(s[0] - 3.674235f) < 1e-5f);
}

static void test_most_and_tie(void) {
    static const float rows[2 * 3] = {1, -2, 0, -3, 1, 0};
    float most[3] = {0, 0, 0.5f}, heads[8] = {1, 2, 3, 4, 5, 6, 7, 0};
    static const float want[8] = {3, 4, 3, 4, 7, 6, 7, 6};
    pq_smooth_most(most, rows, 2, 3);
    CHECK(most[0] == 3 && most[1] == 2 && most[2] == 0.5f);
    pq_smooth_tie(heads, 4, 2, 2); /* heads {1 2}{3 4} and {5 6}{7 0} */
    CHECK(memcmp(heads, want, sizeof want) == 0);
}

/* ---- The loss -------------------------------------------------------------------------------- */

/* What the outputs of all rows lose, computed as a kernel would compute them, in FP64. */
static double outputs_lose(enum pq_scheme scheme, const float *s, bool round_inputs) {
    static float row[K], rounded[N][K];
    static int8_t q[K];
    static uint8_t m[K];
    double sum = 0;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < K; j++)
            row[j] = w[i * K + j] * s[j];
        float scale = scheme == PQ_SCHEME_W8A8 ? pq_rtn_w8(row, NULL, K, q)
                                               : pq_rtn_w4(row, NULL, K, 32, q, m);
        for (int j = 0; j < K; j++)
            rounded[i][j] = scale * (float)((scheme == PQ_SCHEME_W8A8 ? 1 : m[j / 32]) * q[j]);
    }
    for (int t = 0; t < ROWS; t++) {
        float most = 0;
        for (int j = 0; j < K; j++) {
            row[j] = x[t * K + j] / s[j];
            most = fmaxf(most, fabsf(row[j]));
        }
        for (int j = 0; j < K && round_inputs; j++)
            row[j] = nearbyintf(row[j] * 127 / most) * (most / 127);
        for (int i = 0; i < N; i++) {
            double y = 0;
            for (int j = 0; j < K; j++)
                y += (double)w[i * K + j] * x[t * K + j] - (double)rounded[i][j] * row[j];
            sum += y * y;
        }
    }
    return sum;
}

static const enum pq_scheme schemes[2] = {PQ_SCHEME_W8A8, PQ_SCHEME_W4A8};

static void test_loss(void) {
    struct pq_err err;
    float s[K];
    for (int i = 0; i < 2; i++)
        for (int step = 0; step <= 4; step++) {
            struct pq_smooth p = settings(schemes[i]);
            struct pq_smooth_loss loss;
            pq_smooth_scales(s, x_most, w_most, (float)step / 4, K);
            CHECK_OK(pq_smooth_measure(&p, s, &loss, &err));
            double weights = outputs_lose(schemes[i], s, false);
            double both = outputs_lose(schemes[i], s, true);
            printf("# w%da8 alpha %.2f: weights %.4g of %.4g, both %.4g of %.4g\n", i ? 4 : 8,
                   step / 4.0, loss.weights, weights, loss.weights + loss.activations, both);
            CHECK(fabs(loss.weights / weights - 1) < 1e-3);
            CHECK(fabs((loss.weights + loss.activations) / both - 1) < 0.05);
        }
}

/* Outliers in the inputs are found, and the scales that are chosen are better than none. */
static void test_search(void) {
    struct pq_err err;
    float s[K], ones[K], alpha;
    for (int j = 0; j < K; j++)
        ones[j] = 1;
    for (int i = 0; i < 2; i++) {
        struct pq_smooth p = settings(schemes[i]);
        struct pq_smooth_loss none, some, again;
        CHECK_OK(pq_smooth_measure(&p, ones, &none, &err));
        CHECK_OK(pq_smooth_search(&p, x_most, w_most, s, &alpha, &some, &err));
        CHECK_OK(pq_smooth_measure(&p, s, &again, &err));
        CHECK(memcmp(&some, &again, sizeof some) == 0);
        double before = outputs_lose(schemes[i], ones, true);
        double after = outputs_lose(schemes[i], s, true);
        printf("# w%da8: alpha %.2f, the outputs lose %.3f of what they did\n", i ? 4 : 8, alpha,
               after / before);
        CHECK(alpha >= 0 && after < 0.5 * before);
        CHECK(some.weights + some.activations < none.weights + none.activations);
    }
}

static struct pq_smooth_loss loss_here;

static bool same_loss(const struct pq_workspace *own) {
    float s[K];
    struct pq_smooth p = settings(PQ_SCHEME_W4A8);
    struct pq_smooth_loss loss;
    p.ws = own;
    pq_smooth_scales(s, x_most, w_most, 0.5f, K);
    return pq_smooth_measure(&p, s, &loss, NULL) == PQ_OK &&
           memcmp(&loss, &loss_here, sizeof loss) == 0;
}

static void test_bits(void) {
    struct pq_err err;
    float s[K];
    struct pq_smooth p = settings(PQ_SCHEME_W4A8);
    pq_smooth_scales(s, x_most, w_most, 0.5f, K);
    CHECK_OK(pq_smooth_measure(&p, s, &loss_here, &err));
    CHECK(on_every_machine(K, same_loss));
}

int main(void) {
    struct pq_err err;
    if (pq_pool_open(&pool, 2, &err) != PQ_OK ||
        pq_workspace_open(&ws, pool, pq_ops_get(PQ_ISA_COUNT - 1), K, &err) != PQ_OK)
        return 1;
    x = correlated_rows(ROWS, K, 1);
    w = student_weights(N, K);
    for (int t = 0; t < ROWS; t++) /* outliers, of which per-token rounding suffers */
        for (int j = 3; j < K; j += 50)
            x[t * K + j] *= 60;
    h = moments(&ws, x, ROWS, K);
    pq_smooth_most(x_most, x, ROWS, K);
    pq_smooth_most(w_most, w, N, K);
    RUN(test_scales);
    RUN(test_most_and_tie);
    RUN(test_loss);
    RUN(test_search);
    RUN(test_bits);
    free(x);
    free(w);
    free(h);
    pq_workspace_close(&ws);
    pq_pool_close(pool);
    return tap_done();
}
