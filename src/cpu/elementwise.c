/* elementwise.c - what happens to activations between the products, compiled once for each ISA.
 *
 * Everything is written on the vectors of lanes.h, so every ISA returns the same bits.  The build
 * of this file with no ISA flags is the reference. */
#include "cpu/kernels.h"
#include "cpu/lanes.h"

#include <math.h>

/* exp(x) by 2^n * exp(r), |r| <= ln(2)/2, r in two parts (Cody & Waite), Taylor's series to r^7,
 * whose remainder is below 2^-26 relative.  Below -87.3 the result is 0, above 88.3 infinity. */
INLINE f32x16 exp16(f32x16 x) {
    i32x16 tiny = x < -87.3f;
    x = select(x > 88.7f, splat(88.7f), x);
    x = select(tiny, splat(0.0f), x);
    f32x16 shifted = x * 1.44269504f + ROUNDER;
    f32x16 n = shifted - ROUNDER;
    f32x16 r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    f32x16 p = splat(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    f32x16 power = (f32x16)(((i32x16)shifted << 23) + (127 << 23));
    return select(tiny, splat(0.0f), p * power);
}

static void rmsnorm(float *y, const float *x, const float *gamma, int n, float eps) {
    f32x16 sum = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        sum += load(x + i) * load(x + i);
    f32x16 tail = load_part(x + i, n - i);
    sum += tail * tail;
    float inverse = 1.0f / sqrtf(sum_lanes(sum) / (float)n + eps);
    for (i = 0; i + LANES <= n; i += LANES)
        store(y + i, load(x + i) * inverse * load(gamma + i));
    for (; i < n; i++)
        y[i] = x[i] * inverse * gamma[i];
}

static float quantize(int8_t *q, int32_t *blocks, const float *x, int n) {
    f32x16 most = {0};
    i32x16 odd = {0}; /* lanes that held NaN or infinity: an exponent of all ones */
    for (int i = 0; i < n; i += LANES) {
        f32x16 a = abs16(load(x + i));
        most = max16(a, most);
        odd |= (i32x16)a >= 0x7f800000;
    }
    float absmax = max_lanes(most);
    float inverse = 127.0f / absmax;
    bool finite = max_lanes((f32x16)(odd & 0x3f800000)) == 0.0f;
    /* A subnormal absmax would make the inverse infinite; such a row is zero for all purposes. */
    if (!finite || absmax < 1e-30f) {
        memset(q, 0, (size_t)n);
        memset(blocks, 0, (size_t)(n / PQ_BLOCK) * sizeof *blocks);
        return finite ? 0.0f : NAN;
    }
    for (int i = 0; i < n; i += PQ_BLOCK) {
        i32x16 sum = {0};
        for (int j = i; j < i + PQ_BLOCK; j += LANES) {
            i32x16 code = (i32x16)(load(x + j) * inverse + ROUNDER) - 0x4b400000;
            i8x16 narrow = __builtin_convertvector(code, i8x16);
            memcpy(q + j, &narrow, sizeof narrow);
            sum += code;
        }
        int32_t s[LANES], total = 0;
        memcpy(s, &sum, sizeof s);
        for (int j = 0; j < LANES; j++)
            total += s[j];
        blocks[i / PQ_BLOCK] = total;
    }
    return absmax / 127.0f;
}

INLINE u16x16 bf16_16(f32x16 x) {
    u32x16 u = (u32x16)x;
    u32x16 rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    u32x16 nan = (u32x16)((u & 0x7fffffff) > 0x7f800000);
    return __builtin_convertvector((rounded & ~nan) | (((u >> 16) | 0x40) & nan), u16x16);
}

static void to_bf16(uint16_t *y, const float *x, int n) {
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        u16x16 h = bf16_16(load(x + i));
        memcpy(y + i, &h, sizeof h);
    }
    if (i == n)
        return;
    u16x16 h = bf16_16(load_part(x + i, n - i));
    memcpy(y + i, &h, (size_t)(n - i) * sizeof *y);
}

static void from_bf16(float *y, const uint16_t *x, int n) {
    for (int i = 0; i < n; i++) {
        uint32_t u = (uint32_t)x[i] << 16;
        memcpy(y + i, &u, sizeof u);
    }
}

INLINE f32x16 silu16(f32x16 g) {
    return g / (1.0f + exp16(-g));
}

static void silu_mul(float *y, const float *gate, const float *up, int n) {
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        store(y + i, silu16(load(gate + i)) * load(up + i));
    f32x16 tail = silu16(load_part(gate + i, n - i)) * load_part(up + i, n - i);
    memcpy(y + i, &tail, (size_t)(n - i) * sizeof *y);
}

static void rope(float *x, const float *cos, const float *sin, int half) {
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

/* Rows times a Hadamard matrix: activations as they pass, weights once. */
#define REAL float
#define PASTE_REAL(name) name##_f32
#define HADAMARD hadamard
#include "cpu/hadamard_rows.h"
#undef REAL
#undef PASTE_REAL
#undef HADAMARD
#define REAL double
#define PASTE_REAL(name) name##_f64
#define HADAMARD hadamard64
#include "cpu/hadamard_rows.h"

/* The n < 16 columns at the end of a row.  Apart, or put would keep its vector in memory. */
static __attribute__((noinline)) void put_part(float *y, f32x16 v, int n, bool add) {
    if (add)
        v = load_part(y, n) + v;
    memcpy(y, &v, (size_t)n * sizeof *y);
}

/* 16 columns of a finished tile, or as many as there are. */
INLINE void put(float *y, f32x16 v, int n, bool add) {
    if (n < LANES)
        put_part(y, v, n, add);
    else
        store(y, add ? load(y) + v : v);
}

static void finish_int(float *y, size_t ldy, const int32_t *acc, int rows, const float *xscale,
                       const float *wscale, const float *bias, int n, bool add) {
    for (int c = 0; c < n; c += LANES) {
        f32x16 w = load(wscale + c), b = load(bias + c);
        for (int r = 0; r < rows; r++) {
            i32x16 sum;
            memcpy(&sum, acc + r * PQ_NR + c, sizeof sum);
            f32x16 v = __builtin_convertvector(sum, f32x16) * (xscale[r] * w) + b;
            put(y + (size_t)r * ldy + c, v, n - c, add);
        }
    }
}

static void finish_fp(float *y, size_t ldy, const float *acc, int rows, const float *bias, int n,
                      bool add) {
    for (int c = 0; c < n; c += LANES) {
        f32x16 b = load(bias + c);
        for (int r = 0; r < rows; r++)
            put(y + (size_t)r * ldy + c, load(acc + r * PQ_NR + c) + b, n - c, add);
    }
}

const struct pq_elementwise PQ_PASTE(pq_elementwise, PQ_ISA_SUFFIX) = {
    .rmsnorm = rmsnorm,
    .quantize = quantize,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .silu_mul = silu_mul,
    .rope = rope,
    .hadamard = hadamard,
    .hadamard64 = hadamard64,
    .finish_int = finish_int,
    .finish_fp = finish_fp,
};

/* Tiles of FP32, the reference precision: groups of rows whose sums the registers hold. */
#ifdef __AVX512F__
enum { F32_ROWS = 6 };
#else
enum { F32_ROWS = 4 };
#endif

INLINE void f32_rows(float *acc, const float *x, const float *w, int units, int stride, int rows) {
    f32x16 sum[F32_ROWS][2];
    for (int r = 0; r < rows; r++) {
        sum[r][0] = load(acc + r * PQ_NR);
        sum[r][1] = load(acc + r * PQ_NR + LANES);
    }
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR) {
        f32x16 w0 = load(w), w1 = load(w + LANES);
        for (int r = 0; r < rows; r++) {
            sum[r][0] += x[r] * w0;
            sum[r][1] += x[r] * w1;
        }
    }
    for (int r = 0; r < rows; r++) {
        store(acc + r * PQ_NR, sum[r][0]);
        store(acc + r * PQ_NR + LANES, sum[r][1]);
    }
}

void PQ_PASTE(pq_tile_f32, PQ_ISA_SUFFIX)(float *acc, int rows, const void *x, const void *w,
                                          int units, const void *ahead) {
    (void)ahead;
    int r = 0;
    for (; r + F32_ROWS <= rows; r += F32_ROWS)
        f32_rows(acc + r * PQ_NR, (const float *)x + r, w, units, rows, F32_ROWS);
    for (; r + 4 <= rows; r += 4)
        f32_rows(acc + r * PQ_NR, (const float *)x + r, w, units, rows, 4);
    for (; r < rows; r++)
        f32_rows(acc + r * PQ_NR, (const float *)x + r, w, units, rows, 1);
}
