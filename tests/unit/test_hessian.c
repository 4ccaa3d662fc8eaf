#include "quant/hessian.h"

#include "rounding.h"
#include "tap.h"

/* k is no multiple of anything; rows take more than one pass. */
enum { K = 331, ROWS = 1300 };

static struct pq_pool *pool;
static struct pq_workspace ws;
static float *x, *h;

static bool same(const float *a, const float *b, int rows, int k, bool upper) {
    for (int i = 0; i < rows; i++)
        for (int j = upper ? i : 0; j < k; j++)
            if (memcmp(&a[i * k + j], &b[i * k + j], sizeof *a))
                return false;
    return true;
}

/* The largest |a - b| in units of the geometric mean of the diagonal entries. */
static double difference(const float *a, const double *b, int k, bool upper) {
    double most = 0;
    for (int i = 0; i < k; i++)
        for (int j = upper ? i : 0; j < k; j++) {
            double scale = sqrt(b[i * k + i] * b[j * k + j]);
            most = fmax(most, fabs(a[i * k + j] - b[i * k + j]) / scale);
        }
    return most;
}

/* sum_t a[t][i] b[t][j] in FP64 */
static double *exact_sum(const float *a, const float *b, int rows, int k) {
    double *c = calloc((size_t)k * (size_t)k, sizeof *c);
    for (int t = 0; t < rows; t++)
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++)
                c[i * k + j] += (double)a[t * k + i] * b[t * k + j];
    return c;
}

static void test_sums(void) {
    double *want = exact_sum(x, x, ROWS, K);
    double off = difference(h, want, K, false);
    printf("# H is off by %.1e of its diagonal\n", off);
    CHECK(off < 5e-6 && off > 0);
    h[5 * K + 7] += 2e-5f * sqrtf(h[5 * K + 5] * h[7 * K + 7]); /* this would be seen */
    CHECK(difference(h, want, K, false) > 1e-5);
    free(want);
    free(h);
    h = moments(&ws, x, ROWS, K);
}

static void test_cross(void) {
    float *d = correlated_rows(ROWS, K, 7), *c = calloc((size_t)K * K, sizeof *c);
    double *want = exact_sum(d, x, ROWS, K), most = 0;
    pq_hessian_add_cross(&ws, c, K, d, x, ROWS);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            most = fmax(most,
                        fabs(c[i * K + j] - want[i * K + j]) / sqrt(h[i * K + i] * h[j * K + j]));
    CHECK(most < 5e-6);
    CHECK(fabs(want[K] - want[1]) > 1e-3); /* it is not symmetric: the order of d and x shows */
    free(d);
    free(c);
    free(want);
}

/* Chunks of whole passes give the same bits, others and another order of rows the same numbers. */
static void test_chunks(void) {
    float *whole = calloc((size_t)K * K, sizeof *whole), *other = calloc((size_t)K * K, 4);
    pq_hessian_add(&ws, whole, K, x, ROWS);
    for (int from = 0; from < ROWS; from += PQ_DEPTH)
        pq_hessian_add(&ws, other, K, x + (size_t)from * K,
                       ROWS - from < PQ_DEPTH ? ROWS - from : PQ_DEPTH);
    CHECK(same(whole, other, K, K, true));
    memset(other, 0, (size_t)K * K * sizeof *other);
    for (int t = ROWS - 1; t >= 0; t--)
        pq_hessian_add(&ws, other, K, x + (size_t)t * K, 1);
    CHECK(!same(whole, other, K, K, true));
    for (int i = 0; i < K; i++)
        for (int j = i; j < K; j++)
            CHECK(fabs(whole[i * K + j] - other[i * K + j]) <
                  5e-6 * sqrt(whole[i * K + i] * whole[j * K + j]));
    free(whole);
    free(other);
}

static void test_codes(void) {
    static const int8_t q[4] = {-127, 0, 3, 127};
    float out[4];
    pq_hessian_codes(out, q, 0.5f, 4, 4);
    CHECK(out[0] == -127 && out[1] == 0 && out[2] == 3 && out[3] == 127);
    pq_hessian_codes(out, q, 0.5f, 0, 4);
    CHECK(out[0] == 0 && out[3] == 0);
}

/* Each mode counts by its lambda alone, however many tokens or however large they are. */
static void test_blend(void) {
    float *small = calloc((size_t)K * K, sizeof *small), *sum = calloc((size_t)K * K, 4);
    for (int i = 0; i < K * K; i++)
        small[i] = h[i] / 1024;
    pq_hessian_blend(&ws, sum, h, (float)(0.25 / pq_hessian_mean(h, K)), K);
    pq_hessian_blend(&ws, sum, small, (float)(0.75 / pq_hessian_mean(small, K)), K);
    CHECK(fabs(pq_hessian_mean(sum, K) - 1) < 1e-5);
    double scale = pq_hessian_mean(h, K);
    for (int i = 0; i < K * K; i++)
        CHECK(fabs(sum[i] * scale - h[i]) <= 1e-5 * scale + 1e-5 * fabs(h[i]));
    free(small);
    free(sum);
}

/* ---- The factor ------------------------------------------------------------------------------ */

/* U^T D U against the permuted, damped H. */
static double residual(const struct pq_factor *f) {
    double added = f->damping * pq_hessian_mean(h, K), most = 0;
    for (int i = 0; i < K; i++)
        for (int j = i; j < K; j++) {
            double sum = 0;
            for (int t = 0; t <= i; t++)
                sum += (double)f->u[t * K + i] * f->d[t] * f->u[t * K + j];
            int a = f->order[i], b = f->order[j];
            double want = h[a * K + b] + (a == b ? added : 0);
            most = fmax(most, fabs(sum - want) / sqrt(h[a * K + a] * h[b * K + b]));
        }
    return most;
}

static void test_factor(void) {
    struct pq_err err;
    struct pq_factor f;
    bool seen[K] = {false};
    CHECK_OK(pq_factor_open(&f, &ws, h, K, 0.01f, true, &err));
    double off = residual(&f);
    printf("# U^T D U is off by %.1e\n", off);
    CHECK(off < 1e-5 && f.damping == 0.01f);
    for (int i = 0; i < K; i++) {
        CHECK(f.d[i] > 0 && f.u[i * K + i] == 1 && !seen[f.order[i]]);
        seen[f.order[i]] = true;
        if (i)
            CHECK(h[f.order[i] * (K + 1)] >= h[f.order[i - 1] * (K + 1)]);
    }
    f.u[3 * K + 200] += 0.01f; /* one wrong entry shows */
    CHECK(residual(&f) > 1e-4);
    pq_factor_close(&f);
    CHECK_OK(pq_factor_open(&f, &ws, h, K, 0.01f, false, &err));
    CHECK(residual(&f) < 1e-5);
    for (int i = 0; i < K; i++)
        CHECK(f.order[i] == K - 1 - i);
    pq_factor_close(&f);
}

/* A matrix that is not positive definite gets as much damping as it needs, or is refused. */
static void test_damping(void) {
    struct pq_err err;
    struct pq_factor f = {.k = -1};
    float *bad = calloc((size_t)K * K, sizeof *bad);
    for (int i = 0; i < K; i++)
        bad[i * (K + 1)] = 1;
    bad[9 * (K + 1)] = -0.1f;
    CHECK_OK(pq_factor_open(&f, &ws, bad, K, 0.01f, true, &err));
    CHECK(f.damping > 0.1f && f.damping < 0.2f);
    pq_factor_close(&f);
    bad[9 * (K + 1)] = -3;
    f.k = -1;
    CHECK(pq_factor_open(&f, &ws, bad, K, 0.01f, true, &err) == PQ_EFORMAT && f.k == -1);
    bad[9 * (K + 1)] = NAN;
    CHECK(pq_factor_open(&f, &ws, bad, K, 0.01f, true, &err) == PQ_EFORMAT && f.k == -1);
    memset(bad, 0, (size_t)K * K * sizeof *bad);
    CHECK(pq_factor_open(&f, &ws, bad, K, 0.01f, true, &err) == PQ_EFORMAT && f.k == -1);
    bad[9 * (K + 1)] = 1; /* all other columns dead */
    CHECK_OK(pq_factor_open(&f, &ws, bad, K, 0.01f, true, &err));
    CHECK(f.order[K - 1] == 9);
    pq_factor_close(&f);
    free(bad);
}

static bool same_factor(const struct pq_workspace *own) {
    struct pq_factor want, got;
    float *sum = moments(own, x, ROWS, K);
    if (pq_factor_open(&want, &ws, h, K, 0.01f, true, NULL) != PQ_OK ||
        pq_factor_open(&got, own, sum, K, 0.01f, true, NULL) != PQ_OK)
        return false;
    bool good = same(sum, h, K, K, false) && same(got.u, want.u, K, K, true) &&
                same(got.d, want.d, 1, K, false);
    pq_factor_close(&want);
    pq_factor_close(&got);
    free(sum);
    return good;
}

static void test_bits(void) {
    CHECK(on_every_machine(K, same_factor));
}

int main(void) {
    struct pq_err err;
    if (pq_pool_open(&pool, 2, &err) != PQ_OK ||
        pq_workspace_open(&ws, pool, pq_ops_get(PQ_ISA_COUNT - 1), K, &err) != PQ_OK)
        return 1;
    x = correlated_rows(ROWS, K, 1);
    h = moments(&ws, x, ROWS, K);
    RUN(test_sums);
    RUN(test_cross);
    RUN(test_chunks);
    RUN(test_codes);
    RUN(test_blend);
    RUN(test_factor);
    RUN(test_damping);
    RUN(test_bits);
    free(x);
    free(h);
    pq_workspace_close(&ws);
    pq_pool_close(pool);
    return tap_done();
}
