/* Packing and the product together, against the definition in double precision or int64: every
 * kind, sizes that fit nothing, several products of one input, threads. */
#include "cpu/pack.h"
#include "base/half.h"
#include "isas.h"
#include "tap.h"

#include <math.h>
#include <string.h>

/* M: three bands of rows, which are three of three threads and two of four. */
enum { M = 293, N = 77, K = 100, GROUPS = (K + 31) / 32 };

static struct pq_err err;
static float x[M][K], scales[N], bias[N], y[M][N + 3], base[M][N + 3];
static int codes[N][K], mult[N][GROUPS];
static uint32_t state = 1;

static float uniform(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) * 0x1p-23f - 1.0f;
}

static void fill(bool four) {
    for (int m = 0; m < M; m++)
        for (int k = 0; k < K; k++)
            x[m][k] = m == 3 ? 0.0f : 5 * uniform();
    for (int n = 0; n < N; n++) {
        scales[n] = 0.01f + 0.01f * fabsf(uniform());
        bias[n] = uniform();
        for (int g = 0; g < GROUPS; g++)
            mult[n][g] = 1 + (n * 7 + g * 5) % 15;
        for (int k = 0; k < K; k++)
            codes[n][k] = four ? (int)floorf(8 * uniform()) : (int)floorf(127.9f * uniform());
    }
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N + 3; n++)
            base[m][n] = uniform();
}

/* Row n of the checkpoint's tensor. */
static const void *stored_row(enum pq_kind kind, int n) {
    static union {
        int8_t i8[K];
        uint8_t i4[(K + 1) / 2];
        uint16_t bf16[K];
        float f32[K];
    } row;
    memset(&row, 0, sizeof row);
    for (int k = 0; k < K; k++)
        if (kind == PQ_KIND_I8)
            row.i8[k] = (int8_t)codes[n][k];
        else if (kind == PQ_KIND_I4)
            row.i4[k / 2] |= (uint8_t)((codes[n][k] + 8) << (k % 2 * 4));
        else if (kind == PQ_KIND_BF16)
            row.bf16[k] = pq_f32_to_bf16((float)codes[n][k]);
        else
            row.f32[k] = (float)codes[n][k];
    return &row;
}

static const struct pq_ops *ops; /* of the ISA that all_sizes is at */

static void fill_panels(struct pq_linear *w, int group) {
    for (int n = 0; n < N; n++) {
        struct pq_panel panel = pq_linear_panel(w, n / PQ_NR);
        int c = n % PQ_NR;
        panel.bias[c] = bias[n];
        if (pq_takes_integers(w))
            panel.scale[c] = scales[n];
        pq_pack_row(w, panel.weights, c, stored_row(w->kind, n));
        uint8_t packed[(GROUPS + 1) / 2] = {0};
        for (int g = 0; g < GROUPS; g++)
            packed[g / 2] |= (uint8_t)(mult[n][g] << (g % 2 * 4));
        if (w->kind == PQ_KIND_I4)
            pq_pack_multipliers(w, panel.mults, c, group ? packed : NULL);
    }
}

/* The same weights twice, as two linears whose panels take turns. */
static void pack(struct pq_linear *gate, struct pq_linear *w, enum pq_kind kind, int group) {
    *gate = (struct pq_linear){0};
    pq_linear_shape(gate, ops, kind, N, K, group);
    *w = *gate;
    w->next = gate;
    pq_linears_alternate(gate, w);
    size_t room = pq_linear_room(gate);
    gate->panels = memset(aligned_alloc(64, room), 0, room);
    w->panels = gate->panels + gate->panel_bytes;
    fill_panels(gate, group);
    fill_panels(w, group);
}

/* What the product must be, and (floating kinds) how far from it rounding may lead. */
static double expected[M][N], slack_of[M][N];

static double input_as(enum pq_kind kind, int m, int k, float absmax) {
    if (kind == PQ_KIND_I8 || kind == PQ_KIND_I4)
        return absmax > 0 ? rint(x[m][k] * (127.0f / absmax)) : 0;
    return kind == PQ_KIND_BF16 ? pq_bf16_to_f32(pq_f32_to_bf16(x[m][k])) : x[m][k];
}

static void expect_row(enum pq_kind kind, int group, int m) {
    double v[K];
    float absmax = 0;
    for (int k = 0; k < K; k++)
        absmax = fmaxf(absmax, fabsf(x[m][k]));
    for (int k = 0; k < K; k++)
        v[k] = input_as(kind, m, k, absmax);
    for (int n = 0; n < N; n++) {
        double sum = 0, size = 0;
        for (int k = 0; k < K; k++) {
            double w = codes[n][k] * (kind == PQ_KIND_I4 && group ? mult[n][k / group] : 1);
            sum += v[k] * w;
            size += fabs(v[k] * w);
        }
        if (kind == PQ_KIND_I8 || kind == PQ_KIND_I4) {
            expected[m][n] = (float)(int32_t)sum * (absmax / 127.0f * scales[n]) + bias[n];
            slack_of[m][n] = 1e-6 * (1 + size) + 1e-6;
        } else {
            expected[m][n] = sum + bias[n];
            slack_of[m][n] = 1e-5 * (1 + size);
        }
    }
}

/* Rows of x in parts of tiles: part i is rows first[i] .. first[i + 1] - 1. */
struct parts {
    const struct pq_rows *rows;
    int n, first[M + 1];
    void *temp[8];
};

static void make_part(void *arg, int task, int thread) {
    const struct parts *parts = arg;
    int r = parts->first[task], n = parts->first[task + 1] - r;
    for (int i = 0; i < n; i++)
        pq_rows_set(parts->rows, r + i, i, x[r + i], K, parts->temp[thread]);
    pq_rows_put(parts->rows, r, n, parts->temp[thread]);
}

/* Whole tiles where m is even, else parts of one to five rows. */
static void make_rows(struct pq_pool *pool, const struct pq_rows *rows) {
    int m = rows->m;
    struct parts parts = {.rows = rows};
    for (int t = 0; t < pq_tiles(m); t++)
        for (int r = pq_first_row(m, t), n; r < pq_first_row(m, t + 1); r += n) {
            int left = pq_first_row(m, t + 1) - r, some = 1 + (r + m) % 5;
            n = m % 2 == 0 || left < some ? left : some;
            parts.first[parts.n++] = r;
        }
    parts.first[parts.n] = m;
    for (int t = 0; t < pq_pool_threads(pool); t++)
        parts.temp[t] = malloc(pq_rows_scratch(rows->kind, K));
    pq_pool_run(pool, parts.n, make_part, &parts);
    for (int t = 0; t < pq_pool_threads(pool); t++)
        free(parts.temp[t]);
}

static void product(enum pq_kind kind, int group, int m, int threads, bool add) {
    struct pq_pool *pool;
    CHECK_OK(pq_pool_open(&pool, threads, &err));
    struct pq_linear gate, w;
    pack(&gate, &w, kind, group);
    struct pq_inputs inputs;
    bool integers = pq_takes_integers(&w);
    struct pq_rows *rows = integers ? &inputs.integers : &inputs.fp;
    void *memory = aligned_alloc(64, pq_rows_bytes(kind, m, K));
    pq_rows_place(rows, ops, kind, m, K, memory);
    make_rows(pool, rows);
    void *scratch[8];
    for (int t = 0; t < threads; t++)
        scratch[t] = malloc(pq_multiply_scratch(K, true));
    float twice[M][N], gated[M][N];
    memcpy(y, base, sizeof y);
    struct pq_product products[] = {
        {.linear = &w, .y = y[0], .ldy = N + 3, .add = add},
        {.linear = &w, .y = twice[0], .ldy = N},
        {.linear = &w, .gate = &gate, .y = gated[0], .ldy = N},
    };
    pq_multiply(pool, ops, &inputs, products, 3, scratch);
    for (int r = 0; r < M; r++)
        for (int n = 0; n < N + 3; n++) {
            double slack = 0, want = base[r][n];
            if (r < m && n < N) {
                want = expected[r][n];
                slack = slack_of[r][n];
                if (fabs(twice[r][n] - want) > slack)
                    FAIL("kind %d second product %d %d: %g, not %g", kind, r, n, twice[r][n], want);
                double v = twice[r][n], silu = v / (1 + exp(-v)) * v;
                if (fabs(gated[r][n] - silu) > 1e-6 * fabs(silu) + 1e-30)
                    FAIL("kind %d gated %d %d: %g, not %g", kind, r, n, gated[r][n], silu);
                want += add ? base[r][n] : 0;
            }
            if (!(fabs(y[r][n] - want) <= slack))
                FAIL("%s kind %d m %d threads %d: y[%d][%d] = %g, not %g", pq_isa_name(ops->isa),
                     kind, m, threads, r, n, y[r][n], want);
        }
    for (int t = 0; t < threads; t++)
        free(scratch[t]);
    free(memory);
    free(gate.panels);
    pq_pool_close(pool);
}

static void all_sizes(enum pq_kind kind, int group) {
    static const int ms[] = {1, 2, 4, 5, 12, 13, 29, M};
    fill(kind == PQ_KIND_I4);
    for (int m = 0; m < M; m++)
        expect_row(kind, group, m);
    for (enum pq_isa isa = PQ_ISA_C; isa < PQ_ISA_COUNT; isa++) {
        if (!isa_is_tried(isa))
            continue;
        ops = pq_ops_get(isa);
        for (int i = 0; i < 8; i++)
            for (int threads = 1; threads <= 4; threads++)
                product(kind, group, ms[i], threads, i % 2);
    }
}

static void test_int8(void) {
    all_sizes(PQ_KIND_I8, 0);
}

static void test_int4_group_32(void) {
    all_sizes(PQ_KIND_I4, 32);
}

static void test_int4_group_256(void) {
    all_sizes(PQ_KIND_I4, 256);
}

static void test_int4_channel(void) {
    all_sizes(PQ_KIND_I4, PQ_GROUP_CHANNEL);
}

static void test_bf16(void) {
    all_sizes(PQ_KIND_BF16, 0);
}

static void test_f32(void) {
    all_sizes(PQ_KIND_F32, 0);
}

/* What a 4-bit weight costs: 4 bits, a multiplier's 4 bits for every 32, and the row's scale. */
static void test_bytes(void) {
    struct pq_linear w = {0};
    pq_linear_shape(&w, pq_ops_get(PQ_ISA_C), PQ_KIND_I4, 6144, 1536, 32);
    CHECK(pq_linear_bytes(&w) == 6144ul * 1536 * 33 / 64 + 6144 * 4);
    pq_linear_shape(&w, pq_ops_get(PQ_ISA_C), PQ_KIND_I8, 6144, 1536, 0);
    CHECK(pq_linear_bytes(&w) == 6144ul * 1536 + 6144 * 4);
    pq_linear_shape(&w, pq_ops_get(PQ_ISA_C), PQ_KIND_BF16, 6144, 1536, 0);
    CHECK(pq_linear_bytes(&w) == 6144ul * 1536 * 2);
}

int main(void) {
    RUN(test_int8);
    RUN(test_int4_group_32);
    RUN(test_int4_group_256);
    RUN(test_int4_channel);
    RUN(test_bf16);
    RUN(test_f32);
    RUN(test_bytes);
    return tap_done();
}
