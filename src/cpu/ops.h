/* ops.h - every kernel: its formula, its operands' layout, and the table that holds one per ISA.
 *
 * Two layouts, made of 4-byte units.  A unit holds 4 int8, 2 bf16 or 1 f32 values of consecutive
 * inputs, so that one multiply-add instruction of each type consumes one unit a lane:
 *
 *   panel  w [units][PQ_NR]     the weights of PQ_NR outputs; lanes run over outputs
 *   tile   x [units][rows]      1 <= rows <= PQ_MR activation rows; a unit is broadcast
 *
 * Instructions that multiply pairs of units (struct pq_ops) take int8 and bf16 ones in pairs, too;
 * units are even then:
 *
 *   panel  w [units / 2][PQ_NR][2]
 *   tile   x [units / 2][rows][2]
 *
 * A 12 x 32 tile is 24 AVX-512 accumulators, two panel loads and a broadcast: all 32 registers
 * but a few, and enough independent sums to hide the latency of the multiply-add.
 *
 * A tile kernel may fetch what `ahead` says into the cache while it multiplies: weights that will
 * be needed next, of the next panel or, where rows are few, of its own; and the rows y
 * [rows][PQ_NR], ldy apart, that its sums will end in, to be written, if `ends` is not NULL and the
 * kernels say so (fetch_ends).  It never reads them.
 *
 * What tile kernels sum in acc [rows][PQ_NR] is the same for every ISA; integer sums are exact,
 * hence equal bit for bit.
 *
 * Elementwise kernels are one plain C source (elementwise.c) compiled for each ISA; their sums run
 * in a fixed order of lanes without contraction, so they too are equal bit for bit. */
#ifndef PQ_CPU_OPS_H
#define PQ_CPU_OPS_H

#include "cpu/hadamard.h"

enum {
    PQ_NR = 32,    /* outputs of a panel */
    PQ_MR = 12,    /* most rows of a tile */
    PQ_BLOCK = 32, /* inputs whose activation sum is kept; every k is padded to a multiple */
    PQ_FEW = 4,    /* rows of a tile that waits for memory throughout, at most */
};

struct pq_ahead { /* see above */
    const void *from;
    size_t bytes;
    bool second; /* to the second-level cache alone */
};

struct pq_ends { /* see above */
    const float *y;
    size_t ldy;
};

/* How far ahead memory that is read once and in order is best fetched.  Not a multiple of 4096: a
 * line would come to the set of the first-level cache that is being read. */
enum { PQ_FETCH_DISTANCE = 6144 }; /* bytes */

/* acc[r][c] = sum_j x[r][j] * (w[c][j] - 128), x in -127..127, w uint8 = code + 128, j < 4 * units.
 * start[r] is what pq_start_fn says of the row.  Exact while |sum| < 2^31: k <= 132000. */
typedef void pq_tile_i8_fn(int32_t *acc, int rows, const int32_t *start, const void *x,
                           const void *w, int units, struct pq_ahead ahead,
                           const struct pq_ends *ends);

/* What the sums of a row begin with, because tile_i8 multiplies something else than codes, of the
 * row's codes x [n] and their sum: the same for every output. */
typedef int32_t pq_start_fn(const int8_t *x, int n, int32_t sum);

/* One 4-bit panel.
 *   codes [k/8][PQ_NR][4] bytes: byte j of lane c = (code[8i+j] + 8) | (code[8i+4+j] + 8) << 4
 *   mults [groups][16] bytes: byte c = multiplier of output c | that of output c + 16 << 4
 *   group of block b (32 inputs) = b >> shift */
struct pq_panel4 {
    const uint8_t *codes, *mults;
    int shift;
};

/* acc[r][c] = sum_b mult[c][b] * sum_{j in block b} x[r][j] * code[c][j]
 * x in -127..127 as a tile, starts [blocks][rows] = block_start (struct pq_ops) times the sum of x
 * over each block, of PQ_BLOCK inputs. */
typedef void pq_tile_i4_fn(int32_t *acc, int rows, const void *x, const int32_t *starts,
                           const struct pq_panel4 *w, int blocks, struct pq_ahead ahead);

/* out, the panel that pq_tile_i8_fn takes, = code * mult + 128. */
typedef void pq_unpack_i4_fn(uint8_t *out, const struct pq_panel4 *w, int blocks);

/* The first tile past a 4-bit panel: acc as pq_tile_i8_fn sums it and, if `keep`, out as above for
 * the tiles that follow; if not, out is room to work in. */
typedef void pq_tile_unpack_fn(int32_t *acc, int rows, const int32_t *start, const void *x,
                               uint8_t *out, bool keep, const struct pq_panel4 *w, int blocks,
                               struct pq_ahead ahead, const struct pq_ends *ends);

/* acc[r][c] = sum_j x[r][j] * w[c][j] in FP32, added to acc where `add`: products of bf16 or f32
 * units.
 * One chain of additions per element in order of j, so a row's result does not depend on the
 * other rows.  bf16: relative to the exact sum of |x w|, error < 2^-22 * k on every ISA. */
typedef void pq_tile_fp_fn(float *acc, int rows, bool add, const void *x, const void *w, int units,
                           struct pq_ahead ahead);

struct pq_elementwise {
    /* y[i] = x[i] / sqrt(mean(x^2) + eps) * gamma[i].  Zhang & Sennrich, arXiv:1910.07467 eq. 4.
     * y may be x. */
    void (*rmsnorm)(float *y, const float *x, const float *gamma, int n, float eps);
    /* q[i] = round(x[i] / scale) in -127..127, scale = absmax / 127, ties to even; a zero row has
     * scale 0.  *sum = sum of q; blocks[b], unless blocks is NULL, = sum of q over block b; returns
     * the scale.  n is a multiple of PQ_BLOCK.  A row that holds NaN or infinity gives scale NaN
     * and zeros. */
    float (*quantize)(int8_t *q, int32_t *sum, int32_t *blocks, const float *x, int n);
    /* Units of rows [rows][n] to their places in a tile of `stride` rows, to [n][stride]:
     * to[i][r] = from[r][i] for r < rows <= stride. */
    void (*interleave)(uint32_t *to, int stride, const uint32_t *from, int rows, int n);
    /* The same in pairs, n even, to [n / 2][stride][2]. */
    void (*interleave_pairs)(uint32_t *to, int stride, const uint32_t *from, int rows, int n);
    /* y[i] = bf16(x[i]), ties to even. */
    void (*to_bf16)(uint16_t *y, const float *x, int n);
    /* y[i] = x[i] exactly. */
    void (*from_bf16)(float *y, const uint16_t *x, int n);
    /* Rotate the pairs (x[i], x[i + half]) by the angles of cos, sin [half].
     * Su et al., arXiv:2104.09864 eq. 34, with the halves of Llama's layout. */
    void (*rope)(float *x, const float *cos, const float *sin, int half);
    /* y = x [h->n] times H, or times its transpose: orthonormal.  y may be x. */
    void (*hadamard)(float *y, const float *x, const struct pq_hadamard *h, bool transposed);
    void (*hadamard64)(double *y, const double *x, const struct pq_hadamard *h, bool transposed);
    /* The end of an integer tile: acc, y [rows][..], rows of y ldy apart, columns c < n <= PQ_NR
     *   y[r][c] = (float)acc[r][c] * (xscale[r] * wscale[c]) + bias[c]
     * added to y where `add`.  acc, wscale and bias have PQ_NR columns. */
    void (*finish_int)(float *y, size_t ldy, const int32_t *acc, int rows, const float *xscale,
                       const float *wscale, const float *bias, int n, bool add);
    /* The end of an FP tile: y[r][c] = acc[r][c] + bias[c], the same way. */
    void (*finish_fp)(float *y, size_t ldy, const float *acc, int rows, const float *bias, int n,
                      bool add);
    /* y[r][c] = silu(gate[r][c]) * up[r][c], silu(g) = g / (1 + exp(-g)); relative error < 4e-7
     * for g > -87; below, silu is between 0 and 2e-38 g.
     * y as above; gate and up have PQ_NR columns. */
    void (*silu_mul)(float *y, size_t ldy, const float *gate, const float *up, int rows, int n);
};

/* One after the other, the columns of a block of weights are rounded to codes, and the columns that
 * follow make up for the error: GPTQ and coordinate descent (src/quant/gptq.h), whose inner loops
 * these are.  PQ_NR rows of weights at a time, one a lane; everything below but h and u is
 * [n][PQ_NR] unless it says otherwise, codes are whole numbers in lo..hi. */
struct pq_rounding {
    /* For t = n-1 .. 0:  q[t] = round(v[t] / step[t]), e[t] = w[t] - step[t] q[t], and
     * v[s] += u[t][s] e[t] for all s < t.   u [n][n] */
    void (*feedback)(int n, const float *u, float *v, const float *w, const float *step, float lo,
                     float hi, float *q, float *e);
    /* Move from the weights was[] * q[t] to is[] * q'[t], was and is [PQ_NR], so that the error
     * e^T H e of a row falls: for t = 0 .. n-1 with  x = was q[t]
     *   q'[t] = round((x + r[t] / h[t][t]) / is),  d[t] = is q'[t] - x,
     *   gain += 2 d[t] r[t] - d[t]^2 h[t][t],  r[s] -= h[t][s] d[t] for all s
     * where r = H e.  In a lane whose step stays the same a move that does not gain is not made.
     * h [n] rows, ldh apart; gain [PQ_NR] out; r is changed; q and `to` may be the same. */
    void (*descend)(int n, const float *h, size_t ldh, float *r, const float *q, const float *was,
                    const float *is, float lo, float hi, float *to, float *d, float *gain);
    /* r[s] -= sum_t h[t][s] d[t]  for s < m, h [n] rows, ldh apart; r [m], d [n] */
    void (*settle)(int n, int m, const float *h, size_t ldh, const float *d, float *r);
};

/* What attention does between its products (attend.c), equal bit for bit on every ISA, too.
 *   sums  acc [panels][rows][PQ_NR], tiles of sums one after the other */
struct pq_attend {
    /* The greatest of a row's first `valid` scores, s [..][PQ_NR], `stride` apart; -inf of none.
     * Apart from the rest, so that all rows of a tile are under way at once. */
    float (*greatest)(const float *s, size_t stride, int valid);
    /* One row of the online softmax (Milakov & Gimelshein, arXiv:1805.02867 algorithm 3) over n
     * more scores, n a multiple of PQ_NR, of which the first `valid` count; most is the greatest:
     *   p[i] = 2^(scale * s[i] - max'), 0 from valid on;  max' = max(max, scale * most)
     *   row[i] = p[i] * weights[i], rounded to BF16 or as it is; weights NULL: 1
     *   sum[i % 16] = sum[i % 16] * alpha + p[i]
     * returns alpha = 2^(max - max').  A p below 2^-126 is off by up to 2^-127, one below 2^-127 is
     * 0. */
    float (*softmax_bf16)(void *row, const float *s, size_t stride, const float *weights, int n,
                          int valid, float scale, float most, float *max, float *sum);
    float (*softmax_f32)(void *row, const float *s, size_t stride, const float *weights, int n,
                         int valid, float scale, float most, float *max, float *sum);
    /* A panel of int8 codes [units][PQ_NR][4] as BF16 (in pairs or not) or FP32 values, exactly. */
    void (*widen_bf16)(void *panel, const void *codes, int units);
    void (*widen_bf16_pairs)(void *panel, const void *codes, int units);
    void (*widen_f32)(void *panel, const void *codes, int units);
    /* acc[p][r][c] *= a[r] */
    void (*rescale)(float *acc, const float *a, int rows, int panels);
    /* One row to its place, sums [panels], `stride` apart: y[p * PQ_NR + c] = sums[p][c] * a */
    void (*finish)(float *y, const float *sums, size_t stride, float a, int panels);
    /* acc[p][r][c] = acc[p][r][c] * a[r] + more[p][r][c] * b[r] */
    void (*merge)(float *acc, const float *a, const float *more, const float *b, int rows,
                  int panels);
};

struct pq_ops {
    enum pq_isa isa;
    bool pairs; /* tiles, and panels in 8 bits and BF16, come in pairs of units; not tile_f32's */
    pq_tile_i8_fn *tile_i8;
    pq_start_fn *start; /* of tile_i8 and tile_unpack */
    pq_tile_i4_fn *tile_i4;
    /* Codes + 8 are what tile_i4 multiplies; a block's sums begin with this times its activations'
     * sum, in the registers' own form. */
    int32_t block_start;
    /* Up to direct_rows rows, 4-bit panels meet tile_i4; more meet tile_i8 after tile_unpack has
     * taken the first tile, which is NULL where it is always tile_i4 (INT_MAX). */
    int direct_rows;
    pq_tile_unpack_fn *tile_unpack;
    bool fetch_ends; /* tile_i8 and tile_unpack do, of more than PQ_FEW rows */
    pq_tile_fp_fn *tile_bf16, *tile_f32;
    const struct pq_elementwise *e;
    const struct pq_rounding *rounding;
    const struct pq_attend *attend;
    /* Multiply-adds from registers for `rounds` rounds; returns the operations done, two each. */
    double (*peak_i8)(int rounds);
    double (*peak_bf16)(int rounds);
};

/* The best kernels at or below `isa` that this processor and operating system run. */
const struct pq_ops *pq_ops_get(enum pq_isa isa);

#endif
