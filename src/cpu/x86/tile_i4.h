/* tile_i4.h - the sums of 4-bit codes as they are, whatever the width of registers.
 *
 * The includer has
 *   vector, OUTPUTS             a register, and the outputs whose 32-bit lanes it holds
 *   load, store, zero, spread   of a register; spread: 32 bits to every lane
 *   low_codes, high_codes       codes + 8 of the halves of bytes
 *   add_products(sum, codes, x) four inputs of OUTPUTS outputs, codes + 8
 *   multipliers(at, first)      of OUTPUTS outputs from `first` on, and
 *   end_block(total, sum, m)    total + m * the block's sum over codes
 *   ROWS                        the most rows of a pass */
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

/* Rows 0 .. rows-1 of a tile whose units are `stride` rows apart, vectors * OUTPUTS outputs from
 * `first` on. */
INLINE void tile(const int rows, const int vectors, int32_t *acc, const int32_t *x,
                 const int32_t *starts, const struct pq_panel4 *w, int blocks, int stride,
                 int first, struct pq_fetch *fetch) {
    const uint8_t *codes = w->codes + 4 * first;
    vector total[ROWS][PQ_NR / OUTPUTS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            total[r][c] = zero();
    }
    for (int b = 0; b < blocks; b++, starts += stride) {
        vector sum[ROWS][PQ_NR / OUTPUTS];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int c = 0; c < vectors; c++)
                sum[r][c] = spread(starts[r]);
        }
        KEEP_LOOP /* unrolled, its iterations would share the registers, which they cannot */
            for (int i = 0; i < PQ_BLOCK / 8; i++, x += 2 * stride, codes += PQ_NR * 4) {
            pq_fetch(fetch);
            UNROLL
            for (int c = 0; c < vectors; c++) {
                vector both = load(codes + 4 * OUTPUTS * c);
                vector low = low_codes(both), high = high_codes(both);
                UNROLL
                for (int r = 0; r < rows; r++) {
                    vector xl = spread(x[r]), xh = spread(x[stride + r]);
                    sum[r][c] = add_products(add_products(sum[r][c], low, xl), high, xh);
                }
            }
        }
        const uint8_t *mults = w->mults + (size_t)(b >> w->shift) * 16;
        UNROLL
        for (int c = 0; c < vectors; c++) {
            vector m = multipliers(mults, first + OUTPUTS * c);
            UNROLL
            for (int r = 0; r < rows; r++)
                total[r][c] = end_block(total[r][c], sum[r][c], m);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            store(acc + r * PQ_NR + OUTPUTS * c, total[r][c]);
    }
}
