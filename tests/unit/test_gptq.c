#include "quant/gptq.h"
#include "quant/rtn.h"

#include "rounding.h"
#include "tap.h"

enum { K = 384, N = 96, ROWS = 3072, MULTIPLIERS = K / 32 };

static struct pq_pool *pool;
static struct pq_workspace ws;
static float *w, *h;

enum form { W8, W4_32, W4_256, W4_CHANNEL, FORMS };
static const char *const names[FORMS] = {"w8", "w4 group 32", "w4 group 256", "w4 channel"};

static struct pq_gptq settings(enum form form) {
    static const int groups[FORMS] = {0, 32, 256, PQ_GROUP_CHANNEL};
    return (struct pq_gptq){.ws = &ws,
                            .h = h,
                            .k = K,
                            .scheme = form == W8 ? PQ_SCHEME_W8A8 : PQ_SCHEME_W4A8,
                            .group = groups[form]};
}

struct result {
    int8_t q[N * K];
    uint8_t m[N * MULTIPLIERS];
    float scales[N];
    double errors[N], powers[N];
};
static struct result first, second;
static struct pq_factor factor;

static void start(struct result *r, enum form form, struct pq_rounded_rows *out) {
    memset(r, 0x55, sizeof *r);
    *out = (struct pq_rounded_rows){r->q, form == W4_32 || form == W4_256 ? r->m : NULL, r->scales,
                                    r->errors, r->powers};
}

static enum pq_status round_rows(const struct pq_gptq *g, enum form form, struct result *r,
                                 struct pq_err *err) {
    struct pq_rounded_rows out;
    start(r, form, &out);
    return pq_gptq_rows(g, w, N, &out, err);
}

/* The weight that a result stands for. */
static double weight(const struct result *r, enum form form, int row, int j) {
    int group = form == W4_32 ? 32 : form == W4_256 ? 256 : K, groups = (K - 1) / group + 1;
    int m = form == W4_32 || form == W4_256 ? r->m[row * groups + j / group] : 1;
    return (double)r->scales[row] * m * r->q[row * K + j];
}

/* e^T H e in FP64. */
static double loss(const struct result *r, enum form form, int row) {
    static double e[K];
    double sum = 0;
    for (int j = 0; j < K; j++)
        e[j] = w[row * K + j] - weight(r, form, row, j);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            sum += e[i] * h[i * K + j] * e[j];
    return sum;
}

/* What rounding to nearest alone loses. */
static double loss_nearest(enum form form, int row) {
    static struct result r;
    struct pq_gptq g = settings(form);
    const float *v = w + (size_t)row * K;
    int groups = g.group ? (K - 1) / g.group + 1 : 1;
    r.scales[row] = form == W8 ? pq_rtn_w8(v, NULL, K, r.q + row * K)
                               : pq_rtn_w4(v, NULL, K, g.group, r.q + row * K, r.m + row * groups);
    return loss(&r, form, row);
}

static double total(const double *x) {
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += x[i];
    return sum;
}

static struct pq_gptq all_steps(enum form form) {
    struct pq_gptq g = settings(form);
    g.factor = &factor;
    g.sweeps = 2;
    g.refit = true;
    return g;
}

/* ---- Errors ---------------------------------------------------------------------------------- */

/* Rows under these settings lose what they say, and no more than `most`, which becomes that. */
static void check_step(const struct pq_gptq *g, enum form form, double most[N]) {
    struct pq_err err;
    CHECK_OK(round_rows(g, form, &first, &err));
    for (int i = 0; i < N; i++) {
        double want = loss(&first, form, i);
        CHECK(fabs(first.errors[i] - want) < 1e-3 * want);
        CHECK(first.errors[i] <= most[i] * (1 + 1e-5));
        most[i] = first.errors[i];
    }
}

static void print_error(void) {
    printf(" %.5f", total(first.errors) / total(first.powers));
}

/* No row is worse than rounding to nearest, and no step and no sweep makes it worse. */
static void test_errors(void) {
    printf(
        "# error / power: plain RTN, weighted RTN, GPTQ, descent 1 2 4, with refit 1 2 4 sweeps\n");
    for (enum form form = 0; form < FORMS; form++) {
        struct pq_gptq g = settings(form);
        double most[N], gptq[N], nearest;
        for (int i = 0; i < N; i++)
            most[i] = loss_nearest(form, i);
        nearest = total(most);
        check_step(&g, form, most);
        printf("# %s: %.5f", names[form], nearest / total(first.powers));
        print_error();
        g.factor = &factor;
        check_step(&g, form, most);
        print_error();
        memcpy(gptq, most, sizeof gptq);
        CHECK(total(most) < 0.5 * nearest);
        for (int refit = 0; refit < 2; refit++) {
            g.refit = refit;
            memcpy(most, gptq, sizeof most);
            for (g.sweeps = 1; g.sweeps <= 4; g.sweeps *= 2) {
                check_step(&g, form, most);
                print_error();
            }
            CHECK(total(most) < total(gptq));
        }
        putchar('\n');
    }
}

/* The factor of another matrix must do worse than the right one: the feedback is not noise. */
static void test_wrong_factor(void) {
    struct pq_err err;
    struct pq_gptq g = settings(W4_32);
    struct pq_factor wrong = factor;
    float *u = malloc((size_t)K * K * sizeof *u);
    CHECK_OK((g.factor = &factor, round_rows(&g, W4_32, &first, &err)));
    for (int i = 0; i < K * K; i++)
        u[i] = -factor.u[i];
    wrong.u = u;
    CHECK_OK((g.factor = &wrong, round_rows(&g, W4_32, &second, &err)));
    CHECK(total(second.errors) > 1.3 * total(first.errors));
    free(u);
}

/* On inputs that the second moments did not see, it still gains. */
static void test_held_out(void) {
    struct pq_err err;
    float *x = correlated_rows(ROWS, K, 1000), *other = moments(&ws, x, ROWS, K), *seen = h;
    for (enum form form = 0; form < FORMS; form++) {
        struct pq_gptq g = settings(form);
        double sum[3] = {0};
        for (int step = 0; step < 2; step++) {
            CHECK_OK(round_rows(&g, form, &first, &err));
            h = other;
            for (int i = 0; i < N; i++) {
                sum[step] += loss(&first, form, i);
                sum[2] += step ? loss_nearest(form, i) : 0;
            }
            h = seen;
            g.factor = &factor;
            g.sweeps = 4;
            g.refit = true;
        }
        printf("# held out, %s: of RTN's error weighted RTN %.3f, all steps %.3f\n", names[form],
               sum[0] / sum[2], sum[1] / sum[2]);
        CHECK(sum[1] < 0.6 * sum[2]);
    }
    free(other);
    free(x);
}

/* ---- Against the textbook -------------------------------------------------------------------- */

/* Codes are the nearest to their weights at the scales they come with. */
static bool nearest_codes(const struct result *r, enum form form) {
    int lo = form == W8 ? -127 : -8, hi = form == W8 ? 127 : 7;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < K; j++) {
            int8_t q = r->q[i * K + j];
            double step = q ? weight(r, form, i, j) / q : 0, want = w[i * K + j];
            if (q && fabs(want - step * q) > step * 0.50001 && (q != hi || want < 0) &&
                (q != lo || want > 0))
                return false;
        }
    return true;
}

/* Without correlations there is nothing to feed back or to descend to. */
static void test_diagonal(void) {
    struct pq_err err;
    struct pq_factor f;
    float *diagonal = calloc((size_t)K * K, sizeof *diagonal), *full = h;
    for (int j = 0; j < K; j++)
        diagonal[j * (K + 1)] = h[j * (K + 1)];
    CHECK_OK(pq_factor_open(&f, &ws, diagonal, K, 0.01f, true, &err));
    for (enum form form = 0; form < FORMS; form++) {
        struct pq_gptq g = settings(form);
        g.h = diagonal;
        CHECK_OK(round_rows(&g, form, &first, &err));
        g.factor = &f;
        g.sweeps = 2;
        CHECK_OK(round_rows(&g, form, &second, &err));
        CHECK(memcmp(first.q, second.q, sizeof first.q) == 0 && nearest_codes(&second, form));
        g.h = full;
        g.factor = &factor;
        CHECK_OK(round_rows(&g, form, &second, &err));
        CHECK(!nearest_codes(&second, form)); /* with correlations there is */
    }
    pq_factor_close(&f);
    free(diagonal);
}

/* The upper Cholesky factor of the inverse of a [K][K], both in FP64. */
static void inverse_factor(double *a, double *c) {
    for (int p = 0; p < K; p++) { /* Gauss and Jordan, in place */
        double pivot = 1 / a[p * K + p];
        a[p * K + p] = 1;
        for (int j = 0; j < K; j++)
            a[p * K + j] *= pivot;
        for (int i = 0; i < K; i++) {
            double factor_ = a[i * K + p];
            if (i == p)
                continue;
            a[i * K + p] = 0;
            for (int j = 0; j < K; j++)
                a[i * K + j] -= factor_ * a[p * K + j];
        }
    }
    for (int i = 0; i < K; i++) {
        for (int j = i; j < K; j++) {
            double sum = a[i * K + j];
            for (int t = 0; t < i; t++)
                sum -= c[t * K + i] * c[t * K + j];
            c[i * K + j] = j == i ? sqrt(sum) : sum / c[i * K + i];
        }
    }
}

/* Algorithm 1 of the GPTQ paper for one row, one column at a time, at the scales of `r`, in the
 * order of `factor`.  Returns the sum of d^2 / C_ii^2 that it reports as its error; e [K] is the
 * row's error by columns. */
static double textbook(const struct result *r, enum form form, int row, const double *c, int *q,
                       double *e) {
    double v[K], sum = 0;
    int lo = form == W8 ? -127 : -8, hi = form == W8 ? 127 : 7;
    int group = form == W4_32 ? 32 : form == W4_256 ? 256 : K, groups = (K - 1) / group + 1;
    for (int i = 0; i < K; i++)
        v[i] = w[row * K + factor.order[K - 1 - i]];
    for (int i = 0; i < K; i++) {
        int j = factor.order[K - 1 - i];
        int m = form == W4_32 || form == W4_256 ? r->m[row * groups + j / group] : 1;
        double step = (double)r->scales[row] * m, code = nearbyint(v[i] / step);
        q[j] = (int)fmin(fmax(code, lo), hi);
        e[j] = w[row * K + j] - step * q[j];
        double d = (v[i] - step * q[j]) / c[i * K + i];
        sum += d * d;
        for (int t = i + 1; t < K; t++)
            v[t] -= d * c[i * K + t];
    }
    return sum;
}

static void test_textbook(void) {
    struct pq_err err;
    double *a = malloc(sizeof *a * K * K), *c = calloc(sizeof *c, K * K), e[K];
    double added = 0.01 * pq_hessian_mean(h, K);
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++)
            a[i * K + j] =
                h[factor.order[K - 1 - i] * K + factor.order[K - 1 - j]] + (i == j ? added : 0);
    inverse_factor(a, c);
    for (int i = 0; i < K; i++) /* d = 1 / C_ii^2 */
        CHECK(fabs(factor.d[K - 1 - i] * c[i * K + i] * c[i * K + i] - 1) < 1e-4);
    for (enum form form = 0; form < FORMS; form++) {
        struct pq_gptq g = settings(form);
        int q[K], differ = 0;
        g.factor = &factor;
        CHECK_OK(round_rows(&g, form, &first, &err));
        for (int row = 0; row < N; row++) {
            double claimed = textbook(&first, form, row, c, q, e), damped = 0;
            for (int i = 0; i < K; i++)
                for (int j = 0; j < K; j++)
                    damped += e[i] * (h[i * K + j] + (i == j ? added : 0)) * e[j];
            CHECK(fabs(claimed - damped) < 1e-3 * damped);
            int now = 0;
            for (int j = 0; j < K; j++)
                now += q[j] != first.q[row * K + j];
            differ += now > 0;
        }
        printf("# %s: %d of %d rows differ from one column at a time in FP64\n", names[form],
               differ, N);
        CHECK(differ <= N / 8); /* a tie that falls the other way changes what follows */
    }
    free(a);
    free(c);
}

/* ---- Other inputs ---------------------------------------------------------------------------- */

/* The full-precision model's inputs: x and something that has to do with it. */
static float *drifted(const float *x) {
    float *y = malloc(sizeof *y * ROWS * K);
    for (int t = 0; t < ROWS; t++)
        for (int j = 0; j < K; j++)
            y[t * K + j] = x[t * K + j] + 0.2f * x[t * K + (j * 7 + 1) % K] + 0.1f * (float)gauss();
    return y;
}

/* sum_t (w.x~_t - w'.x_t)^2 over all rows, of sum_t (w.x~_t)^2 */
static double output_error(const struct result *r, enum form form, const float *fp,
                           const float *x) {
    static double rounded[K];
    double sum = 0, power = 0;
    for (int row = 0; row < N; row += 8) {
        for (int j = 0; j < K; j++)
            rounded[j] = weight(r, form, row, j);
        for (int t = 0; t < ROWS; t++) {
            double want = 0, got = 0;
            for (int j = 0; j < K; j++) {
                want += (double)w[row * K + j] * fp[t * K + j];
                got += rounded[j] * x[t * K + j];
            }
            sum += (want - got) * (want - got);
            power += want * want;
        }
    }
    return sum / power;
}

/* The cross term makes up for inputs that are not the full-precision model's; zeros change
 * nothing; the wrong sign does harm. */
static void test_cross(void) {
    struct pq_err err;
    static const float alphas[] = {0, 0.25f, 1, -1};
    enum { ALPHAS = sizeof alphas / sizeof *alphas };
    float *x = correlated_rows(ROWS, K, 1), *fp = drifted(x), *c = calloc(sizeof *c, K * K);
    for (enum form form = 0; form < FORMS; form++) {
        struct pq_gptq g = all_steps(form);
        double error[ALPHAS];
        CHECK_OK(round_rows(&g, form, &first, &err));
        memset(c, 0, sizeof *c * K * K);
        g.cross = c;
        g.alpha = 1;
        CHECK_OK(round_rows(&g, form, &second, &err));
        CHECK(memcmp(&first, &second, sizeof first) == 0);
        float *d = malloc(sizeof *d * ROWS * K);
        for (int i = 0; i < ROWS * K; i++)
            d[i] = fp[i] - x[i];
        pq_hessian_add_cross(&ws, c, K, d, x, ROWS);
        for (int i = 0; i < ALPHAS; i++) {
            g.alpha = alphas[i];
            CHECK_OK(round_rows(&g, form, &first, &err));
            error[i] = output_error(&first, form, fp, x);
        }
        printf("# %s: output error at alpha 0 %.5f, 0.25 %.5f, 1 %.5f, -1 %.5f\n", names[form],
               error[0], error[1], error[2], error[3]);
        CHECK(error[2] < error[1] && error[1] < error[0] && error[0] < error[3]);
        free(d);
    }
    free(c);
    free(fp);
    free(x);
}

/* ---- Bits ------------------------------------------------------------------------------------ */

static enum form form_now;

static bool same_codes(const struct pq_workspace *own) {
    struct pq_gptq g = all_steps(form_now);
    g.ws = own;
    return round_rows(&g, form_now, &second, NULL) == PQ_OK &&
           memcmp(&first, &second, sizeof first) == 0;
}

/* The same bits on every ISA, for any number of threads, and in blocks of any number of rows. */
static void test_bits(void) {
    struct pq_err err;
    for (form_now = 0; form_now < FORMS; form_now++) {
        struct pq_gptq g = all_steps(form_now);
        struct pq_rounded_rows out;
        int groups = g.group ? (K - 1) / g.group + 1 : 0;
        CHECK_OK(round_rows(&g, form_now, &first, &err));
        CHECK(on_every_machine(K, same_codes));
        start(&second, form_now, &out);
        for (int row = 0, n; row < N; row += n) {
            n = N - row < 37 ? N - row : 37;
            CHECK_OK(pq_gptq_rows(&g, w + (size_t)row * K, n, &out, &err));
            out.q += n * K;
            out.multipliers += out.multipliers ? n * groups : 0;
            out.scales += n;
            out.errors += n;
            out.powers += n;
        }
        CHECK(memcmp(&first, &second, sizeof first) == 0);
    }
}

/* Rows of zeros, and columns that no input reaches. */
static void test_dead(void) {
    struct pq_err err;
    struct pq_factor f;
    float *dead = malloc((size_t)K * K * sizeof *dead), *kept = w;
    memcpy(dead, h, (size_t)K * K * sizeof *dead);
    for (int j = 0; j < K; j++)
        for (int i = 0; i < K; i++)
            dead[i * K + j] = i % 3 == 0 || j % 3 == 0 ? 0 : dead[i * K + j];
    CHECK_OK(pq_factor_open(&f, &ws, dead, K, 0.01f, true, &err));
    w = student_weights(N, K);
    memset(w, 0, K * sizeof *w);
    for (enum form form = 0; form < FORMS; form++) {
        struct pq_gptq g = settings(form);
        g.h = dead;
        g.factor = &f;
        g.sweeps = 1;
        CHECK_OK(round_rows(&g, form, &first, &err));
        for (int j = 0; j < K; j++) {
            CHECK(first.q[j] == 0);
            if (j % 3 == 0) { /* no worse than one step of the widest group: not left at zero */
                double e = w[K + j] - weight(&first, form, 1, j);
                CHECK(fabs(e) < 15 * first.scales[1] || first.q[K + j] == 7 ||
                      first.q[K + j] == -8);
            }
        }
        CHECK(first.scales[0] == 1 && first.errors[0] == 0);
    }
    free(w);
    w = kept;
    free(dead);
    pq_factor_close(&f);
}

int main(void) {
    struct pq_err err;
    if (pq_pool_open(&pool, 2, &err) != PQ_OK ||
        pq_workspace_open(&ws, pool, pq_ops_get(PQ_ISA_COUNT - 1), K, &err) != PQ_OK)
        return 1;
    float *x = correlated_rows(ROWS, K, 1);
    w = student_weights(N, K);
    h = moments(&ws, x, ROWS, K);
    if (pq_factor_open(&factor, &ws, h, K, 0.01f, true, &err) != PQ_OK)
        return 1;
    RUN(test_errors);
    RUN(test_wrong_factor);
    RUN(test_held_out);
    RUN(test_diagonal);
    RUN(test_textbook);
    RUN(test_cross);
    RUN(test_bits);
    RUN(test_dead);
    pq_factor_close(&factor);
    free(h);
    free(w);
    free(x);
    pq_workspace_close(&ws);
    pq_pool_close(pool);
    return tap_done();
}
