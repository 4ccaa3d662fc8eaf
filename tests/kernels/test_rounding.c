/* The kernels that round weights one column after the other, on every ISA that this machine runs,
 * against their formulas in ops.h lane by lane, bit for bit. */
#include "cpu/kernels.h"
#include "tap.h"

#include <math.h>
#include <string.h>

enum { MOST = 61, LD = 70, GUARD = 8, SIZE = MOST * PQ_NR + GUARD };

static const struct pq_rounding *kernel; /* under test */
static uint64_t state;

static float uniform(float low, float high) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (float)(state >> 40) * 0x1p-24f;
}

static void fill(float *p, int n, float low, float high) {
    for (int i = 0; i < n; i++)
        p[i] = uniform(low, high);
}

static float h[MOST * LD], v[SIZE], w[SIZE], step[SIZE], q[SIZE], e[SIZE], gain[PQ_NR + GUARD];
static float want_v[SIZE], want_q[SIZE], want_e[SIZE], want_gain[PQ_NR];

static float code(float x, float lo, float hi) {
    return nearbyintf(x < lo ? lo : x > hi ? hi : x);
}

static bool same(const float *a, const float *b, int n) {
    for (int i = 0; i < n; i++)
        if (!(a[i] == b[i]))
            return false;
    return true;
}

/* Inputs with codes beyond both ends, ties and zeros. */
static void fill_all(int n) {
    fill(h, MOST * LD, -0.3f, 0.3f);
    for (int t = 0; t < n; t++)
        h[t * LD + t] = t % 7 == 3 ? 0 : uniform(0.5f, 2);
    fill(v, SIZE, -12, 12);
    fill(w, SIZE, -12, 12);
    fill(step, SIZE, 0.5f, 1.5f);
    for (int i = 0; i < SIZE; i += 5) {
        v[i] = nearbyintf(v[i]) + 0.5f;
        step[i] = 1;
    }
    memset(q, 0x55, sizeof q);
    memset(e, 0x55, sizeof e);
    memcpy(want_q, q, sizeof q);
    memcpy(want_e, e, sizeof e);
}

static void feedback(void) {
    static float u[MOST * MOST];
    for (int n = 1; n <= MOST; n += 4) {
        fill_all(n);
        fill(u, n * n, -0.5f, 0.5f);
        memcpy(want_v, v, sizeof v);
        for (int l = 0; l < PQ_NR; l++)
            for (int t = n - 1; t >= 0; t--) {
                int i = t * PQ_NR + l;
                want_q[i] = code(want_v[i] / step[i], -8, 7);
                want_e[i] = w[i] - step[i] * want_q[i];
                for (int s = 0; s < t; s++)
                    want_v[s * PQ_NR + l] += u[t * n + s] * want_e[i];
            }
        kernel->feedback(n, u, v, w, step, -8, 7, q, e);
        CHECK(same(q, want_q, SIZE) && same(e, want_e, SIZE) && same(v, want_v, SIZE));
    }
}

/* One lane of descend; returns its gain. */
static float descend_lane(int n, int l, float was, float is, const float *from) {
    float sum = 0;
    for (int t = 0; t < n; t++) {
        int i = t * PQ_NR + l;
        float ht = h[t * LD + t], inverse = ht > 0 ? 1 / ht : 0, x = was * from[i];
        float to = code((x + want_v[i] * inverse) / is, -8, 7), d = is * to - x;
        float gains = d * (2 * want_v[i] - d * ht);
        if (was == is && !(gains > 0)) {
            to = from[i];
            d = gains = 0;
        }
        want_q[i] = to;
        want_e[i] = d;
        sum += gains;
        for (int s = 0; s < n; s++)
            want_v[s * PQ_NR + l] -= h[t * LD + s] * d;
    }
    return sum;
}

static void descend(void) {
    static float from[SIZE];
    for (int n = 1; n <= MOST; n += 4) {
        fill_all(n);
        memcpy(want_v, v, sizeof v);
        for (int i = 0; i < SIZE; i++)
            from[i] = nearbyintf(uniform(-8, 7));
        float was[PQ_NR], is[PQ_NR];
        for (int l = 0; l < PQ_NR; l++) {
            was[l] = uniform(0.5f, 1);
            is[l] = l % 2 ? was[l] : uniform(0.5f, 1);
            want_gain[l] = descend_lane(n, l, was[l], is[l], from);
        }
        kernel->descend(n, h, LD, v, from, was, is, -8, 7, q, e, gain);
        CHECK(same(q, want_q, SIZE) && same(e, want_e, SIZE) && same(v, want_v, SIZE));
        CHECK(same(gain, want_gain, PQ_NR));
        for (int l = 1; l < PQ_NR; l += 2)
            CHECK(gain[l] >= 0);
    }
}

static void settle(void) {
    for (int n = 1; n <= MOST; n += 6)
        for (int m = 0; m <= MOST; m += 5) {
            fill_all(n);
            memcpy(want_v, v, sizeof v);
            for (int t = 0; t < n; t++)
                for (int i = 0; i < m * PQ_NR; i++)
                    want_v[i] -= h[t * LD + i / PQ_NR] * w[t * PQ_NR + i % PQ_NR];
            kernel->settle(n, m, h, LD, w, v);
            CHECK(same(v, want_v, SIZE));
        }
}

int main(void) {
    static const struct {
        const char *name;
        void (*test)(void);
    } tests[] = {{"feedback", feedback}, {"descend", descend}, {"settle", settle}};
    for (enum pq_isa isa = PQ_ISA_C; isa < PQ_ISA_COUNT; isa++)
        for (size_t i = 0; i < sizeof tests / sizeof *tests && pq_isa_runs(isa); i++) {
            char name[64];
            state = 20251224;
            kernel = pq_ops_get(isa)->rounding;
            tests[i].test();
            snprintf(name, sizeof name, "%s %s", tests[i].name, pq_isa_name(isa));
            tap_report(name);
        }
    return tap_done();
}
