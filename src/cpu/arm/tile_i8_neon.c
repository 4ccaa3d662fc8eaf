/* Processors without byte dot products: two products of signed bytes, |x| <= 127 and |code| <= 128,
 * fit 16 bits, so units are taken in pairs, and sadalp adds to 32 bits. */
#include "cpu/arm/units.h"
#include "cpu/kernels.h"

enum { ROWS = 4, VECS = 2 }; /* 16 sums, 4 weights, 2 activations, 2 products */

/* The codes of four outputs. */
INLINE int8x16_t codes(const uint8_t *w) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w), vdupq_n_u8(128)));
}

/* sum[0]: two partial sums of outputs 0 and 1 each; sum[1]: of outputs 2 and 3. */
INLINE void add_products(int32x4_t sum[2], int8x16_t w0, int8x16_t x0, int8x16_t w1, int8x16_t x1) {
    int16x8_t low = vmull_s8(vget_low_s8(w0), vget_low_s8(x0));
    int16x8_t high = vmull_high_s8(w0, x0);
    sum[0] = vpadalq_s16(sum[0], vmlal_s8(low, vget_low_s8(w1), vget_low_s8(x1)));
    sum[1] = vpadalq_s16(sum[1], vmlal_high_s8(high, w1, x1));
}

/* One pair of units, or with `both` false one unit and zeros. */
INLINE void step(const int rows, const bool both, int32x4_t sum[ROWS][VECS][2], const int32_t *x,
                 int stride, const uint8_t *w) {
    const int8x16_t zero = vdupq_n_s8(0);
    int32x4_t x0 = pq_units4(x, rows), x1 = both ? pq_units4(x + stride, rows) : vdupq_n_s32(0);
    int8x16_t w0[VECS], w1[VECS];
    UNROLL
    for (int c = 0; c < VECS; c++) {
        w0[c] = codes(w + 16 * c);
        w1[c] = both ? codes(w + PQ_NR * 4 + 16 * c) : zero;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        int8x16_t xr0 = pq_spread(x0, r), xr1 = pq_spread(x1, r);
        UNROLL
        for (int c = 0; c < VECS; c++)
            add_products(sum[r][c], w0[c], xr0, w1[c], xr1);
    }
}

INLINE void tile(const int rows, int32_t *acc, const int32_t *x, const uint8_t *w, int units,
                 int stride) {
    int32x4_t sum[ROWS][VECS][2];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < VECS; c++)
            sum[r][c][0] = sum[r][c][1] = vdupq_n_s32(0);
    }
    int i = 0;
    for (; i + 2 <= units; i += 2, x += 2 * stride, w += 2 * PQ_NR * 4)
        step(rows, true, sum, x, stride, w);
    if (i < units)
        step(rows, false, sum, x, stride, w);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < VECS; c++)
            vst1q_s32(acc + r * PQ_NR + 4 * c, vpaddq_s32(sum[r][c][0], sum[r][c][1]));
    }
}

void pq_tile_i8_neon(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                     int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    (void)ends;
    (void)ahead;
    (void)start; /* the sums are over codes from the beginning */
    for (int c = 0; c < PQ_NR; c += 4 * VECS) {
        const uint8_t *wc = (const uint8_t *)w + 4 * c;
        for (int r = 0; r < rows; r += ROWS) {
            int32_t *at = acc + r * PQ_NR + c;
            const int32_t *xr = (const int32_t *)x + r;
            switch (rows - r) {
                ROWS_CASE(1, tile, at, xr, wc, units, rows)
                ROWS_CASE(2, tile, at, xr, wc, units, rows)
                ROWS_CASE(3, tile, at, xr, wc, units, rows)
            default:
                tile(ROWS, at, xr, wc, units, rows);
            }
        }
    }
}

double pq_peak_i8_neon(int rounds) {
    int32x4_t sum[12][2];
    UNROLL
    for (int i = 0; i < 12; i++)
        sum[i][0] = sum[i][1] = vdupq_n_s32(0);
    int8x16_t a = vdupq_n_s8(1);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 12; i++) {
            __asm__ volatile("" : "+w"(a)); /* or the product would be moved out of the loop */
            add_products(sum[i], a, a, a, a);
        }
    }
    UNROLL
    for (int i = 0; i < 12; i++)
        __asm__ volatile("" ::"w"(sum[i][0]), "w"(sum[i][1]));
    return 2.0 * rounds * 12 * 32;
}
