/* bfmmla multiplies two outputs' and two rows' units i and i + 1.  It adds a unit's two products to
 * each other, then to the sum, unit after unit: rows that share an instruction do not meet. */
#include "cpu/arm/pairs.h"
#include "cpu/kernels.h"

#if !defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#error "build this file with -march=armv8.2-a+bf16"
#endif

enum { VECS = 4 }; /* most of a shape */

/* One pair of units.  A sum: [output][row of the pair]. */
INLINE void step(const int rows, const int vecs, float32x4_t sum[PQ_PAIRS][2 * VECS],
                 const int32_t *x, const uint8_t *w) {
    bfloat16x8_t ws[2 * VECS];
    UNROLL
    for (int c = 0; c < 2 * vecs; c++)
        ws[c] = vreinterpretq_bf16_u8(vld1q_u8(w + 16 * c));
    UNROLL
    for (int p = 0; p < (rows + 1) / 2; p++) {
        int32x4_t xp = pq_row_pair(x + 4 * p, rows - 2 * p);
        UNROLL
        for (int c = 0; c < 2 * vecs; c++)
            sum[p][c] = vbfmmlaq_f32(sum[p][c], ws[c], vreinterpretq_bf16_s32(xp));
    }
}

INLINE void begin_sums(float32x4_t sum[PQ_PAIRS][2 * VECS], const float *acc, bool add,
                       const int rows, const int vecs) {
    UNROLL
    for (int p = 0; p < (rows + 1) / 2; p++) {
        UNROLL
        for (int c = 0; c < vecs; c++) {
            if (!add) {
                sum[p][2 * c] = sum[p][2 * c + 1] = vdupq_n_f32(0);
                continue;
            }
            const float *at = acc + 2 * p * PQ_NR + 4 * c;
            float32x4_t a = vld1q_f32(at), b = 2 * p + 1 < rows ? vld1q_f32(at + PQ_NR) : a;
            sum[p][2 * c] = vzip1q_f32(a, b);
            sum[p][2 * c + 1] = vzip2q_f32(a, b);
        }
    }
}

INLINE void tile(const int rows, const int vecs, float *acc, const int32_t *x, const uint8_t *w,
                 bool add, int units) {
    float32x4_t sum[PQ_PAIRS][2 * VECS];
    begin_sums(sum, acc, add, rows, vecs);
    for (int i = 0; i < units; i += 2, x += 2 * rows, w += 2 * PQ_NR * 4)
        step(rows, vecs, sum, x, w);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++) {
            float32x4_t a = sum[r / 2][2 * c], b = sum[r / 2][2 * c + 1];
            vst1q_f32(acc + r * PQ_NR + 4 * c, r % 2 ? vuzp2q_f32(a, b) : vuzp1q_f32(a, b));
        }
    }
}

void pq_tile_bf16_i8mm(float *acc, int rows, bool add, const void *x, const void *w, int units,
                       struct pq_ahead ahead) {
    (void)ahead;
    TILE_PAIRS(rows, tile, acc, x, w, add, units)
}

double pq_peak_bf16_i8mm(int rounds) {
    float32x4_t sum[24];
    UNROLL
    for (int i = 0; i < 24; i++)
        sum[i] = vdupq_n_f32(0);
    bfloat16x8_t a = vreinterpretq_bf16_u16(vdupq_n_u16(0));
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 24; i++) {
            sum[i] = vbfmmlaq_f32(sum[i], a, a);
            __asm__ volatile("" : "+w"(sum[i])); /* or the rounds would be folded into one */
        }
    }
    return 2.0 * rounds * 24 * 16;
}
