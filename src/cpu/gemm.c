/* gemm.c - see gemm.h.
 *
 * A task is a few panels; for each, all tiles of rows pass by.  A panel (32 k bytes at 8 bits)
 * stays in the second-level cache while the tiles stream past it, so weights come from memory once,
 * in order, whatever m is. */
#include "cpu/gemm.h"

#include <string.h>

enum {
    TASKS_PER_THREAD = 8, /* a slow core then delays a section by an eighth of its share */
    DIRECT_ROWS = 4,      /* up to here 4-bit panels are cheaper to multiply than to unpack */
};

void pq_linear_shape(struct pq_linear *linear, enum pq_kind kind, int n, int k, int group) {
    int padded = pq_round_up(k, PQ_BLOCK);
    linear->kind = kind;
    linear->n = n;
    linear->k = k;
    linear->units = padded / pq_unit_values(kind);
    linear->panel_bytes = (size_t)linear->units * PQ_NR * (kind == PQ_KIND_I4 ? 2 : 4);
    linear->mult_bytes = 0;
    linear->shift = 31;
    if (kind == PQ_KIND_I4) {
        int groups = 1;
        if (group != PQ_GROUP_CHANNEL) {
            linear->shift = 0;
            while (PQ_BLOCK << linear->shift < group)
                linear->shift++;
            groups = (k + group - 1) / group;
        }
        linear->mult_bytes = (size_t)groups * 16;
    }
}

size_t pq_linear_bytes(const struct pq_linear *linear) {
    size_t panels = (size_t)pq_linear_panels(linear);
    bool integers = linear->kind == PQ_KIND_I8 || linear->kind == PQ_KIND_I4;
    return panels * (linear->panel_bytes + linear->mult_bytes +
                     (integers ? PQ_NR * sizeof *linear->scale : 0));
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static size_t align64(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

size_t pq_rows_bytes(int m, int k) {
    size_t padded = (size_t)pq_round_up(k, PQ_BLOCK), rows = (size_t)m;
    size_t floats = align64(rows * padded * sizeof(float));
    size_t codes = align64(rows * padded) + 2 * align64(rows * sizeof(float)) +
                   align64(rows * padded / PQ_BLOCK * sizeof(int32_t));
    return floats > codes ? floats : codes;
}

void pq_rows_place(struct pq_rows *rows, enum pq_kind kind, int m, int k, void *memory) {
    size_t padded = (size_t)pq_round_up(k, PQ_BLOCK);
    *rows = (struct pq_rows){
        .kind = kind, .m = m, .units = (int)padded / pq_unit_values(kind), .x = memory};
    if (kind == PQ_KIND_I8) {
        unsigned char *at = rows->x + align64((size_t)m * padded);
        rows->scale = (float *)at;
        at += align64((size_t)m * sizeof(float));
        rows->start = (int32_t *)at;
        at += align64((size_t)m * sizeof(int32_t));
        rows->sums = (int32_t *)at;
    }
}

/* The height of the tile that begins at row `first`. */
static int tile_rows(int m, int first) {
    return m - first < PQ_MR ? m - first : PQ_MR;
}

/* units [n] to every `stride`-th unit of a tile. */
static void scatter(uint32_t *to, int stride, const void *units, int n) {
    const uint32_t *from = units;
    for (int i = 0; i < n; i++)
        to[(size_t)i * (size_t)stride] = from[i];
}

static void set_codes(const struct pq_rows *rows, const struct pq_elementwise *e, int r,
                      const float *x, int padded, void *temp) {
    int first = r / PQ_MR * PQ_MR, height = tile_rows(rows->m, first), blocks = padded / PQ_BLOCK;
    int8_t *codes = temp;
    int32_t *sums = (int32_t *)(codes + padded), total = 0;
    rows->scale[r] = e->quantize(codes, sums, x, padded);
    for (int b = 0; b < blocks; b++)
        total += sums[b];
    rows->start[r] = -128 * total;
    scatter((uint32_t *)rows->sums + (size_t)first * (size_t)blocks + (r - first), height, sums,
            blocks);
    scatter((uint32_t *)rows->x + (size_t)first * (size_t)rows->units + (r - first), height, codes,
            rows->units);
}

void pq_rows_set(const struct pq_rows *rows, const struct pq_elementwise *e, int r, const float *x,
                 int k, void *temp) {
    int padded = pq_round_up(k, PQ_BLOCK), first = r / PQ_MR * PQ_MR;
    if (padded != k) { /* the tail's zeros meet whatever weights are there */
        float *longer = (float *)temp + padded;
        memcpy(longer, x, (size_t)k * sizeof *x);
        memset(longer + k, 0, (size_t)(padded - k) * sizeof *x);
        x = longer;
    }
    if (rows->kind == PQ_KIND_I8) {
        set_codes(rows, e, r, x, padded, temp);
        return;
    }
    uint32_t *to = (uint32_t *)rows->x + (size_t)first * (size_t)rows->units + (r - first);
    const void *units = x;
    if (rows->kind == PQ_KIND_BF16) {
        e->to_bf16(temp, x, padded);
        units = temp;
    }
    scatter(to, tile_rows(rows->m, first), units, rows->units);
}

/* ---- The product ----------------------------------------------------------------------------- */

size_t pq_multiply_scratch(int k) {
    return (size_t)pq_round_up(k, PQ_BLOCK) * PQ_NR;
}

struct section {
    const struct pq_ops *ops;
    const struct pq_rows *rows;
    const struct pq_product *products;
    int panels; /* of all products */
    int grain;  /* panels of a task */
    void *const *scratch;
};

/* What the tile that begins at row `first` fetches for the first tile of the next panel: its last
 * two halves of the time, one half of the panel each.  Four-bit panels are one half long. */
static const void *ahead_of(const struct section *s, const struct pq_linear *w, int panel,
                            int first) {
    int left = (s->rows->m - 1 - first) / PQ_MR, halves = w->kind == PQ_KIND_I4 ? 1 : 2;
    const unsigned char *next = w->panel + (size_t)(panel + 1) * w->panel_bytes;
    if (left >= halves || s->rows->m <= PQ_MR || panel + 1 == pq_linear_panels(w))
        return w->panel + (size_t)panel * w->panel_bytes;
    return next + (size_t)(halves - 1 - left) * (size_t)w->units * PQ_AHEAD;
}

/* The tile of rows that begins at `first`, times one panel, into y (already at its columns). */
static void multiply_tile(const struct section *s, const struct pq_product *product, int panel,
                          int first, const struct pq_panel4 *four, const void *bytes) {
    const struct pq_rows *rows = s->rows;
    const struct pq_linear *w = product->linear;
    int height = tile_rows(rows->m, first), column = panel * PQ_NR;
    int n = w->n - column < PQ_NR ? w->n - column : PQ_NR;
    const void *x = rows->x + (size_t)first * (size_t)rows->units * 4;
    float *y = product->y + (size_t)first * product->ldy + column;
    const float *bias = w->bias + column;
    if (rows->kind == PQ_KIND_I8) {
        _Alignas(64) int32_t acc[PQ_MR * PQ_NR];
        int blocks = rows->units * 4 / PQ_BLOCK;
        if (four)
            s->ops->tile_i4(acc, height, x, rows->sums + (size_t)first * (size_t)blocks, four,
                            blocks);
        else
            s->ops->tile_i8(acc, height, rows->start + first, x, bytes, rows->units,
                            ahead_of(s, w, panel, first));
        s->ops->e->finish_int(y, product->ldy, acc, height, rows->scale + first, w->scale + column,
                              bias, n, product->add);
    } else {
        _Alignas(64) float acc[PQ_MR * PQ_NR] = {0};
        pq_tile_fp_fn *tile = rows->kind == PQ_KIND_BF16 ? s->ops->tile_bf16 : s->ops->tile_f32;
        tile(acc, height, x, bytes, rows->units, ahead_of(s, w, panel, first));
        s->ops->e->finish_fp(y, product->ldy, acc, height, bias, n, product->add);
    }
}

static void multiply_panel(const struct section *s, const struct pq_product *product, int panel,
                           void *scratch) {
    const struct pq_linear *w = product->linear;
    const void *bytes = w->panel + (size_t)panel * w->panel_bytes;
    struct pq_panel4 codes = {bytes, w->mults + (size_t)panel * w->mult_bytes, w->shift};
    const struct pq_panel4 *four = w->kind == PQ_KIND_I4 ? &codes : NULL;
    if (four && s->rows->m > DIRECT_ROWS) {
        s->ops->unpack_i4(scratch, four, w->units * 4 / PQ_BLOCK);
        bytes = scratch;
        four = NULL;
    }
    for (int first = 0; first < s->rows->m; first += PQ_MR)
        multiply_tile(s, product, panel, first, four, bytes);
}

static void multiply_task(void *arg, int task, int thread) {
    const struct section *s = arg;
    int from = task * s->grain, to = from + s->grain < s->panels ? from + s->grain : s->panels;
    for (int p = from; p < to; p++) {
        int panel = p;
        const struct pq_product *product = s->products;
        for (; panel >= pq_linear_panels(product->linear); product++)
            panel -= pq_linear_panels(product->linear);
        multiply_panel(s, product, panel, s->scratch[thread]);
    }
}

void pq_multiply(struct pq_pool *pool, const struct pq_ops *ops, const struct pq_rows *rows,
                 const struct pq_product *products, int n, void *const *scratch) {
    struct section s = {.ops = ops, .rows = rows, .products = products, .scratch = scratch};
    for (int i = 0; i < n; i++)
        s.panels += pq_linear_panels(products[i].linear);
    int most = pq_pool_threads(pool) * TASKS_PER_THREAD;
    s.grain = (s.panels + most - 1) / most;
    if (s.grain > 0)
        pq_pool_run(pool, (s.panels + s.grain - 1) / s.grain, multiply_task, &s);
}
