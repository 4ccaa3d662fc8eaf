/* Codes + 8 are bytes that sdot takes as they are.  A block's sum starts at -8 * sum(x), which
 * makes it the sum over signed codes, and is multiplied by the group's multiplier once. */
#include "cpu/arm/codes.h"
#include "cpu/arm/dot.h"
#include "cpu/kernels.h"

/* At most: 8 sums of a block, 8 of all, two parts of a code, activations. */
enum { ROWS = 4, VECS = 8 };

/* Two units of each row, which the two halves of a byte of codes meet. */
struct two {
    int32x4_t a, b;
};

/* As they are, x [2][stride] of which the first `rows` are taken: a is the first unit, b the
 * second; or in pairs, x [rows][2]: a is of rows 0 and 1, b of rows 2 and 3. */
INLINE struct two two_units(const int rows, const bool pairs, const int32_t *x, int stride) {
    int32x4_t a = pq_units4(x, pairs ? 2 * rows : rows), b = a;
    if (!pairs)
        b = pq_units4(x + stride, rows);
    else if (rows > 2)
        b = pq_units4(x + 4, 2 * rows - 4);
    return (struct two){a, b};
}

/* sum += code . the first or second unit of row r. */
INLINE int32x4_t add_unit(int32x4_t sum, int8x16_t code, struct two x, const int r,
                          const int second, const bool pairs) {
    if (pairs)
        return pq_dot(sum, code, r < 2 ? x.a : x.b, 2 * r + second);
    return pq_dot(sum, code, second ? x.b : x.a, r);
}

/* Rows 0 .. rows-1 of a tile whose units are `stride` rows apart, 4 * vecs outputs from `first`. */
INLINE void tile(const int rows, const int vecs, int32_t *acc, const int32_t *x,
                 const int32_t *starts, const struct pq_panel4 *w, int stride, int first,
                 int blocks, const bool pairs) {
    const uint8_t *codes = w->codes + 4 * first;
    int32x4_t total[ROWS][VECS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < vecs; c++)
            total[r][c] = vdupq_n_s32(0);
    }
    for (int b = 0; b < blocks; b++, starts += stride) {
        int32x4_t sum[ROWS][VECS], m[VECS];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int c = 0; c < vecs; c++)
                sum[r][c] = vdupq_n_s32(starts[r]);
        }
        KEEP_LOOP
        for (int i = 0; i < PQ_BLOCK / 8; i++, x += 2 * stride, codes += PQ_NR * 4) {
            struct two xs = two_units(rows, pairs, x, stride);
            UNROLL
            for (int c = 0; c < vecs; c++) {
                int8x16_t code[2];
                pq_codes4(code, codes + 16 * c);
                UNROLL
                for (int h = 0; h < 2; h++) {
                    UNROLL
                    for (int r = 0; r < rows; r++)
                        sum[r][c] = add_unit(sum[r][c], code[h], xs, r, h, pairs);
                }
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

INLINE void all_rows(int32_t *acc, int rows, const int32_t *x, const int32_t *starts,
                     const struct pq_panel4 *w, int blocks, const bool pairs) {
    for (int r = 0; r < rows; r += ROWS, x += pairs ? 2 * ROWS : ROWS)
        switch (rows - r < ROWS ? rows - r : ROWS) {
            SHAPE4(1, 8, tile, acc, rows, x, starts, w, blocks, pairs)
            SHAPE4(2, 4, tile, acc, rows, x, starts, w, blocks, pairs)
            SHAPE4(3, 2, tile, acc, rows, x, starts, w, blocks, pairs)
            SHAPE4(4, 2, tile, acc, rows, x, starts, w, blocks, pairs)
        }
}

void pq_tile_i4_dotprod(int32_t *acc, int rows, const void *x, const int32_t *starts,
                        const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    (void)ahead;
    all_rows(acc, rows, x, starts, w, blocks, false);
}

void pq_tile_i4_pairs_dotprod(int32_t *acc, int rows, const void *x, const int32_t *starts,
                              const struct pq_panel4 *w, int blocks, struct pq_ahead ahead) {
    (void)ahead;
    all_rows(acc, rows, x, starts, w, blocks, true);
}
