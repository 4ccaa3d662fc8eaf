#include "quant/product.h"

#include "base/ints.h"

#include <stdlib.h>
#include <string.h>

/* A row of a wide matrix is in a page of its own: a task takes several panels of it at once. */
enum { MR = PQ_MR, NR = PQ_NR, PACK_TILES = 8, PANELS = 4 };

enum pq_status pq_workspace_open(struct pq_workspace *ws, struct pq_pool *pool,
                                 const struct pq_ops *ops, int k, struct pq_err *err) {
    size_t tiles = (size_t)k * PQ_DEPTH * sizeof(float);
    size_t panels = (size_t)pq_pool_threads(pool) * PANELS * PQ_DEPTH * NR * sizeof(float);
    struct pq_workspace made = {
        .pool = pool,
        .ops = ops,
        .tiles = aligned_alloc(64, (tiles + 63) / 64 * 64),
        .panels = aligned_alloc(64, panels),
    };
    if (!made.tiles || !made.panels) {
        pq_workspace_close(&made);
        return pq_fail(err, PQ_ENOMEM, "out of memory for products of width %d", k);
    }
    *ws = made;
    return PQ_OK;
}

void pq_workspace_close(struct pq_workspace *ws) {
    free(ws->tiles);
    free(ws->panels);
    *ws = (struct pq_workspace){0};
}

/* ---- The left matrix in tiles ---------------------------------------------------------------- */

struct pack {
    float *tiles;
    const float *a;
    size_t row, step; /* a(i, t) = a[i * row + t * step] */
    int m, depth;
    bool negative;
};

static void pack_tile(const struct pack *p, int first) {
    int height = pq_least(MR, p->m - first);
    const float *from = p->a + (size_t)first * p->row;
    float *to = p->tiles + (size_t)first * (size_t)p->depth, sign = p->negative ? -1 : 1;
    for (int t = 0; t < p->depth; t++, to += height)
        for (int i = 0; i < height; i++)
            to[i] = sign * from[(size_t)i * p->row + (size_t)t * p->step];
}

static void pack_task(void *arg, int task, int thread) {
    (void)thread;
    const struct pack *p = arg;
    int from = task * PACK_TILES * MR, to = pq_least(p->m, from + PACK_TILES * MR);
    for (int i = from; i < to; i += MR)
        pack_tile(p, i);
}

static void pack(const struct pq_workspace *ws, struct pack *p) {
    p->tiles = ws->tiles;
    pq_pool_run(ws->pool, (p->m + PACK_TILES * MR - 1) / (PACK_TILES * MR), pack_task, p);
}

/* ---- Row-major ------------------------------------------------------------------------------- */

struct section {
    const struct pq_workspace *ws;
    const struct pq_gram *gram;
    int from, depth; /* terms of this pass */
};

/* The tile at rows `first` and columns `column` of c. */
static void add_tile(const struct section *s, int first, int column, const float *panel) {
    const struct pq_gram *g = s->gram;
    int height = pq_least(MR, g->m - first), width = pq_least(NR, g->n - column);
    float acc[PQ_MR * PQ_NR] = {0};
    float *c = g->c + (size_t)first * g->ldc + column;
    for (int r = 0; r < height; r++)
        memcpy(acc + r * NR, c + (size_t)r * g->ldc, (size_t)width * sizeof *c);
    s->ws->ops->tile_f32(acc, height, true, s->ws->tiles + (size_t)first * (size_t)s->depth, panel,
                         s->depth, (struct pq_ahead){0});
    for (int r = 0; r < height; r++)
        memcpy(c + (size_t)r * g->ldc, acc + r * NR, (size_t)width * sizeof *c);
}

static void set_panel(const struct section *s, int column, float *panel) {
    const struct pq_gram *g = s->gram;
    int width = pq_least(NR, g->n - column);
    memset(panel, 0, (size_t)s->depth * NR * sizeof *panel);
    for (int t = 0; t < s->depth; t++)
        memcpy(panel + (size_t)t * NR, g->b + (size_t)(s->from + t) * g->ldb + column,
               (size_t)width * sizeof *panel);
}

static int gram_tasks(const struct pq_gram *g) {
    return (g->n + PANELS * NR - 1) / (PANELS * NR);
}

/* PANELS panels of columns, the ones with most rows first. */
static void gram_task(void *arg, int task, int thread) {
    const struct section *s = arg;
    const struct pq_gram *g = s->gram;
    int from = (gram_tasks(g) - 1 - task) * PANELS * NR, to = pq_least(g->n, from + PANELS * NR);
    float *panels = s->ws->panels + (size_t)thread * PANELS * PQ_DEPTH * NR;
    for (int column = from; column < to; column += NR)
        set_panel(s, column, panels + (size_t)(column - from) * (size_t)s->depth);
    int rows = g->upper ? pq_least(g->m, to) : g->m;
    for (int first = 0; first < rows; first += MR)
        for (int column = from; column < to; column += NR)
            add_tile(s, first, column, panels + (size_t)(column - from) * (size_t)s->depth);
}

void pq_gram(const struct pq_workspace *ws, const struct pq_gram *gram) {
    for (int from = 0; from < gram->depth; from += PQ_DEPTH) {
        struct section s = {ws, gram, from, pq_least(PQ_DEPTH, gram->depth - from)};
        struct pack p = {.a = gram->a + (size_t)from * gram->lda,
                         .row = 1,
                         .step = gram->lda,
                         .m = gram->m,
                         .depth = s.depth,
                         .negative = gram->negative};
        pack(ws, &p);
        pq_pool_run(ws->pool, gram_tasks(gram), gram_task, &s);
    }
}

/* ---- Panels ---------------------------------------------------------------------------------- */

struct folding {
    const struct pq_workspace *ws;
    const struct pq_fold *fold;
};

static void fold_task(void *arg, int task, int thread) {
    const struct folding *f = arg;
    const struct pq_fold *fold = f->fold;
    if (fold->first)
        fold->first(fold->arg, task, thread);
    const float *x = fold->x + (size_t)task * fold->ldx;
    float *y = fold->y + (size_t)task * fold->ldy;
    for (int i = 0; i < fold->m; i += MR)
        f->ws->ops->tile_f32(y + (size_t)i * NR, pq_least(MR, fold->m - i), true,
                             f->ws->tiles + (size_t)i * (size_t)fold->depth, x, fold->depth,
                             (struct pq_ahead){0});
}

void pq_fold(const struct pq_workspace *ws, const struct pq_fold *fold, int panels) {
    struct pack p = {
        .a = fold->a, .row = fold->row, .step = fold->step, .m = fold->m, .depth = fold->depth};
    struct folding f = {ws, fold};
    pack(ws, &p);
    pq_pool_run(ws->pool, panels, fold_task, &f);
}

struct pq_fold pq_fold_columns(const float *a, int k, int from, int depth, const float *x,
                               float *y) {
    size_t size = (size_t)k;
    return (struct pq_fold){.a = a + (size_t)from * size,
                            .row = 1,
                            .step = size,
                            .m = k,
                            .depth = depth,
                            .x = x + (size_t)from * NR,
                            .y = y,
                            .ldx = size * NR,
                            .ldy = size * NR};
}

void pq_panels_multiply(const struct pq_workspace *ws, const float *a, int k, const float *x,
                        float *y, int panels) {
    memset(y, 0, (size_t)panels * (size_t)k * NR * sizeof *y);
    for (int from = 0; from < k; from += PQ_DEPTH) {
        struct pq_fold fold = pq_fold_columns(a, k, from, pq_least(PQ_DEPTH, k - from), x, y);
        pq_fold(ws, &fold, panels);
    }
}
