/* usmmla multiplies two outputs' unsigned bytes by two rows' signed ones, eight inputs at once:
 * half the instructions of dot products. */
#include "cpu/arm/pairs.h"
#include "cpu/kernels.h"

#if !defined(__ARM_FEATURE_MATMUL_INT8)
#error "build this file with -march=armv8.2-a+i8mm"
#endif

enum { VECS = 4 }; /* most of a shape */

/* One pair of units.  A sum: [output][row of the pair]. */
INLINE void step(const int rows, const int vecs, int32x4_t sum[PQ_PAIRS][2 * VECS],
                 const int32_t *x, const uint8_t *w) {
    uint8x16_t ws[2 * VECS];
    UNROLL
    for (int c = 0; c < 2 * vecs; c++)
        ws[c] = vld1q_u8(w + 16 * c);
    UNROLL
    for (int p = 0; p < (rows + 1) / 2; p++) {
        int32x4_t xp = pq_row_pair(x + 4 * p, rows - 2 * p);
        UNROLL
        for (int c = 0; c < 2 * vecs; c++)
            sum[p][c] = vusmmlaq_s32(sum[p][c], ws[c], vreinterpretq_s8_s32(xp));
    }
}

INLINE void tile(const int rows, const int vecs, int32_t *acc, const int32_t *x, const uint8_t *w,
                 const int32_t *start, int units) {
    int32x4_t sum[PQ_PAIRS][2 * VECS];
    UNROLL
    for (int p = 0; p < (rows + 1) / 2; p++) {
        int32x2_t two = vdup_n_s32(0);
        two = vset_lane_s32(start[2 * p], two, 0);
        if (2 * p + 1 < rows)
            two = vset_lane_s32(start[2 * p + 1], two, 1);
        UNROLL
        for (int c = 0; c < 2 * vecs; c++)
            sum[p][c] = vcombine_s32(two, two);
    }
    for (int i = 0; i < units; i += 2, x += 2 * rows, w += 2 * PQ_NR * 4)
        step(rows, vecs, sum, x, w);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++) {
            int32x4_t a = sum[r / 2][2 * c], b = sum[r / 2][2 * c + 1];
            vst1q_s32(acc + r * PQ_NR + 4 * c, r % 2 ? vuzp2q_s32(a, b) : vuzp1q_s32(a, b));
        }
    }
}

void pq_tile_i8_i8mm(int32_t *acc, int rows, const int32_t *start, const void *x, const void *w,
                     int units, struct pq_ahead ahead, const struct pq_ends *ends) {
    (void)ends;
    (void)ahead;
    TILE_PAIRS(rows, tile, acc, x, w, start, units)
}

double pq_peak_i8_i8mm(int rounds) {
    int32x4_t sum[24];
    UNROLL
    for (int i = 0; i < 24; i++)
        sum[i] = vdupq_n_s32(0);
    int8x16_t a = vdupq_n_s8(1);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 24; i++) {
            sum[i] = vmmlaq_s32(sum[i], a, a);
            __asm__ volatile("" : "+w"(sum[i])); /* or the rounds would be folded into one */
        }
    }
    return 2.0 * rounds * 24 * 32;
}
