/* hadamard.c - which bases an order takes, and their signs. */
#include "cpu/hadamard.h"

#include <stdlib.h>

static bool is_prime(int q) {
    for (int d = 2; d * d <= q; d++)
        if (q % d == 0)
            return false;
    return q > 1;
}

/* Legendre's symbol: 0, 1 where a is a square modulo q, else -1. */
static int legendre(int a, int q) {
    a = (a % q + q) % q;
    if (a == 0)
        return 0;
    for (int x = 1; x <= q / 2; x++)
        if (x * x % q == a)
            return 1;
    return -1;
}

/* q of Paley's first construction for this order, or 0. */
static int first_prime(int order) {
    return order % 4 == 0 && is_prime(order - 1) ? order - 1 : 0;
}

/* Of the second: order = 2 (q + 1), q = 1 modulo 4. */
static int second_prime(int order) {
    return order % 4 == 0 && (order / 2 - 1) % 4 == 1 && is_prime(order / 2 - 1) ? order / 2 - 1
                                                                                 : 0;
}

static bool is_base(int order) {
    return order <= PQ_HADAMARD_BASE && (first_prime(order) || second_prime(order));
}

/* The conference matrix of order q + 1, zero on the diagonal: a border of ones around the symbols
 * of i - j.  It is symmetric where q = 1 modulo 4, else skew but for the border's sign. */
static int conference(int i, int j, int q) {
    if (i == j)
        return 0;
    if (i == 0)
        return 1;
    if (j == 0)
        return q % 4 == 1 ? 1 : -1;
    return legendre(i - j, q);
}

/* The sign of a base at row i, column j.
 *   I   I + S, S the skew conference matrix
 *   II  each entry of the symmetric one as 2 x 2: c [1 1; 1 -1], and [1 -1; -1 -1] for the zeros */
static int base_sign(int order, int i, int j) {
    int q = first_prime(order);
    if (q)
        return i == j ? 1 : conference(i, j, q);
    int c = conference(i / 2, j / 2, second_prime(order));
    int low = i % 2 && j % 2 ? -1 : 1;
    if (c)
        return c * low;
    return i % 2 || j % 2 ? -1 : 1;
}

/* ---- The plan -------------------------------------------------------------------------------- */

static bool is_width(int width) {
    return width >= PQ_HADAMARD_LANES && (width & (width - 1)) == 0;
}

/* The bases of order n with the smallest sum, larger ones first. */
static bool choose(int n, struct pq_hadamard *plan) {
    int least = 0;
    *plan = (struct pq_hadamard){.n = n};
    if (n > 0 && is_width(n)) {
        plan->width = n;
        return true;
    }
    for (int a = 12; a <= PQ_HADAMARD_BASE; a += 4) {
        if (n % a != 0 || !is_base(a))
            continue;
        for (int b = 1; b <= a; b += b == 1 ? 11 : 4) {
            int width = n / a / b, sum = b == 1 ? a : a + b;
            if (n / a % b != 0 || (b > 1 && !is_base(b)) || !is_width(width))
                continue;
            if (least && sum >= least)
                continue;
            least = sum;
            plan->width = width;
            plan->bases = b == 1 ? 1 : 2;
            plan->base[0] = a;
            plan->base[1] = b == 1 ? 0 : b;
        }
    }
    return least > 0;
}

bool pq_hadamard_exists(int n) {
    struct pq_hadamard plan;
    return choose(n, &plan);
}

static int sign_at(int order, bool transposed, int in, int out) {
    return transposed ? base_sign(order, out, in) : base_sign(order, in, out);
}

/* signs of the base, or of its transpose, by fours of inputs; an output is a column. */
static void fill(uint8_t *signs, int order, bool transposed) {
    for (int out = 0; out < order; out++)
        for (int in = 0; in < order; in++) {
            int sign = sign_at(order, transposed, in, out);
            if (in % 4 > 0)
                sign *= sign_at(order, transposed, in / 4 * 4, out);
            uint8_t *at = signs + (out / 4 * (order / 4) + in / 4) * 4 + out % 4;
            *at |= (uint8_t)((sign < 0) << in % 4);
        }
}

enum pq_status pq_hadamard_open(struct pq_hadamard *out, int n, struct pq_err *err) {
    struct pq_hadamard plan;
    if (!choose(n, &plan))
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "there is no Hadamard matrix of order %d among those that panq can make", n);
    for (int i = 0; i < plan.bases; i++) {
        size_t bytes = (size_t)plan.base[i] * (size_t)plan.base[i] / 4;
        plan.signs[i] = calloc(2, bytes);
        if (!plan.signs[i]) {
            pq_hadamard_close(&plan);
            return pq_fail(err, PQ_ENOMEM, "out of memory for a Hadamard matrix of order %d", n);
        }
        plan.signs_t[i] = plan.signs[i] + bytes;
        fill(plan.signs[i], plan.base[i], false);
        fill(plan.signs_t[i], plan.base[i], true);
    }
    *out = plan;
    return PQ_OK;
}

void pq_hadamard_close(struct pq_hadamard *plan) {
    for (int i = 0; i < plan->bases; i++)
        free(plan->signs[i]);
    *plan = (struct pq_hadamard){0};
}

int pq_hadamard_sign(const struct pq_hadamard *plan, int i, int j) {
    int sign = __builtin_parity((unsigned)(i % plan->width & j % plan->width)) ? -1 : 1;
    i /= plan->width;
    j /= plan->width;
    for (int b = plan->bases - 1; b >= 0; b--) {
        sign *= base_sign(plan->base[b], i % plan->base[b], j % plan->base[b]);
        i /= plan->base[b];
        j /= plan->base[b];
    }
    return sign;
}
