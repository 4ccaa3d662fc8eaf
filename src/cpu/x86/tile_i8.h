/* tile_i8.h - the sums of 8-bit codes without byte dot products, whatever the width of registers.
 *
 * vpmaddubsw multiplies unsigned by signed bytes but saturates sums of two at 16 bits, so neither
 * operand can be moved by 128.  The activation's size is the unsigned one, and the code the other,
 * its bits inverted where the activation is negative: -code - 1, so that a product lacks the size,
 * which `start` has, the same for all outputs.  Two products are at most 2 * 127 * 128: exact.
 *
 * The includer has
 *   vector, OUTPUTS             a register, and the outputs whose sums it holds
 *   load, store, spread         of a register; spread: 32 bits to every lane
 *   sizes, masks                of so many activations: a piece's, below
 *   products(sum, size, mask, bytes)
 *                               sum + four products of OUTPUTS outputs, bytes from memory
 *   ROWS                        the most rows of a pass */
#include "cpu/rows.h"
#include "cpu/x86/fetch.h"

/* A piece of so many units of a panel and of all rows stays in the first-level cache. */
enum { PIECE = 96 };

/* A piece of a tile: the sizes of its activations, and what turns code + 128 into the code or, with
 * a negative activation, into -code - 1. */
struct split {
    int32_t size[PIECE * PQ_MR], mask[PIECE * PQ_MR];
};

static void split(struct split *s, const int32_t *x, int n) {
    int i = 0;
    for (; i + OUTPUTS <= n; i += OUTPUTS) {
        vector v = load(x + i);
        store(s->size + i, sizes(v));
        store(s->mask + i, masks(v));
    }
    const int8_t *code = (const int8_t *)(x + i);
    int8_t *size = (int8_t *)(s->size + i), *mask = (int8_t *)(s->mask + i);
    for (int j = 0; j < 4 * (n - i); j++) {
        size[j] = (int8_t)(code[j] < 0 ? -code[j] : code[j]);
        mask[j] = code[j] < 0 ? 127 : -128;
    }
}

/* Rows from `first` on of a piece past a panel, added to acc. */
INLINE void tile(const int rows, int32_t *acc, const struct split *x, int first, const uint8_t *w,
                 int units, int stride, struct pq_fetch *fetch) {
    const int32_t *size = x->size + first, *mask = x->mask + first;
    vector sum[ROWS][PQ_NR / OUTPUTS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < PQ_NR / OUTPUTS; c++)
            sum[r][c] = load(acc + r * PQ_NR + OUTPUTS * c);
    }
    for (int i = 0; i < units; i++, size += stride, mask += stride, w += PQ_NR * 4) {
        pq_fetch(fetch);
        UNROLL
        for (int r = 0; r < rows; r++) {
            vector xs = spread(size[r]), xm = spread(mask[r]);
            UNROLL
            for (int c = 0; c < PQ_NR / OUTPUTS; c++)
                sum[r][c] = products(sum[r][c], xs, xm, w + 4 * OUTPUTS * c);
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int c = 0; c < PQ_NR / OUTPUTS; c++)
            store(acc + r * PQ_NR + OUTPUTS * c, sum[r][c]);
    }
}

/* All rows past a piece, in one or several calls of tile: the includer has it after this. */
static void pass(int32_t *acc, int rows, const struct split *x, const uint8_t *w, int units,
                 struct pq_fetch *fetch);

/* A tile, with its pieces; see pq_tile_i8_fn. */
INLINE void all_pieces(int32_t *acc, int rows, const int32_t *start, const int32_t *x,
                       const uint8_t *w, int units, struct pq_ahead ahead) {
    struct pq_fetch fetch = pq_fetch_begin(ahead, (rows + ROWS - 1) / ROWS * units);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < PQ_NR; c++)
            acc[r * PQ_NR + c] = start[r];
    for (int i = 0; i < units; i += PIECE) {
        int n = units - i < PIECE ? units - i : PIECE;
        struct split s;
        split(&s, x + i * rows, n * rows);
        pass(acc, rows, &s, w + i * PQ_NR * 4, n, &fetch);
    }
}
