/* What attention does between its products, on every ISA that this machine runs: the same bits as
 * plain C, and the right values. */
#include "base/half.h"
#include "cpu/kernels.h"
#include "random.h"
#include "tap.h"

#include <math.h>
#include <string.h>

enum { GUARD = 16, N = 256 };

static const struct pq_attend *kernels; /* under test */

/* ---- Softmax --------------------------------------------------------------------------------- */

enum { STRIDE = 3 * PQ_NR, BLOCKS = 2 };

/* BLOCKS * N scores of one row, the last block cut short after `valid`, with what may lie behind.
 */
struct row {
    float s[BLOCKS][N / PQ_NR * STRIDE], weights[BLOCKS][N];
    int valid;
};

static void make_row(struct row *row, int valid, float range) {
    row->valid = valid;
    for (int b = 0; b < BLOCKS; b++) {
        for (int i = 0; i < N / PQ_NR * STRIDE; i++)
            row->s[b][i] = uniform(-range, range);
        for (int i = 0; i < N; i++)
            row->weights[b][i] = uniform(0, 2);
    }
    for (int i = valid; i < N; i++) {
        row->s[BLOCKS - 1][i / PQ_NR * STRIDE + i % PQ_NR] = i % 3 ? NAN : INFINITY;
        row->weights[BLOCKS - 1][i] = NAN;
    }
}

/* What the kernel makes of a row: probabilities relative to the last maximum. */
struct outcome {
    float p[BLOCKS][N + GUARD], max, sum[16], alpha[BLOCKS];
};

static void run_softmax(const struct pq_attend *a, const struct row *row, bool narrow,
                        bool weighted, struct outcome *o) {
    memset(o, 0xaa, sizeof *o);
    o->max = -INFINITY;
    memset(o->sum, 0, sizeof o->sum);
    for (int b = 0; b < BLOCKS; b++) {
        int valid = b == BLOCKS - 1 ? row->valid : N;
        float most = a->greatest(row->s[b], STRIDE, valid);
        o->alpha[b] = (narrow ? a->softmax_bf16 : a->softmax_f32)(
            o->p[b], row->s[b], STRIDE, weighted ? row->weights[b] : NULL, N, valid, 0.3f, most,
            &o->max, o->sum);
    }
}

static double score_of(const struct row *row, int i) {
    return (double)0.3f * row->s[i / N][i % N / PQ_NR * STRIDE + i % PQ_NR];
}

static float got_of(const struct outcome *o, int i, bool narrow) {
    const void *block = o->p[i / N];
    return narrow ? pq_bf16_to_f32(((const uint16_t *)block)[i % N])
                  : ((const float *)block)[i % N];
}

/* In double precision, relative to the maximum as it is rounded; the first block's probabilities
 * are relative to the one before. */
static void check_softmax(const struct row *row, const struct outcome *o, bool narrow,
                          bool weighted) {
    int n = (BLOCKS - 1) * N + row->valid;
    double top = -INFINITY, total = 0, sum = 0;
    for (int i = 0; i < n; i++)
        top = fmax(top, score_of(row, i));
    CHECK(o->max == (float)top);
    top = o->max;
    for (int i = 0; i < n; i++)
        total += exp2(score_of(row, i) - top);
    for (int i = 0; i < 16; i++)
        sum += o->sum[i];
    CHECK(fabs(sum - total) <= 1e-6 * total);
    for (int i = 0; i < BLOCKS * N; i++) {
        double p = i < n ? exp2(score_of(row, i) - top) : 0;
        p *= weighted && i < n ? row->weights[i / N][i % N] : 1;
        double mine = (double)got_of(o, i, narrow) * (i / N < BLOCKS - 1 ? o->alpha[1] : 1);
        double bound = (narrow ? 0x1p-8 : 4e-6) * p;
        if (!(fabs(mine - p) <= bound + 1e-37) || (i >= n && mine != 0))
            FAIL("valid %d: probability %d is %g, not %g", row->valid, i, mine, p);
    }
}

static void softmax(void) {
    static struct row row;
    static struct outcome a, b;
    for (int valid = 1; valid <= N; valid += valid < 40 ? 1 : 27)
        for (int kind = 0; kind < 4; kind++) {
            bool narrow = kind & 1, weighted = kind & 2;
            make_row(&row, valid, valid % 2 ? 30 : 600);
            run_softmax(&pq_attend_c, &row, narrow, weighted, &a);
            run_softmax(kernels, &row, narrow, weighted, &b);
            CHECK(memcmp(&a, &b, sizeof a) == 0);
            check_softmax(&row, &b, narrow, weighted);
        }
}

/* A row that sees nothing of a block, and one with a score that is no number. */
static void softmax_edges(void) {
    static struct row row;
    static struct outcome o;
    make_row(&row, 0, 5);
    run_softmax(kernels, &row, true, true, &o);
    CHECK(o.alpha[0] == 0 && o.alpha[1] == 1);
    for (int i = N; i < 2 * N; i++)
        CHECK(got_of(&o, i, true) == 0);
    CHECK(((uint16_t *)o.p[1])[N] == 0xaaaa);
    make_row(&row, N, 5);
    row.s[1][7] = NAN;
    run_softmax(kernels, &row, false, false, &o);
    CHECK(isnan(got_of(&o, N + 7, false)) && !isnan(got_of(&o, N + 8, false)));
    CHECK(isnan(o.sum[7]) && !isnan(o.sum[8]));
}

/* ---- Layouts --------------------------------------------------------------------------------- */

/* Where the code of value i, of [positions][PQ_NR], is among units of four positions. */
static int code_at(int i) {
    int position = i / PQ_NR;
    return (position / 4 * PQ_NR + i % PQ_NR) * 4 + position % 4;
}

static void widen(void) {
    int8_t codes[N * PQ_NR];
    static float wide[N * PQ_NR + GUARD];
    for (int i = 0; i < N * PQ_NR; i++)
        codes[i] = (int8_t)(i % 3 ? (int)(random32() % 256) - 128 : i % 2 ? 127 : -128);
    for (int n = 4; n <= N; n += 4) {
        memset(wide, 0xaa, sizeof wide);
        kernels->widen_f32(wide, codes, n / 4);
        for (int i = 0; i < n * PQ_NR; i++)
            CHECK(wide[i] == codes[code_at(i)]);
        CHECK(((uint32_t *)wide)[n * PQ_NR] == 0xaaaaaaaa);
        for (int each = 2; each <= 4; each += 2) { /* positions of a unit, of a pair of units */
            memset(wide, 0xaa, sizeof wide);
            (each == 2 ? kernels->widen_bf16 : kernels->widen_bf16_pairs)(wide, codes, n / 4);
            const uint16_t *values = (const uint16_t *)wide;
            for (int i = 0; i < n * PQ_NR; i++) {
                int position = i / PQ_NR, c = i % PQ_NR;
                int at = (position / each * PQ_NR + c) * each + position % each;
                CHECK(pq_bf16_to_f32(values[at]) == codes[code_at(i)]);
            }
            CHECK(values[n * PQ_NR] == 0xaaaa);
        }
    }
}

/* ---- Sums ------------------------------------------------------------------------------------ */

static void rescale_finish_and_merge(void) {
    enum { PANELS = 4, SIZE = PANELS * PQ_MR * PQ_NR + GUARD };
    static float acc[SIZE], more[SIZE], scaled[SIZE], merged[SIZE], row[PANELS * PQ_NR + GUARD];
    float a[PQ_MR], b[PQ_MR];
    for (int i = 0; i < SIZE; i++) {
        acc[i] = uniform(-9, 9);
        more[i] = uniform(-9, 9);
    }
    for (int rows = 1; rows <= PQ_MR; rows++) {
        for (int r = 0; r < rows; r++) {
            a[r] = uniform(0, 1);
            b[r] = r % 3 ? uniform(0, 1) : 1;
        }
        memcpy(scaled, acc, sizeof acc);
        memcpy(merged, acc, sizeof acc);
        kernels->rescale(scaled, a, rows, PANELS);
        kernels->merge(merged, a, more, b, rows, PANELS);
        for (int i = 0; i < SIZE; i++) {
            int r = i / PQ_NR % rows;
            bool inside = i < PANELS * rows * PQ_NR;
            float left = acc[i] * a[r], right = more[i] * b[r];
            CHECK(scaled[i] == (inside ? left : acc[i]));
            CHECK(merged[i] == (inside ? left + right : acc[i]));
        }
        for (int i = 0; i < PANELS * PQ_NR + GUARD; i++)
            row[i] = 1;
        int last = rows - 1;
        kernels->finish(row, acc + last * PQ_NR, (size_t)(rows * PQ_NR), a[last], PANELS);
        for (int i = 0; i < PANELS * PQ_NR; i++)
            CHECK(row[i] == acc[(i / PQ_NR * rows + last) * PQ_NR + i % PQ_NR] * a[last]);
        for (int i = 0; i < GUARD; i++)
            CHECK(row[PANELS * PQ_NR + i] == 1);
    }
}

int main(void) {
    for (enum pq_isa isa = PQ_ISA_C; isa < PQ_ISA_COUNT; isa++) {
        if (!pq_isa_runs(isa))
            continue;
        kernels = pq_ops_get(isa)->attend;
        random_state = 20251125;
        char name[64];
#define KERNEL(test)                                                                               \
    do {                                                                                           \
        test();                                                                                    \
        snprintf(name, sizeof name, "%s %s", #test, pq_isa_name(isa));                             \
        tap_report(name);                                                                          \
    } while (0)
        KERNEL(softmax);
        KERNEL(softmax_edges);
        KERNEL(widen);
        KERNEL(rescale_finish_and_merge);
    }
    return tap_done();
}
