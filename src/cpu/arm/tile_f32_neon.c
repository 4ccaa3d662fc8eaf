/* The reference precision: products are rounded before they are added, as everywhere. */
#include "cpu/arm/fp.h"
#include "cpu/kernels.h"

INLINE void tile(const int rows, const int vecs, float *acc, const int32_t *x, const uint8_t *w,
                 bool add, int units, int stride) {
    float32x4_t sum[PQ_FP_ROWS][PQ_FP_VECS];
    pq_begin_sums(sum, acc, add, rows, vecs);
    for (int i = 0; i < units; i++, x += stride, w += PQ_NR * 4) {
        float32x4_t xs = vreinterpretq_f32_s32(pq_units4(x, rows));
        UNROLL
        for (int c = 0; c < vecs; c++) {
            float32x4_t wc = vreinterpretq_f32_u8(vld1q_u8(w + 16 * c));
            UNROLL
            for (int r = 0; r < rows; r++) {
                float32x4_t xr = pq_lane(xs, r);
                sum[r][c] = vaddq_f32(sum[r][c], vmulq_f32(wc, xr));
            }
        }
    }
    pq_store_sums(acc, sum, rows, vecs);
}

void pq_tile_f32_neon(float *acc, int rows, bool add, const void *x, const void *w, int units,
                      struct pq_ahead ahead) {
    (void)ahead;
    TILE_FP(tile, acc, rows, x, w, add, units)
}
