/* Processors without BF16 products: a unit's two values are widened to FP32. */
#include "cpu/arm/fp.h"
#include "cpu/kernels.h"

INLINE float32x4_t low(uint32x4_t pair) {
    return vreinterpretq_f32_u32(vshlq_n_u32(pair, 16));
}

INLINE float32x4_t high(uint32x4_t pair) {
    return vreinterpretq_f32_u32(vandq_u32(pair, vdupq_n_u32(0xffff0000)));
}

INLINE void tile(const int rows, const int vecs, float *acc, const int32_t *x, const uint8_t *w,
                 bool add, int units, int stride) {
    float32x4_t sum[PQ_FP_ROWS][PQ_FP_VECS];
    pq_begin_sums(sum, acc, add, rows, vecs);
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        uint32x4_t xs = vreinterpretq_u32_s32(pq_units4(x, rows));
        float32x4_t xl = low(xs), xh = high(xs);
        UNROLL
        for (int c = 0; c < vecs; c++) {
            uint32x4_t pair = vreinterpretq_u32_u8(vld1q_u8(w + 16 * c));
            float32x4_t wl = low(pair), wh = high(pair);
            UNROLL
            for (int r = 0; r < rows; r++) {
                sum[r][c] = vfmaq_f32(sum[r][c], wl, pq_lane(xl, r));
                sum[r][c] = vfmaq_f32(sum[r][c], wh, pq_lane(xh, r));
            }
        }
    }
    pq_store_sums(acc, sum, rows, vecs);
}

void pq_tile_bf16_neon(float *acc, int rows, bool add, const void *x, const void *w, int units,
                       struct pq_ahead ahead) {
    (void)ahead;
    TILE_FP(tile, acc, rows, x, w, add, units)
}

double pq_peak_bf16_neon(int rounds) {
    float32x4_t sum[24];
    UNROLL
    for (int i = 0; i < 24; i++)
        sum[i] = vdupq_n_f32(0);
    float32x4_t a = vdupq_n_f32(0.5f);
    for (int r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 24; i++) {
            sum[i] = vfmaq_f32(a, sum[i], a);
            __asm__ volatile("" : "+w"(sum[i])); /* or one of these equal sums would do for all */
        }
    }
    return 2.0 * rounds * 24 * 4;
}
