/* sdot adds the four products of a unit of four outputs and a row's unit, which is one lane: codes
 * are made signed by flipping their upper bit, once for all rows. */
#include "cpu/arm/dot.h"
#include "cpu/kernels.h"

INLINE void tile(const int rows, const int vecs, int32_t *acc, const int32_t *x, const uint8_t *w,
                 int units) {
    int32x4_t sum[PQ_MR][8];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            sum[r][c] = vdupq_n_s32(0);
    }
    for (int i = 0; i < units; i++, x += rows, w += PQ_NR * 4) {
        int32x4_t xs[PQ_QUADS];
        pq_units(xs, x, rows);
        UNROLL
        for (int c = 0; c < vecs; c++) {
            uint8x16_t flipped = veorq_u8(vld1q_u8(w + 16 * c), vdupq_n_u8(128));
            UNROLL
            for (int r = 0; r < rows; r++)
                sum[r][c] = pq_dot(sum[r][c], vreinterpretq_s8_u8(flipped), xs[r / 4], r);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            vst1q_s32(acc + r * PQ_NR + 4 * c, sum[r][c]);
    }
}

void pq_tile_i8_dotprod(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                        int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    (void)ends;
    (void)ahead;
    (void)start; /* the sums are over codes from the beginning */
    switch (rows) {
        SHAPE(1, 8, tile, acc, x, w, units)
        SHAPE(2, 8, tile, acc, x, w, units)
        SHAPE(3, 8, tile, acc, x, w, units)
        SHAPE(4, 4, tile, acc, x, w, units)
        SHAPE(5, 4, tile, acc, x, w, units)
        SHAPE(6, 4, tile, acc, x, w, units)
        SHAPE(7, 2, tile, acc, x, w, units)
        SHAPE(8, 2, tile, acc, x, w, units)
        SHAPE(9, 2, tile, acc, x, w, units)
        SHAPE(10, 2, tile, acc, x, w, units)
        SHAPE(11, 2, tile, acc, x, w, units)
        SHAPE(12, 2, tile, acc, x, w, units)
    }
}

double pq_peak_i8_dotprod(int rounds) {
    int32x4_t sum[24];
    UNROLL
    for (int i = 0; i < 24; i++)
        sum[i] = vdupq_n_s32(0);
    int8x16_t a = vdupq_n_s8(1);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 24; i++) {
            sum[i] = vdotq_s32(sum[i], a, a);
            __asm__ volatile("" : "+w"(sum[i])); /* or the rounds would be folded into one */
        }
    }
    return 2.0 * rounds * 24 * 16;
}
