/* Codes + 8 are bytes that sdot takes as they are.  A block's sum starts at -8 * sum(x), which
 * makes it the sum over signed codes, and is multiplied by the group's multiplier once. */
#include "cpu/arm/codes.h"
#include "cpu/arm/dot.h"
#include "cpu/kernels.h"

/* At most: 8 sums of a block, 8 of all, two parts of a code, activations. */
enum { ROWS = 4, VECS = 8 };

/* Rows 0 .. rows-1 of a tile whose units are `stride` rows apart, 4 * vecs outputs from `first`. */
INLINE void tile(const int rows, const int vecs, int32_t *acc, const int32_t *x,
                 const int32_t *sums, const struct pq_panel4 *w, int blocks, int stride,
                 int first) {
    const uint8_t *codes = w->codes + 4 * first;
    int32x4_t total[ROWS][VECS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            total[r][c] = vdupq_n_s32(0);
    }
    for (int b = 0; b < blocks; b++, sums += stride) {
        int32x4_t sum[ROWS][VECS], m[VECS];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int c = 0; c < vecs; c++)
                sum[r][c] = vdupq_n_s32(-8 * sums[r]);
        }
        KEEP_LOOP
        for (int i = 0; i < PQ_BLOCK / 8; i++, x += 2 * stride, codes += PQ_NR * 4) {
            int32x4_t xl = pq_units4(x, rows), xh = pq_units4(x + stride, rows);
            UNROLL
            for (int c = 0; c < vecs; c++) {
                int8x16_t code[2];
                pq_codes4(code, codes + 16 * c);
                UNROLL
                for (int r = 0; r < rows; r++)
                    sum[r][c] = pq_dot(pq_dot(sum[r][c], code[0], xl, r), code[1], xh, r);
            }
        }
        pq_multipliers(m, w, b, first, vecs);
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int c = 0; c < vecs; c++)
                total[r][c] = vmlaq_s32(total[r][c], sum[r][c], m[c]);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            vst1q_s32(acc + r * PQ_NR + 4 * c, total[r][c]);
    }
}

void pq_tile_i4_dotprod(int32_t *acc, int rows, const void *x, const int32_t *sums,
                        const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    (void)ahead;
    for (int r = 0; r < rows; r += ROWS)
        switch (rows - r < ROWS ? rows - r : ROWS) {
            SHAPE4(1, 8, tile, acc, rows, x, sums, w, blocks)
            SHAPE4(2, 4, tile, acc, rows, x, sums, w, blocks)
            SHAPE4(3, 2, tile, acc, rows, x, sums, w, blocks)
            SHAPE4(4, 2, tile, acc, rows, x, sums, w, blocks)
        }
}
