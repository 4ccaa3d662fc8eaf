/* gemm.c - see gemm.h.
 *
 * A task is a few panels; for each, or a gate's and the one that it gates, all tiles of a band of
 * rows pass by.  A panel (32 k bytes at 8 bits) stays in the second-level cache while the tiles
 * stream past it, so weights come from memory once for each band, in order. */
#include "cpu/gemm.h"

#include "base/arena.h"
#include "cpu/kernels.h"

#include <stdatomic.h>
#include <string.h>

enum {
    /* Of one tile; more tiles take more tasks.  A slow core delays a section by one of them, and
     * taking one stops a thread's loads for as long as memory takes to answer. */
    TASKS_PER_THREAD = 8,
    BAND_TILES = 8,  /* of a band, at least */
    FETCH_TILES = 4, /* past a panel, that fetch the next one */
};

/* Of a panel's multipliers, bias and scales. */
static size_t head_bytes(const struct pq_linear *linear) {
    int floats = pq_takes_integers(linear) ? 2 * PQ_NR : PQ_NR;
    return pq_arena_piece(linear->mult_bytes) + (size_t)floats * sizeof(float);
}

void pq_linear_shape(struct pq_linear *linear, const struct pq_ops *ops, enum pq_kind kind, int n,
                     int k, int group) {
    int padded = pq_round_up(k, PQ_BLOCK);
    linear->kind = kind;
    linear->n = n;
    linear->k = k;
    linear->units = padded / pq_unit_values(kind);
    linear->pairs = pq_in_pairs(ops, kind);
    linear->shift = 31;
    linear->mult_bytes = 0;
    linear->weight_bytes = (size_t)linear->units * PQ_NR * (kind == PQ_KIND_I4 ? 2 : 4);
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
    linear->panel_bytes = linear->stride = head_bytes(linear) + linear->weight_bytes;
}

void pq_linears_alternate(struct pq_linear *first, struct pq_linear *second) {
    first->stride = second->stride = first->panel_bytes + second->panel_bytes;
}

struct pq_panel pq_linear_panel(const struct pq_linear *linear, int index) {
    unsigned char *at = linear->panels + (size_t)index * linear->stride;
    float *bias = (float *)(at + pq_arena_piece(linear->mult_bytes));
    return (struct pq_panel){.mults = at,
                             .bias = bias,
                             .scale = pq_takes_integers(linear) ? bias + PQ_NR : NULL,
                             .weights = at + head_bytes(linear)};
}

size_t pq_linear_bytes(const struct pq_linear *linear) {
    size_t scales = pq_takes_integers(linear) ? PQ_NR * sizeof(float) : 0;
    return (size_t)pq_linear_panels(linear) * (linear->weight_bytes + linear->mult_bytes + scales);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* Places what rows of the kind and m consist of; returns its size. */
static size_t place(struct pq_rows *rows, unsigned char *base) {
    size_t m = (size_t)rows->m, units = (size_t)rows->units, used = 0;
    rows->x = pq_arena_cut(base, &used, m * units * 4);
    rows->apart = pq_arena_cut(base, &used, m * units * 4);
    rows->made = pq_arena_cut(base, &used, (size_t)pq_tiles(rows->m) * sizeof *rows->made);
    if (rows->kind == PQ_KIND_I8) {
        rows->scale = pq_arena_cut(base, &used, m * sizeof *rows->scale);
        rows->start = pq_arena_cut(base, &used, m * sizeof *rows->start);
        rows->starts = pq_arena_cut(base, &used, m * units * 4 / PQ_BLOCK * sizeof *rows->starts);
    }
    return used;
}

static struct pq_rows rows_of(enum pq_kind kind, int m, int k) {
    return (struct pq_rows){.kind = kind == PQ_KIND_I4 ? PQ_KIND_I8 : kind,
                            .m = m,
                            .units = pq_round_up(k, PQ_BLOCK) / pq_unit_values(kind)};
}

size_t pq_rows_bytes(enum pq_kind kind, int m, int k) {
    struct pq_rows rows = rows_of(kind, m, k);
    return place(&rows, NULL);
}

void pq_rows_place(struct pq_rows *rows, const struct pq_ops *ops, enum pq_kind kind, int m, int k,
                   void *memory) {
    *rows = rows_of(kind, m, k);
    place(rows, memory);
    for (int t = 0; t < pq_tiles(m); t++)
        atomic_init(&rows->made[t], 0);
    rows->ops = ops;
    if (kind != PQ_KIND_I4 || m > ops->direct_rows)
        rows->starts = NULL;
}

static int tile_rows(int m, int t) {
    return pq_first_row(m, t + 1) - pq_first_row(m, t);
}

/* The tile that row r belongs to. */
static int tile_of(int m, int r) {
    return (int)((((int64_t)r + 1) * pq_tiles(m) - 1) / m);
}

/* A part of a tile in the making: rows as units, with their starts, a row with zeros behind it,
 * which meet whatever weights are there, and the tile. */
struct draft {
    float *longer;   /* [padded] */
    uint32_t *units; /* [n][units] */
    uint32_t *tile;  /* [units][rows] */
    int32_t *starts; /* [n][blocks] */
};

static struct draft draft_at(const struct pq_rows *rows, void *temp) {
    float *longer = temp;
    uint32_t *units = (uint32_t *)(longer + rows->units * pq_unit_values(rows->kind));
    uint32_t *tile = units + PQ_MR * rows->units;
    return (struct draft){longer, units, tile, (int32_t *)(tile + PQ_MR * rows->units)};
}

size_t pq_rows_scratch(enum pq_kind kind, int k) {
    struct pq_rows rows = rows_of(kind, PQ_MR, k);
    int padded = rows.units * pq_unit_values(kind), blocks = padded / PQ_BLOCK;
    return pq_arena_piece((size_t)(padded + 2 * PQ_MR * rows.units + PQ_MR * blocks) * 4);
}

/* Row r as units of 8 bits; what else the row needs goes to its place, starts [blocks] to the
 * caller. */
static void set_codes(const struct pq_rows *rows, int r, int8_t *codes, int32_t *starts,
                      const float *x) {
    int32_t sum, n = rows->units * 4;
    rows->scale[r] = rows->ops->e->quantize(codes, &sum, rows->starts ? starts : NULL, x, n);
    for (int b = 0; rows->starts && b < n / PQ_BLOCK; b++)
        starts[b] *= rows->ops->block_start;
    rows->start[r] = rows->ops->start(codes, n, sum);
}

void pq_rows_set(const struct pq_rows *rows, int r, int i, const float *x, int k, void *temp) {
    struct draft draft = draft_at(rows, temp);
    int padded = rows->units * pq_unit_values(rows->kind);
    void *to = draft.units + i * rows->units;
    if (padded != k) {
        memcpy(draft.longer, x, (size_t)k * sizeof *x);
        memset(draft.longer + k, 0, (size_t)(padded - k) * sizeof *x);
        x = draft.longer;
    }
    if (rows->kind == PQ_KIND_I8)
        set_codes(rows, r, to, draft.starts + i * (padded / PQ_BLOCK), x);
    else if (rows->kind == PQ_KIND_BF16)
        rows->ops->e->to_bf16(to, x, padded);
    else
        memcpy(to, x, (size_t)padded * sizeof *x);
}

/* A tile's rows [rows][units] to its place, by way of `tile`: as one long copy, for which
 * processors claim whole lines.  Stores of fewer bytes would wait for each line to leave the cores
 * that multiplied what was there before. */
static void put_tile(const struct pq_rows *rows, int t, const void *units, uint32_t *tile) {
    int height = tile_rows(rows->m, t);
    size_t each = (size_t)rows->units * 4;
    if (height > 1)
        pq_lay_tile(rows->ops, rows->kind, tile, units, height, rows->units);
    memcpy(rows->x + (size_t)pq_first_row(rows->m, t) * each, height > 1 ? tile : units,
           (size_t)height * each);
}

/* Who puts a tile's last part puts the tile. */
void pq_rows_put(const struct pq_rows *rows, int r, int n, void *temp) {
    struct draft draft = draft_at(rows, temp);
    int t = tile_of(rows->m, r), first = pq_first_row(rows->m, t), height = tile_rows(rows->m, t);
    int blocks = rows->units * 4 / PQ_BLOCK;
    size_t each = (size_t)rows->units * 4;
    if (rows->starts)
        rows->ops->e->interleave((uint32_t *)rows->starts + first * blocks + r - first, height,
                                 (uint32_t *)draft.starts, n, blocks);
    if (n == height) {
        put_tile(rows, t, draft.units, draft.tile);
        return;
    }
    memcpy(rows->apart + (size_t)r * each, draft.units, (size_t)n * each);
    int before = atomic_fetch_add_explicit(&rows->made[t], n, memory_order_acq_rel);
    if (before + n == height)
        put_tile(rows, t, rows->apart + (size_t)first * each, draft.tile);
}

/* ---- The product ----------------------------------------------------------------------------- */

static size_t unpacked_bytes(int k) {
    return (size_t)pq_round_up(k, PQ_BLOCK) * PQ_NR;
}

size_t pq_multiply_scratch(int k, bool gated) {
    return unpacked_bytes(k) * (gated ? 2 : 1);
}

struct section {
    const struct pq_ops *ops;
    const struct pq_inputs *inputs;
    int m;
    const struct pq_product *products;
    int bands, shares; /* of tiles and of panels: each thread begins with one of each */
    int tasks;         /* of a thread's part of all products */
    int grain;         /* most panels of a task */
    bool fetch_ends;   /* by the kernels, see ops.h */
    void *const *scratch;
};

/* Tiles or panels, first to end - 1. */
struct span {
    int first, end;
};

/* One panel of a linear, as its tiles take it. */
struct panel {
    const struct pq_linear *w;
    const struct pq_rows *rows;
    int index;
    struct pq_panel at;
    const void *bytes; /* as tiles take them; NULL: 4-bit codes, multiplied as they are */
    uint8_t *unpacked; /* where the first tile leaves the bytes of 4-bit codes, or NULL */
    struct pq_panel4 four;
    struct pq_ahead next; /* what its thread meets after it */
};

static struct panel panel_of(const struct section *s, const struct pq_linear *w, int index,
                             struct pq_ahead next, void *scratch) {
    struct panel p = {
        .w = w,
        .rows = pq_takes_integers(w) ? &s->inputs->integers : &s->inputs->fp,
        .index = index,
        .at = pq_linear_panel(w, index),
        .next = next,
    };
    if (!next.from)
        p.next = (struct pq_ahead){.from = p.at.mults + w->stride, .bytes = w->panel_bytes};
    p.bytes = p.at.weights;
    if (w->kind == PQ_KIND_I4) {
        p.four = (struct pq_panel4){p.at.weights, p.at.mults, w->shift};
        p.unpacked = s->m > s->ops->direct_rows ? scratch : NULL;
        p.bytes = p.unpacked;
    }
    return p;
}

/* A tile of a task's band. */
struct tile {
    int first, rows;   /* its first row, and how many */
    int before, after; /* so many tiles are met before it and after it */
};

/* What a tile fetches of the next panel: the last few an equal part each, so that memory works
 * beside all products of few rows, and of many what is fetched is still there when it is needed.
 * A tile of very few rows waits for memory throughout: the processor fetches for it, but begins
 * anew with every page and every panel. */
static struct pq_ahead ahead_of(const struct section *s, const struct panel *p,
                                const struct tile *t) {
    if (s->m <= PQ_FEW) {
        size_t weights = p->w->weight_bytes;
        size_t distance = weights < PQ_FETCH_DISTANCE ? weights : PQ_FETCH_DISTANCE;
        bool last = p->index + 1 == pq_linear_panels(p->w);
        return (struct pq_ahead){.from = p->at.weights + distance,
                                 .bytes = last ? weights - distance : p->w->panel_bytes};
    }
    int tiles = t->before + 1 + t->after, parts = tiles < FETCH_TILES ? tiles : FETCH_TILES;
    int part = parts - 1 - t->after;
    if (part < 0)
        return (struct pq_ahead){.from = p->at.weights};
    size_t each = p->next.bytes / (size_t)parts;
    return (struct pq_ahead){.from = (const unsigned char *)p->next.from + (size_t)part * each,
                             .bytes = each,
                             .second = s->m <= pq_native_second_rows()};
}

/* Rows of y that a tile will end in, where kernels do not fetch them: they were last in another
 * core's cache, and their loads would keep the next tile from beginning. */
static void fetch_rows(float *y, size_t ldy, int rows) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < PQ_NR; c += 16)
            __builtin_prefetch(y + (size_t)r * ldy + c, 1);
}

/* A tile of rows times a panel, to the first n columns of y; `ends`: see ops.h. */
static void multiply_tile(const struct section *s, const struct panel *p, const struct tile *t,
                          float *y, size_t ldy, int n, bool add, const struct pq_ends *ends) {
    const struct pq_rows *rows = p->rows;
    struct pq_ahead ahead = ahead_of(s, p, t);
    const void *x = rows->x + (size_t)t->first * (size_t)rows->units * 4;
    if (rows->kind == PQ_KIND_I8) {
        _Alignas(64) int32_t acc[PQ_MR * PQ_NR];
        int blocks = rows->units * 4 / PQ_BLOCK;
        if (p->unpacked && t->before == 0)
            s->ops->tile_unpack(acc, t->rows, rows->start + t->first, x, p->unpacked, t->after > 0,
                                &p->four, blocks, ahead, ends);
        else if (p->bytes)
            s->ops->tile_i8(acc, t->rows, rows->start + t->first, x, p->bytes, rows->units, ahead,
                            ends);
        else
            s->ops->tile_i4(acc, t->rows, x, rows->starts + (size_t)t->first * (size_t)blocks,
                            &p->four, blocks, ahead);
        s->ops->e->finish_int(y, ldy, acc, t->rows, rows->scale + t->first, p->at.scale, p->at.bias,
                              n, add);
    } else {
        _Alignas(64) float acc[PQ_MR * PQ_NR];
        pq_tile_fp_fn *tile = rows->kind == PQ_KIND_BF16 ? s->ops->tile_bf16 : s->ops->tile_f32;
        tile(acc, t->rows, false, x, p->bytes, rows->units, ahead);
        s->ops->e->finish_fp(y, ldy, acc, t->rows, p->at.bias, n, add);
    }
}

/* y = silu(gate) * up of one tile.  The two meet while they are in the first-level cache. */
static void gated_tile(const struct section *s, const struct panel *gate, const struct panel *up,
                       const struct tile *t, float *y, size_t ldy, int n,
                       const struct pq_ends *ends) {
    _Alignas(64) float g[PQ_MR * PQ_NR], u[PQ_MR * PQ_NR];
    multiply_tile(s, gate, t, g, PQ_NR, PQ_NR, false, ends);
    multiply_tile(s, up, t, u, PQ_NR, PQ_NR, false, NULL);
    s->ops->e->silu_mul(y, ldy, g, u, t->rows, n);
}

/* A gate and what it gates have one panel after them: a half each. */
static void share_next(struct panel *gate, struct panel *gated) {
    size_t half = gated->next.bytes / 2;
    gate->next.bytes = gated->next.bytes = half;
    gated->next.from = (const unsigned char *)gated->next.from + half;
}

/* `next` is met after the panel, or what lies next if it is nowhere. */
static void multiply_panel(const struct section *s, const struct pq_product *product, int index,
                           struct span tiles, struct pq_ahead next, unsigned char *scratch) {
    const struct pq_linear *w = product->linear;
    int column = index * PQ_NR, n = w->n - column < PQ_NR ? w->n - column : PQ_NR;
    struct panel p = panel_of(s, w, index, next, scratch), gate = {0};
    if (product->gate) {
        gate = panel_of(s, product->gate, index, next, scratch + unpacked_bytes(w->k));
        if (next.from)
            share_next(&gate, &p);
    }
    int end = pq_first_row(s->m, tiles.first);
    for (int i = tiles.first; i < tiles.end; i++) {
        struct tile t = {.first = end, .before = i - tiles.first, .after = tiles.end - 1 - i};
        end = pq_first_row(s->m, i + 1);
        t.rows = end - t.first;
        float *y = product->y + (size_t)t.first * product->ldy + column;
        struct pq_ends at = {y, product->ldy}, *ends = s->fetch_ends ? &at : NULL;
        if (!ends)
            fetch_rows(y, product->ldy, t.rows);
        if (product->gate)
            gated_tile(s, &gate, &p, &t, y, product->ldy, n, ends);
        else
            multiply_tile(s, &p, &t, y, product->ldy, n, product->add, ends);
    }
}

/* Part i of n of so many. */
static struct span part_of(int all, int i, int n) {
    return (struct span){(int)((int64_t)all * i / n), (int)((int64_t)all * (i + 1) / n)};
}

/* The panels of a product that thread t begins with. */
static struct span share_of(const struct section *s, const struct pq_linear *w, int t) {
    return part_of(pq_linear_panels(w), t % s->shares, s->shares);
}

/* What thread t meets after its share of a linear. */
static struct pq_ahead after_share(const struct section *s, const struct pq_linear *w, int t) {
    const struct pq_linear *next = w->next;
    if (!next)
        return (struct pq_ahead){.from = w->panels};
    return (struct pq_ahead){.from = pq_linear_panel(next, share_of(s, next, t).first).mults,
                             .bytes = next->panel_bytes};
}

/* The tasks of a thread's part of a product. */
static int tasks_of(const struct section *s, const struct pq_linear *w) {
    int most = (pq_linear_panels(w) + s->shares - 1) / s->shares; /* panels of a share */
    return (most + s->grain - 1) / s->grain;
}

/* Tasks are dealt so that a thread goes through its share in the order of memory and, with one
 * band, begins with the panels that it packed; a share that is a panel short may end in a task that
 * has nothing to do. */
static void multiply_task(void *arg, int task, int thread) {
    const struct section *s = arg;
    int owner = task / s->tasks, at = task % s->tasks;
    const struct pq_product *product = s->products;
    for (; at >= tasks_of(s, product->linear); product++)
        at -= tasks_of(s, product->linear);
    struct span share = share_of(s, product->linear, owner);
    struct span tiles = part_of(pq_tiles(s->m), owner / s->shares, s->bands);
    int from = share.first + at * s->grain;
    struct pq_ahead after = after_share(s, product->linear, owner);
    for (int p = from; p < share.end && p < from + s->grain; p++)
        multiply_panel(s, product, p, tiles, p + 1 < share.end ? (struct pq_ahead){0} : after,
                       s->scratch[thread]);
}

/* Many rows are cut into bands of tiles, as many as divide the threads, which are dealt to threads
 * in their order.  Inputs are made in that order, too (src/model/layer.c): what a thread multiplies
 * and what it has summed is then met next in its own caches, and little crosses from core to core.
 * A panel comes to every band. */
static int bands_of(int tiles, int threads) {
    int most = tiles / BAND_TILES, bands = most < threads ? most : threads;
    while (bands > 1 && threads % bands != 0)
        bands--;
    return bands > 1 ? bands : 1;
}

void pq_multiply(struct pq_pool *pool, const struct pq_ops *ops, const struct pq_inputs *inputs,
                 const struct pq_product *products, int n, void *const *scratch) {
    bool integers = pq_takes_integers(products[0].linear);
    struct section s = {.ops = ops,
                        .inputs = inputs,
                        .m = integers ? inputs->integers.m : inputs->fp.m,
                        .products = products,
                        .scratch = scratch};
    int panels = 0, tiles = pq_tiles(s.m), threads = pq_pool_threads(pool);
    s.bands = bands_of(tiles, threads);
    s.shares = threads / s.bands;
    s.fetch_ends = ops->fetch_ends && integers && s.m > PQ_FEW;
    for (int i = 0; i < n; i++)
        panels += pq_linear_panels(products[i].linear);
    s.grain = 1 + panels / (threads * TASKS_PER_THREAD * tiles);
    for (int i = 0; i < n; i++)
        s.tasks += tasks_of(&s, products[i].linear);
    pq_pool_run(pool, s.tasks * threads, multiply_task, &s);
}
