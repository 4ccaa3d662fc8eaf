/* Every kernel of every ISA that this machine runs against plain C, in dav1d's manner: seeded
 * inputs with the extremes that hurt, every row count, odd lengths, guards around the outputs. */
#include "base/half.h"
#include "cpu/kernels.h"
#include "isas.h"
#include "random.h"
#include "tap.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum { MAX_UNITS = 3200, GUARD = 16 }; /* k = 12800 in int8 units */

static const struct pq_ops *ops; /* under test */

/* Half of the calls give only the two extremes, the others any byte in low..high. */
static void fill_bytes(void *p, size_t n, int low, int high) {
    bool extremes = random32() & 1;
    for (size_t i = 0; i < n; i++) {
        int v = extremes ? (random32() & 1 ? low : high)
                         : low + (int)(random32() % (uint32_t)(high - low + 1));
        ((uint8_t *)p)[i] = (uint8_t)v;
    }
}

static int8_t *x;
static uint8_t *w, *mults;
static int32_t want[PQ_MR * PQ_NR + GUARD], got[PQ_MR * PQ_NR + GUARD], starts[PQ_MR];

static void fill_sums(void) {
    for (int i = 0; i < PQ_MR * PQ_NR + GUARD; i++)
        want[i] = got[i] = (int32_t)random32() >> 4;
}

static void start_sums(int rows, int units) {
    static int8_t row[MAX_UNITS * 4];
    for (int r = 0; r < rows; r++) {
        int32_t sum = 0;
        for (int i = 0; i < units * 4; i++)
            sum += row[i] = x[(i / 4 * rows + r) * 4 + i % 4];
        starts[r] = ops->start(row, units * 4, sum);
    }
}

/* Units [units][n] of a tile or a panel, as the kernels under test take them. */
static void *as_taken(uint32_t *pairs, const void *from, int n, int units) {
    const uint32_t *single = from;
    for (int i = 0; i < units; i++)
        for (int c = 0; c < n; c++)
            pairs[ops->pairs ? (i / 2 * n + c) * 2 + i % 2 : i * n + c] = single[i * n + c];
    return pairs;
}

/* The tile at x, */
static void *tile_of(int rows, int units) {
    static uint32_t tile[MAX_UNITS * PQ_MR];
    return as_taken(tile, x, rows, units);
}

/* and the panel at w. */
static void *panel_of(int units) {
    static uint32_t panel[MAX_UNITS * PQ_NR];
    return as_taken(panel, w, PQ_NR, units);
}

/* Of the lengths below: kernels that take pairs of units take an even number of them. */
static int length(int units) {
    return ops->pairs ? (units + 1) / 2 * 2 : units;
}

static int first_difference(const void *a, const void *b, int n) {
    for (int i = 0; i < n; i++)
        if (memcmp((const char *)a + 4 * i, (const char *)b + 4 * i, 4))
            return i;
    return -1;
}

/* More than one line a unit of the shorter lengths, and less of the longer ones, to all caches and
 * to the second one in turn. */
static struct pq_ahead ahead(const void *weights) {
    static bool second;
    second = !second;
    return (struct pq_ahead){.from = weights, .bytes = 5000, .second = second};
}

/* What they will end in, which they may fetch. */
static const struct pq_ends ends = {(const float *)got, PQ_NR};

static const int lengths[] = {1, 7, 8, 16, 24, 64, 72, 384, 1536, MAX_UNITS};
enum { LENGTHS = sizeof lengths / sizeof *lengths, FIRST_BLOCK = 2 /* whole blocks from here */ };

static void tile_i8(void) {
    for (int l = 0; l < LENGTHS; l++)
        for (int rows = 1; rows <= PQ_MR; rows++) {
            int units = length(lengths[l]);
            fill_bytes(x, (size_t)units * rows * 4, -127, 127);
            fill_bytes(w, (size_t)units * PQ_NR * 4, 0, 255);
            fill_sums();
            start_sums(rows, units);
            pq_tile_i8_c(want, rows, starts, x, w, units, ahead(w), NULL);
            ops->tile_i8(got, rows, starts, tile_of(rows, units), panel_of(units), units, ahead(w),
                         &ends);
            int i = first_difference(want, got, PQ_MR * PQ_NR + GUARD);
            if (i >= 0)
                FAIL("rows %d units %d: element %d is %d, not %d", rows, units, i, got[i], want[i]);
        }
}

/* What the blocks of a tile begin with, of the sums that pq_elementwise.quantize gives. */
static const int32_t *block_starts(const struct pq_ops *of, int rows, int blocks) {
    static int32_t at[PQ_MR * MAX_UNITS / 8];
    for (int b = 0; b < blocks; b++)
        for (int r = 0; r < rows; r++) {
            int32_t sum = 0;
            for (int j = b * PQ_BLOCK; j < (b + 1) * PQ_BLOCK; j++)
                sum += x[(j / 4 * rows + r) * 4 + j % 4];
            at[b * rows + r] = of->block_start * sum;
        }
    return at;
}

static void fill_mults(int blocks) {
    fill_bytes(mults, (size_t)blocks * 16, 0x11, 0xff);
    for (int i = 0; i < blocks * 16; i++)
        if ((mults[i] & 15) == 0)
            mults[i] |= 15;
}

static void tile_i4(void) {
    const struct pq_ops *plain = pq_ops_get(PQ_ISA_C);
    static const int shifts[] = {0, 3, 31};
    CHECK(ops->tile_unpack || ops->direct_rows == INT_MAX);
    for (int l = FIRST_BLOCK; l < LENGTHS; l++)
        for (int rows = 1; rows <= PQ_MR; rows++)
            for (int s = 0; s < 3; s++) {
                int blocks = lengths[l] / 8;
                fill_bytes(x, (size_t)blocks * PQ_BLOCK * rows, -127, 127);
                fill_bytes(w, (size_t)blocks * PQ_BLOCK / 2 * PQ_NR, 0, 255);
                fill_mults(blocks);
                struct pq_panel4 panel = {w, mults, shifts[s]};
                fill_sums();
                pq_tile_i4_c(want, rows, x, block_starts(plain, rows, blocks), &panel, blocks,
                             ahead(w));
                ops->tile_i4(got, rows, tile_of(rows, blocks * 8), block_starts(ops, rows, blocks),
                             &panel, blocks, ahead(w));
                int i = first_difference(want, got, PQ_MR * PQ_NR + GUARD);
                if (i >= 0)
                    FAIL("rows %d blocks %d shift %d: element %d is %d, not %d", rows, blocks,
                         shifts[s], i, got[i], want[i]);
            }
}

static void unpack_case(int rows, int blocks, int shift, bool keep) {
    enum { BLOCKS = 5, BYTES = BLOCKS * PQ_BLOCK * PQ_NR };
    static _Alignas(64) uint8_t a[BYTES + GUARD], b[BYTES + GUARD];
    int bytes = blocks * PQ_BLOCK * PQ_NR;
    fill_bytes(x, (size_t)(blocks * PQ_BLOCK * rows), -127, 127);
    fill_bytes(w, BYTES / 2, 0, 255);
    fill_mults(BLOCKS);
    fill_sums();
    start_sums(rows, blocks * 8);
    struct pq_panel4 panel = {w, mults, shift};
    memset(a, 0xaa, sizeof a);
    memset(b, 0xaa, sizeof b);
    pq_unpack_i4_c(a, &panel, blocks);
    pq_tile_i8_c(want, rows, starts, x, a, blocks * 8, ahead(w), NULL);
    static uint32_t taken[BYTES / 4];
    memcpy(a, as_taken(taken, a, PQ_NR, blocks * 8), (size_t)bytes);
    ops->tile_unpack(got, rows, starts, tile_of(rows, blocks * 8), b, keep, &panel, blocks,
                     ahead(w), &ends);
    for (int i = keep ? 0 : bytes; i < bytes + GUARD; i++)
        if (a[i] != b[i])
            FAIL("rows %d blocks %d shift %d keep %d: byte %d is %d, not %d", rows, blocks, shift,
                 keep, i, b[i], a[i]);
    int i = first_difference(want, got, PQ_MR * PQ_NR + GUARD);
    if (i >= 0)
        FAIL("rows %d blocks %d shift %d keep %d: element %d is %d, not %d", rows, blocks, shift,
             keep, i, got[i], want[i]);
}

static void tile_unpack(void) {
    for (int rows = 1; rows <= PQ_MR; rows++)
        for (int blocks = 1; blocks <= 5; blocks++)
            for (int shift = 0; shift < 3; shift++) {
                unpack_case(rows, blocks, shift, true);
                unpack_case(rows, blocks, shift, false);
            }
}

/* The two ways from 4-bit panels to sums agree: directly, and through bytes. */
static void i4_equals_unpacked(void) {
    enum { BLOCKS = 48, ROWS = 7 };
    static uint8_t bytes[BLOCKS * PQ_BLOCK * PQ_NR];
    fill_bytes(x, BLOCKS * PQ_BLOCK * ROWS, -127, 127);
    fill_bytes(w, BLOCKS * PQ_BLOCK / 2 * PQ_NR, 0, 255);
    fill_mults(BLOCKS);
    struct pq_panel4 panel = {w, mults, 0};
    memset(want, 0, sizeof want);
    memset(got, 0, sizeof got);
    const void *tile = tile_of(ROWS, BLOCKS * 8);
    ops->tile_i4(want, ROWS, tile, block_starts(ops, ROWS, BLOCKS), &panel, BLOCKS, ahead(w));
    start_sums(ROWS, BLOCKS * 8);
    ops->tile_unpack(got, ROWS, starts, tile, bytes, true, &panel, BLOCKS, ahead(w), NULL);
    CHECK(memcmp(want, got, sizeof got) == 0);
}

static void fill_floats(float *p, size_t n, float range) {
    for (size_t i = 0; i < n; i++)
        p[i] = uniform(-range, range);
}

static void fill_bf16(uint16_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        p[i] = pq_f32_to_bf16(uniform(-1, 1) * (random32() % 50 == 0 ? 300.0f : 1.0f));
}

/* The contract's bound, from sums in double precision; what the sums begin with is in acc, or is
 * nothing. */
static void check_tile_bf16(int rows, int units, bool add) {
    uint16_t *xs = (uint16_t *)x, *ws = (uint16_t *)w;
    float acc[PQ_MR * PQ_NR + GUARD];
    fill_bf16(xs, (size_t)units * rows * 2);
    fill_bf16(ws, (size_t)units * PQ_NR * 2);
    for (int i = 0; i < PQ_MR * PQ_NR + GUARD; i++)
        acc[i] = (float)(i % 7);
    ops->tile_bf16(acc, rows, add, tile_of(rows, units), panel_of(units), units, ahead(ws));
    for (int i = 0; i < PQ_MR * PQ_NR + GUARD; i++) {
        bool inside = i < rows * PQ_NR;
        double sum = inside && !add ? 0 : i % 7, size = sum;
        for (int j = 0; inside && j < 2 * units; j++) {
            int r = i / PQ_NR, c = i % PQ_NR;
            double product = (double)pq_bf16_to_f32(xs[(j / 2 * rows + r) * 2 + j % 2]) *
                             pq_bf16_to_f32(ws[(j / 2 * PQ_NR + c) * 2 + j % 2]);
            sum += product;
            size += fabs(product);
        }
        if (!(fabs(acc[i] - sum) <= 0x1p-22 * 2 * units * size))
            FAIL("rows %d units %d: element %d is %g, not %g", rows, units, i, acc[i], sum);
    }
}

static void tile_bf16(void) {
    for (int l = 0; l < LENGTHS; l++)
        for (int rows = 1; rows <= PQ_MR; rows++) {
            check_tile_bf16(rows, length(lengths[l]), false);
            check_tile_bf16(rows, length(lengths[l]), true);
        }
}

/* A row's sum does not depend on how many rows are in its tile: decode equals prefill. */
static void tile_bf16_rows_agree(void) {
    enum { UNITS = 96 };
    uint16_t *xs = (uint16_t *)x, *ws = (uint16_t *)w;
    fill_bf16(xs, UNITS * PQ_MR * 2);
    fill_bf16(ws, UNITS * PQ_NR * 2);
    float whole[PQ_MR * PQ_NR];
    const void *panel = panel_of(UNITS);
    ops->tile_bf16(whole, PQ_MR, false, tile_of(PQ_MR, UNITS), panel, UNITS, ahead(ws));
    for (int r = 0; r < PQ_MR; r++) {
        uint16_t row[UNITS * 2];
        float alone[PQ_NR];
        for (int i = 0; i < UNITS * 2; i++)
            row[i] = xs[(i / 2 * PQ_MR + r) * 2 + i % 2];
        ops->tile_bf16(alone, 1, false, row, panel, UNITS, ahead(ws));
        if (memcmp(alone, whole + r * PQ_NR, sizeof alone))
            FAIL("row %d differs when it is alone", r);
    }
}

/* The tile's formula, one output at a time: its sources are one for all of x86, plain C's too. */
static void multiply_f32(float *acc, int rows, bool add, const float *xs, const float *ws,
                         int units) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < PQ_NR; c++) {
            float sum = add ? acc[r * PQ_NR + c] : 0;
            for (int i = 0; i < units; i++)
                sum += xs[i * rows + r] * ws[i * PQ_NR + c];
            acc[r * PQ_NR + c] = sum;
        }
}

static void check_tile_f32(int rows, int units, bool add) {
    float a[PQ_MR * PQ_NR + GUARD], b[PQ_MR * PQ_NR + GUARD];
    fill_floats((float *)x, (size_t)units * rows, 2);
    fill_floats((float *)w, (size_t)units * PQ_NR, 2);
    fill_floats(a, PQ_MR * PQ_NR + GUARD, 1);
    memcpy(b, a, sizeof a);
    multiply_f32(a, rows, add, (float *)x, (float *)w, units);
    ops->tile_f32(b, rows, add, x, w, units, ahead(w));
    int i = first_difference(a, b, PQ_MR * PQ_NR + GUARD);
    if (i >= 0)
        FAIL("rows %d units %d: element %d is %g, not %g", rows, units, i, b[i], a[i]);
}

static void tile_f32(void) {
    for (int l = 0; l < 7; l++)
        for (int rows = 1; rows <= PQ_MR; rows++) {
            check_tile_f32(rows, lengths[l], false);
            check_tile_f32(rows, lengths[l], true);
        }
}

/* ---- elementwise: the same bits as the plain build, and the right values --------------------- */

enum { N = 1000 };
static float f[N + GUARD], g[N + GUARD], h[N + GUARD], u[N + GUARD], v[N + GUARD];

static void hard_floats(float *p, int n) {
    static const float hard[] = {0,      -0.0f,    1e-42f, -1e-40f, 1e30f, -1e30f,
                                 88.72f, -103.97f, 0.5f,   1.5f,    -2.5f, 1e-8f};
    for (int i = 0; i < n; i++)
        p[i] = random32() % 8 == 0 ? hard[random32() % 12] : uniform(-20, 20);
}

static void rmsnorm(void) {
    for (int n = 1; n < 100; n++) {
        fill_floats(f, (size_t)n, 100);
        fill_floats(g, (size_t)n, 2);
        pq_elementwise_c.rmsnorm(u, f, g, n, 1e-5f);
        ops->e->rmsnorm(v, f, g, n, 1e-5f);
        CHECK(memcmp(u, v, (size_t)n * 4) == 0);
        double square = 0;
        for (int i = 0; i < n; i++)
            square += (double)f[i] * f[i];
        for (int i = 0; i < n; i++)
            CHECK(fabs(v[i] - f[i] / sqrt(square / n + 1e-5) * g[i]) <= 1e-5 * fabs(v[i]) + 1e-30);
    }
}

static void quantize(void) {
    for (int n = PQ_BLOCK; n <= 960; n += PQ_BLOCK) {
        int8_t a[N], b[N];
        int32_t sa[N / PQ_BLOCK], sb[N / PQ_BLOCK], ta, tb, t0;
        fill_floats(f, (size_t)n, n % 3 ? 1.0f : 1e20f);
        float scale = pq_elementwise_c.quantize(a, &ta, sa, f, n);
        CHECK(ops->e->quantize(b, &tb, sb, f, n) == scale);
        CHECK(memcmp(a, b, (size_t)n) == 0 && memcmp(sa, sb, (size_t)n / PQ_BLOCK * 4) == 0);
        CHECK(ops->e->quantize(b, &t0, NULL, f, n) == scale && memcmp(a, b, (size_t)n) == 0);
        int32_t total = 0, all = 0;
        for (int i = 0; i < n; i++) {
            CHECK(b[i] >= -127 && fabsf(f[i] - (float)b[i] * scale) <= scale * 0.50001f);
            total += b[i];
            all += b[i];
            if (i % PQ_BLOCK == PQ_BLOCK - 1) {
                CHECK(sb[i / PQ_BLOCK] == total);
                total = 0;
            }
        }
        CHECK(ta == all && tb == all && t0 == all);
    }
}

static void interleave_as(bool pairs) {
    enum { UNITS = 90 };
    static uint32_t from[PQ_MR * UNITS], a[PQ_MR * UNITS], b[PQ_MR * UNITS];
    for (int i = 0; i < PQ_MR * UNITS; i++)
        from[i] = random32();
    for (int stride = 1; stride <= PQ_MR; stride++)
        for (int rows = 1; rows <= stride; rows++)
            for (int n = pairs ? 2 : 1; n <= UNITS; n += pairs ? 8 : 11) {
                for (int i = 0; i < PQ_MR * UNITS; i++)
                    a[i] = b[i] = random32();
                for (int i = 0; i < rows * n; i++) {
                    int r = i / n, unit = i % n;
                    int pair = (unit / 2 * stride + r) * 2 + unit % 2;
                    a[pairs ? pair : unit * stride + r] = from[i];
                }
                (pairs ? ops->e->interleave_pairs : ops->e->interleave)(b, stride, from, rows, n);
                CHECK(memcmp(a, b, sizeof a) == 0);
            }
}

static void interleave(void) {
    interleave_as(false);
}

static void interleave_pairs(void) {
    interleave_as(true);
}

static void quantize_edge_rows(void) {
    int8_t q[64];
    int32_t sums[2], total = 1;
    memset(f, 0, sizeof f);
    memset(q, 1, sizeof q);
    CHECK(ops->e->quantize(q, &total, sums, f, 64) == 0 && q[0] == 0 && q[63] == 0 && sums[1] == 0);
    for (int i = 0; i < 64; i++)
        f[i] = i == 5 ? 127.0f : (float)(i % 4) + 0.5f; /* ties go to the even code */
    CHECK(ops->e->quantize(q, &total, sums, f, 64) == 1.0f);
    CHECK(q[0] == 0 && q[1] == 2 && q[2] == 2 && q[3] == 4 && q[5] == 127);
    f[9] = -INFINITY;
    CHECK(isnan(ops->e->quantize(q, &total, sums, f, 64)) && q[5] == 0 && sums[0] == 0);
    f[9] = NAN;
    CHECK(isnan(ops->e->quantize(q, &total, sums, f, 64)));
}

static void bf16_conversions(void) {
    for (int n = 1; n < N; n += 37) {
        uint16_t a[N + GUARD];
        memset(a, 0xaa, sizeof a);
        hard_floats(f, n);
        f[0] = n % 2 ? NAN : INFINITY;
        ops->e->to_bf16(a, f, n);
        ops->e->from_bf16(u, a, n);
        for (int i = 0; i < n; i++)
            CHECK(a[i] == pq_f32_to_bf16(f[i]) && pq_f32_bits(u[i]) == (uint32_t)a[i] << 16);
        CHECK(a[n] == 0xaaaa);
    }
}

static void silu_mul(void) {
    enum { ROWS = 12, LDY = 40 };
    for (int n = 1; n <= PQ_NR; n++) {
        hard_floats(f, ROWS * PQ_NR);
        hard_floats(g, ROWS * PQ_NR);
        for (int i = 0; i < ROWS * LDY; i++)
            u[i] = v[i] = 7;
        pq_elementwise_c.silu_mul(u, LDY, f, g, ROWS, n);
        ops->e->silu_mul(v, LDY, f, g, ROWS, n);
        CHECK(memcmp(u, v, ROWS * LDY * sizeof *u) == 0);
        for (int i = 0; i < ROWS * LDY; i++) {
            int c = i % LDY, at = i / LDY * PQ_NR + c;
            if (c >= n) {
                CHECK(v[i] == 7);
                continue;
            }
            double silu = f[at] / (1 + exp(-(double)f[at])) * g[at];
            if (fabs(silu) > 1e-30 && fabs(silu) < 1e38)
                CHECK(fabs(v[i] - silu) <=
                      4e-7 * fabs(silu) + (f[at] < -87 ? 1e-35 * fabs(g[at]) : 0));
        }
    }
}

static void rope(void) {
    for (int half = 1; half <= 64; half++) {
        fill_floats(f, (size_t)half * 2, 3);
        memcpy(u, f, sizeof f);
        memcpy(v, f, sizeof f);
        for (int i = 0; i < half; i++) {
            g[i] = cosf((float)i);
            h[i] = sinf((float)i);
        }
        pq_elementwise_c.rope(u, g, h, half);
        ops->e->rope(v, g, h, half);
        CHECK(memcmp(u, v, sizeof u) == 0);
        CHECK(fabsf(v[0] * v[0] + v[half] * v[half] - f[0] * f[0] - f[half] * f[half]) < 1e-4f);
    }
}

static void finish(void) {
    enum { ROWS = 3, LDY = 40 };
    int32_t acc[ROWS * PQ_NR];
    float xscale[ROWS] = {0.37f, 0, 1e-3f};
    for (int n = 1; n <= PQ_NR; n++)
        for (int add = 0; add < 2; add++) {
            for (int i = 0; i < ROWS * PQ_NR; i++)
                acc[i] = (int32_t)random32();
            fill_floats(f, ROWS * PQ_NR, 1);
            fill_floats(g, PQ_NR, 1);
            fill_floats(h, ROWS * LDY, 1);
            memcpy(u, h, sizeof u);
            ops->e->finish_int(u, LDY, acc, ROWS, xscale, f, g, n, add);
            memcpy(v, h, sizeof v);
            ops->e->finish_fp(v, LDY, f, ROWS, g, n, add);
            for (int i = 0; i < ROWS * LDY; i++) {
                int r = i / LDY, c = i % LDY, a = r * PQ_NR + c;
                if (c >= n) {
                    CHECK(u[i] == h[i] && v[i] == h[i]);
                    continue;
                }
                float fp = f[a] + g[c], whole = (float)acc[a] * (xscale[r] * f[c]) + g[c];
                CHECK(v[i] == (add ? h[i] + fp : fp));
                CHECK(u[i] == (add ? h[i] + whole : whole));
            }
        }
}

static const int orders[] = {16,  32,   64,   128,  256,  320,  576,   768,
                             896, 1536, 4096, 4864, 6144, 8960, 12800, 18944};
enum { ORDERS = sizeof orders / sizeof *orders, MAX_ORDER = 18944 };

/* Both types and directions against plain C, whose own sums test_hadamard holds against signs. */
static void hadamard(void) {
    static float a[MAX_ORDER + GUARD], b[MAX_ORDER + GUARD], e[MAX_ORDER + GUARD];
    static double c[MAX_ORDER + GUARD], d[MAX_ORDER + GUARD];
    for (int o = 0; o < ORDERS; o++)
        for (int transposed = 0; transposed < 2; transposed++) {
            struct pq_hadamard plan;
            struct pq_err err;
            size_t n = (size_t)orders[o] + GUARD;
            CHECK_OK(pq_hadamard_open(&plan, orders[o], &err));
            fill_floats(a, n, 1);
            for (int i = 0; i < 5; i++)
                a[random32() % (uint32_t)orders[o]] = i % 2 ? 3e4f : -1e-40f;
            memcpy(b, a, n * sizeof *b);
            memcpy(e, a, n * sizeof *e);
            for (size_t i = 0; i < n; i++)
                c[i] = d[i] = a[i];
            pq_elementwise_c.hadamard(a, a, &plan, transposed);
            ops->e->hadamard(e, b, &plan, transposed);
            pq_elementwise_c.hadamard64(c, c, &plan, transposed);
            ops->e->hadamard64(d, d, &plan, transposed);
            pq_hadamard_close(&plan);
            if (memcmp(a, e, n * sizeof *a) || memcmp(c, d, n * sizeof *c))
                FAIL("order %d%s differs from plain C", orders[o], transposed ? " transposed" : "");
        }
}

int main(void) {
    x = aligned_alloc(64, (size_t)MAX_UNITS * PQ_MR * 4);
    w = aligned_alloc(64, (size_t)MAX_UNITS * PQ_NR * 4);
    mults = aligned_alloc(64, (size_t)MAX_UNITS * 16);
    printf("# best ISA: %s\n", pq_isa_name(pq_isa_best()));
    for (enum pq_isa isa = PQ_ISA_C; isa < PQ_ISA_COUNT; isa++) {
        if (!isa_is_tried(isa))
            continue;
        ops = pq_ops_get(isa);
        random_state = 20251224;
        char name[64];
#define KERNEL(test)                                                                               \
    do {                                                                                           \
        test();                                                                                    \
        snprintf(name, sizeof name, "%s %s", #test, pq_isa_name(ops->isa));                        \
        tap_report(name);                                                                          \
    } while (0)
        KERNEL(tile_i8);
        KERNEL(tile_i4);
        if (ops->tile_unpack) {
            KERNEL(tile_unpack);
            KERNEL(i4_equals_unpacked);
        }
        KERNEL(tile_bf16);
        KERNEL(tile_bf16_rows_agree);
        KERNEL(tile_f32);
        KERNEL(rmsnorm);
        KERNEL(quantize);
        KERNEL(interleave);
        KERNEL(interleave_pairs);
        KERNEL(quantize_edge_rows);
        KERNEL(bf16_conversions);
        KERNEL(silu_mul);
        KERNEL(rope);
        KERNEL(hadamard);
        KERNEL(finish);
    }
    free(x);
    free(w);
    free(mults);
    return tap_done();
}
