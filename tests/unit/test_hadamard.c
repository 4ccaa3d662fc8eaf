/* Every order that a family needs: orthogonal, the signs that its plan says, both directions, and
 * refused where there is none. */
#include "cpu/hadamard.h"
#include "cpu/ops.h"
#include "tap.h"

#include <math.h>
#include <string.h>

/* hidden_size, intermediate_size and head_dim of the families, of pangu-mini and the tests. */
static const int orders[] = {32,   64,   128,  256,  576,  768,   896,  1536,
                             2048, 4096, 4864, 6144, 8960, 12800, 18944};
enum { ORDERS = sizeof orders / sizeof *orders, MAX_ORDER = 18944 };

static struct pq_err err;

/* The matrix without its scale, row by row. */
static void signs(int8_t *sign, const struct pq_hadamard *h) {
    for (int i = 0; i < h->n; i++)
        for (int k = 0; k < h->n; k++)
            sign[i * h->n + k] = (int8_t)pq_hadamard_sign(h, i, k);
}

static int product(const int8_t *a, const int8_t *b, int n) {
    int sum = 0;
    for (int k = 0; k < n; k++)
        sum += a[k] * b[k];
    return sum;
}

/* H H^T = n I without rounding: a base of each construction, and both kinds of products. */
static void test_exactly_orthogonal(void) {
    enum { GREATEST = 12 * 12 * 16 };
    static const int small[] = {16, 12 * 16, 20 * 16, 28 * 16, 36 * 16, GREATEST};
    static int8_t sign[GREATEST * GREATEST];
    for (size_t o = 0; o < sizeof small / sizeof *small; o++) {
        struct pq_hadamard h;
        CHECK_OK(pq_hadamard_open(&h, small[o], &err));
        signs(sign, &h);
        int of_first = h.n > 1000 ? 37 : 1, of_second = h.n > 1000 ? 5 : 1;
        for (int i = 0; i < h.n; i += of_first)
            for (int j = 0; j < h.n; j += of_second)
                if (product(sign + i * h.n, sign + j * h.n, h.n) != (i == j ? h.n : 0))
                    FAIL("order %d: rows %d and %d", h.n, i, j);
        pq_hadamard_close(&h);
    }
}

/* 20, of which 12800 = 20 x 20 x 32 is made. */
static void test_twenty(void) {
    struct pq_hadamard h;
    CHECK_OK(pq_hadamard_open(&h, 320, &err));
    CHECK(h.bases == 1 && h.base[0] == 20 && h.width == 16);
    for (int i = 0; i < 20; i++)
        for (int j = 0; j < 20; j++) {
            int sum = 0;
            for (int k = 0; k < 20; k++)
                sum += pq_hadamard_sign(&h, i * 16, k * 16) * pq_hadamard_sign(&h, j * 16, k * 16);
            CHECK(sum == (i == j ? 20 : 0));
        }
    pq_hadamard_close(&h);
    CHECK_OK(pq_hadamard_open(&h, 12800, &err));
    CHECK(h.bases == 2 && h.base[0] == 20 && h.base[1] == 20 && h.width == 32);
    pq_hadamard_close(&h);
}

static double noise(int i) {
    return sin(1.7 * i) + (i % 41 == 3 ? 50 : 0);
}

/* x H is the sum over the signs, x H^T undoes it, and neither changes a length: FP64 and FP32. */
static void order(const struct pq_elementwise *e, const struct pq_hadamard *h) {
    static double x[MAX_ORDER];
    static float f[MAX_ORDER];
    double before = 0, after = 0, error = 0, error32 = 0;
    for (int i = 0; i < h->n; i++) {
        x[i] = f[i] = (float)noise(i);
        before += x[i] * x[i];
    }
    e->hadamard64(x, x, h, false);
    e->hadamard(f, f, h, false);
    for (int j = 0; j < h->n; j++) {
        after += x[j] * x[j];
        error32 = fmax(error32, fabs(x[j] - (double)f[j]));
    }
    CHECK(fabs(after - before) <= 1e-12 * before);
    for (int j = 0; j < h->n; j += h->n / 23) {
        double sum = 0;
        for (int i = 0; i < h->n; i++)
            sum += pq_hadamard_sign(h, i, j) * (double)(float)noise(i);
        error = fmax(error, fabs(sum / sqrt(h->n) - x[j]));
    }
    e->hadamard64(x, x, h, true);
    e->hadamard(f, f, h, true);
    double back = 0, back32 = 0;
    for (int i = 0; i < h->n; i++) {
        back = fmax(back, fabs(x[i] - (double)(float)noise(i)));
        back32 = fmax(back32, fabs((double)f[i] - (double)(float)noise(i)));
    }
    printf("# %d = %d x %d x %d: %.1e, back %.1e; FP32 %.1e, back %.1e\n", h->n,
           h->bases > 0 ? h->base[0] : 1, h->bases > 1 ? h->base[1] : 1, h->width, error, back,
           error32, back32);
    CHECK(error <= 1e-12 && back <= 1e-12 && error32 <= 5e-5 && back32 <= 5e-5);
}

static void test_orders(void) {
    for (int o = 0; o < ORDERS; o++) {
        struct pq_hadamard h;
        CHECK_OK(pq_hadamard_open(&h, orders[o], &err));
        order(pq_ops_get(PQ_ISA_COUNT - 1)->e, &h);
        order(pq_ops_get(PQ_ISA_C)->e, &h);
        pq_hadamard_close(&h);
    }
}

/* Paley's first construction is not symmetric: applied twice it is not the identity. */
static void test_directions_differ(void) {
    const struct pq_elementwise *e = pq_ops_get(PQ_ISA_C)->e;
    struct pq_hadamard h;
    double x[12 * 16] = {1};
    CHECK_OK(pq_hadamard_open(&h, 12 * 16, &err));
    e->hadamard64(x, x, &h, false);
    e->hadamard64(x, x, &h, false);
    CHECK(fabs(x[0] - 1) > 0.1);
    pq_hadamard_close(&h);
}

static void test_refused(void) {
    static const int none[] = {-16, 0, 1, 8, 12, 20, 24, 100, 11008, 172 * 64, 16 * 9, 131071};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        struct pq_hadamard h;
        char number[16];
        snprintf(number, sizeof number, "%d", none[i]);
        CHECK(!pq_hadamard_exists(none[i]));
        CHECK(pq_hadamard_open(&h, none[i], &err) == PQ_EUNSUPPORTED && strstr(err.text, number));
    }
    for (int o = 0; o < ORDERS; o++)
        CHECK(pq_hadamard_exists(orders[o]));
}

int main(void) {
    RUN(test_exactly_orthogonal);
    RUN(test_twenty);
    RUN(test_orders);
    RUN(test_directions_differ);
    RUN(test_refused);
    return tap_done();
}
