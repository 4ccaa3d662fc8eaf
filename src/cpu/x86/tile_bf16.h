/* tile_bf16.h - the sums of BF16 products in FP32, whatever the width of registers: a unit's two
 * values are widened by a shift and a mask.
 *
 * The includer has
 *   vector, OUTPUTS             a register, and the outputs whose sums it holds
 *   load, store, zero, spread   of a register; spread: one value to every lane
 *   low, high                   of so many units either input: a panel's, of as many outputs
 *   product(sum, x, w)          sum + x * w
 *   ROWS                        the most rows of a pass */
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

#include <string.h>

/* A piece of so many units of a panel and of all rows stays in the first-level cache. */
enum { PIECE = 96 };

/* A piece of a tile in FP32. */
struct split {
    float low[PIECE * PQ_MR], high[PIECE * PQ_MR];
};

static void split(struct split *s, const uint32_t *x, int n) {
    int i = 0;
    for (; i + OUTPUTS <= n; i += OUTPUTS) {
        store(s->low + i, low((const uint8_t *)(x + i)));
        store(s->high + i, high((const uint8_t *)(x + i)));
    }
    for (; i < n; i++) {
        uint32_t both[2] = {x[i] << 16, x[i] & 0xffff0000};
        memcpy(s->low + i, both, sizeof *both);
        memcpy(s->high + i, both + 1, sizeof *both);
    }
}

/* One input of each row, x [rows], times the weights of `vectors` * OUTPUTS outputs. */
INLINE void add_input(const int rows, const int vectors, vector sum[ROWS][PQ_NR / OUTPUTS],
                      const vector *weights, const float *x) {
    UNROLL
    for (int r = 0; r < rows; r++) {
        vector xr = spread(x[r]);
        UNROLL
        for (int c = 0; c < vectors; c++)
            sum[r][c] = product(sum[r][c], xr, weights[c]);
    }
}

/* Rows from `first` on of a piece past a part of a panel. */
INLINE void tile(const int rows, const int vectors, float *acc, bool add, const struct split *x,
                 int first, const uint8_t *w, int units, int stride, struct pq_fetch *fetch) {
    const float *xl = x->low + first, *xh = x->high + first;
    vector sum[ROWS][PQ_NR / OUTPUTS], weights[PQ_NR / OUTPUTS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            sum[r][c] = add ? load(acc + r * PQ_NR + OUTPUTS * c) : zero();
    }
    for (int i = 0; i < units; i++, xl += stride, xh += stride, w += PQ_NR * 4) {
        pq_fetch(fetch);
        UNROLL
        for (int c = 0; c < vectors; c++)
            weights[c] = low(w + 4 * OUTPUTS * c);
        add_input(rows, vectors, sum, weights, xl);
        __asm__("" : "+r"(w)); /* loaded twice, or clang keeps sums in memory to hold it */
        UNROLL
        for (int c = 0; c < vectors; c++)
            weights[c] = high(w + 4 * OUTPUTS * c);
        add_input(rows, vectors, sum, weights, xh);
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vectors; c++)
            store(acc + r * PQ_NR + OUTPUTS * c, sum[r][c]);
    }
}
