#include "model/attention.h"

#include "base/arena.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum {
    TILES = 4,       /* of a task at most: they share what it reads of the cache */
    SPAN_BLOCKS = 2, /* of a span */
    SPAN = SPAN_BLOCKS * PQ_KV_BLOCK,
    APPEND = 2 * PQ_NR, /* positions that one task appends */
    FETCHED = 32,       /* lines at a time, of which a core can wait for some 24 */
};

/* ---- Scratch --------------------------------------------------------------------------------- */

/* What the rows of a tile have summed over some positions. */
struct sums {
    float *out;   /* [head_dim / PQ_NR][rows][PQ_NR], sum of p v */
    float *lanes; /* [rows][16], sum of p in 16 parts */
    float *max;   /* [rows], which p is relative to */
};

static size_t sums_floats(int rows, int head_dim) {
    return (size_t)rows * (size_t)(head_dim + 16 + 1);
}

static struct sums sums_at(float *at, int rows, int head_dim) {
    float *lanes = at + (size_t)rows * (size_t)head_dim;
    return (struct sums){at, lanes, lanes + (size_t)rows * 16};
}

/* A tile: up to PQ_MR pairs of a token and one of the query heads that share a KV head. */
struct tile {
    const struct pq_chunk *chunk;
    int kv_head;
    int first, rows;      /* of the chunk's n * group pairs, token by token */
    int end;              /* positions that the last row sees */
    void *q;              /* tile of queries */
    int32_t start[PQ_MR]; /* I8: of the integer sums */
    float scale[PQ_MR];   /* I8: of a query's codes */
    float *scores;        /* [PQ_KV_BLOCK / PQ_NR][rows][PQ_NR] */
    void *p;              /* tile of probabilities */
    float *total, *part;  /* sums of all spans so far, and of the present one */
};

/* What a thread's next task begins with.  It is fetched between the steps of the present one, some
 * lines at a time: more would keep the step's own loads from memory.  A line of every page in turn
 * comes sooner than page by page. */
struct upcoming {
    struct pq_ahead keys, first; /* panels: the one that the task appends to, and the first */
    struct pq_ahead values;      /* of a panel, and those of others lie so far apart */
    size_t apart;
    int panels;       /* of values */
    size_t done, end; /* bytes of each that have been fetched, and of the longest */
};

/* What one thread works with. */
struct work {
    struct tile tiles[TILES];
    void *rows;   /* [PQ_MR] of q or p, narrowed, on their way into a tile */
    void *wide;   /* I8: a panel of values */
    float *query; /* [head_dim] */
    struct upcoming upcoming;
};

/* Places the scratch of a thread; returns its size. */
static size_t place(struct work *w, unsigned char *base, int head_dim) {
    size_t d = (size_t)head_dim, longest = d > PQ_KV_BLOCK ? d : PQ_KV_BLOCK, used = 0;
    size_t unit = 4;
    size_t sums = sums_floats(PQ_MR, head_dim) * sizeof(float);
    for (int t = 0; t < TILES; t++) {
        struct tile *tile = &w->tiles[t];
        tile->q = pq_arena_cut(base, &used, PQ_MR * d * unit);
        tile->scores = pq_arena_cut(base, &used, PQ_MR * PQ_KV_BLOCK * sizeof(float));
        tile->p = pq_arena_cut(base, &used, PQ_MR * PQ_KV_BLOCK * unit);
        tile->total = pq_arena_cut(base, &used, sums);
        tile->part = pq_arena_cut(base, &used, sums);
    }
    w->rows = pq_arena_cut(base, &used, PQ_MR * longest * unit);
    w->wide = pq_arena_cut(base, &used, (size_t)PQ_KV_BLOCK * PQ_NR * sizeof(float));
    w->query = pq_arena_cut(base, &used, d * sizeof(float));
    return used;
}

size_t pq_attention_scratch(int head_dim) {
    struct work w;
    size_t append = 2 * PQ_NR * (size_t)head_dim * sizeof(float), work = place(&w, NULL, head_dim);
    return append > work ? append : work;
}

static int spans_of(int positions) {
    return (positions + SPAN - 1) / SPAN;
}

size_t pq_attention_partial(int tokens, int heads, int head_dim, int positions) {
    return (size_t)spans_of(positions) * sums_floats(tokens * heads, head_dim) * sizeof(float);
}

/* One head of one token, of a query or a key, as it is multiplied: its norm, if gamma is one, its
 * rotation, and what the cache does to it. */
static void turn(const struct pq_attention *a, float *y, const float *x, const float *gamma,
                 int position) {
    int d = a->kv->head_dim;
    const float *cos = a->angles + (size_t)position * (size_t)d;
    if (gamma)
        a->ops->e->rmsnorm(y, x, gamma, d, a->norm_eps);
    else
        memcpy(y, x, (size_t)d * sizeof *x);
    a->ops->e->rope(y, cos, cos + d / 2, d / 2);
    if (a->kv->hadamard.n)
        a->ops->e->hadamard(y, y, &a->kv->hadamard, false);
}

/* ---- One tile -------------------------------------------------------------------------------- */

static int group_of(const struct pq_attention *a) {
    return a->heads / a->kv->heads;
}

/* Offset in q, and in out, of a tile's row. */
static size_t row_at(const struct pq_attention *a, const struct tile *t, int r) {
    int group = group_of(a), pair = t->first + r;
    size_t token = (size_t)(t->chunk->row + pair / group);
    size_t head = (size_t)(t->kv_head * group + pair % group);
    return (token * (size_t)a->heads + head) * (size_t)a->kv->head_dim;
}

/* Positions that row r sees. */
static int seen_by(const struct pq_attention *a, const struct tile *t, int r) {
    return t->chunk->position + (t->first + r) / group_of(a) + 1;
}

/* Tile `index` of a KV head of a chunk. */
static void choose(const struct pq_attention *a, struct tile *t, const struct pq_chunk *chunk,
                   int kv_head, int index) {
    int left = chunk->n * group_of(a) - index * PQ_MR;
    t->chunk = chunk;
    t->kv_head = kv_head;
    t->first = index * PQ_MR;
    t->rows = left < PQ_MR ? left : PQ_MR;
    t->end = seen_by(a, t, t->rows - 1);
}

/* The tile's queries, rotated and narrowed to the cache's kind. */
static void take_queries(const struct pq_attention *a, const struct work *w, struct tile *t) {
    int d = a->kv->head_dim, units = d / pq_unit_values(a->kv->kind);
    for (int r = 0; r < t->rows; r++) /* a row at a time would be waited for */
        for (int i = 0; i < d; i += 16)
            __builtin_prefetch(a->q + row_at(a, t, r) + i);
    for (int r = 0; r < t->rows; r++) {
        float *q = w->query;
        void *row = (uint32_t *)w->rows + (size_t)r * (size_t)units;
        int32_t sum;
        turn(a, q, a->q + row_at(a, t, r), a->q_norm, seen_by(a, t, r) - 1);
        switch (a->kv->kind) {
        case PQ_KIND_BF16:
            a->ops->e->to_bf16(row, q, d);
            break;
        case PQ_KIND_I8:
            t->scale[r] = a->ops->e->quantize(row, &sum, NULL, q, d);
            t->start[r] = a->ops->start(row, d, sum);
            break;
        default:
            memcpy(row, q, (size_t)d * sizeof *q);
        }
    }
    pq_lay_tile(a->ops, a->kv->kind, t->q, w->rows, t->rows, units);
}

static void clear(const struct pq_attention *a, const struct tile *t, float *at) {
    struct sums s = sums_at(at, t->rows, a->kv->head_dim);
    memset(at, 0, sums_floats(t->rows, a->kv->head_dim) * sizeof *at);
    for (int r = 0; r < t->rows; r++)
        s.max[r] = -INFINITY;
}

/* Scores of one panel of keys; `ahead`: see cpu/ops.h. */
static void score(const struct pq_attention *a, const struct tile *t,
                  const struct pq_kv_block *block, int panel, struct pq_ahead ahead) {
    static const float no_bias[PQ_NR];
    int units = a->kv->head_dim / pq_unit_values(a->kv->kind);
    const unsigned char *keys = block->keys + (size_t)panel * (size_t)units * PQ_NR * 4;
    float *scores = t->scores + panel * t->rows * PQ_NR;
    if (a->kv->kind == PQ_KIND_I8) {
        _Alignas(64) int32_t acc[PQ_MR * PQ_NR];
        a->ops->tile_i8(acc, t->rows, t->start, t->q, keys, units, ahead, NULL);
        a->ops->e->finish_int(scores, PQ_NR, acc, t->rows, t->scale,
                              block->key_scales + panel * PQ_NR, no_bias, PQ_NR, false);
        return;
    }
    pq_tile_fp_fn *multiply = a->kv->kind == PQ_KIND_BF16 ? a->ops->tile_bf16 : a->ops->tile_f32;
    multiply(scores, t->rows, false, t->q, keys, units, ahead);
}

/* Scores of the block's first `positions` to a tile of probabilities; what the rows have summed is
 * made relative to their new maxima. */
static void weigh(const struct pq_attention *a, const struct work *w, const struct tile *t,
                  const struct pq_kv_block *block, int first, int positions, float *sums) {
    const struct pq_attend *attend = a->ops->attend;
    int d = a->kv->head_dim, n = pq_round_up(positions, PQ_NR), units = n / pq_unit_values(a->fp);
    struct sums s = sums_at(sums, t->rows, d);
    const float *weights = a->kv->kind == PQ_KIND_I8 ? block->value_scales : NULL;
    float alpha[PQ_MR], most[PQ_MR], scale = 1.44269504f / sqrtf((float)d); /* log2(e) */
    int valid[PQ_MR];
    size_t stride = (size_t)(t->rows * PQ_NR);
    bool risen = false;
    for (int r = 0; r < t->rows; r++) {
        int seen = seen_by(a, t, r) - first;
        valid[r] = seen < 0 ? 0 : seen < positions ? seen : positions;
        most[r] = attend->greatest(t->scores + r * PQ_NR, stride, valid[r]);
    }
    for (int r = 0; r < t->rows; r++) {
        alpha[r] = (a->fp == PQ_KIND_BF16 ? attend->softmax_bf16 : attend->softmax_f32)(
            (uint32_t *)w->rows + (size_t)r * (size_t)units, t->scores + r * PQ_NR, stride, weights,
            n, valid[r], scale, most[r], &s.max[r], s.lanes + 16 * r);
        risen |= alpha[r] != 1.0f;
    }
    pq_lay_tile(a->ops, a->fp, t->p, w->rows, t->rows, units);
    if (risen)
        attend->rescale(s.out, alpha, t->rows, d / PQ_NR);
}

/* ---- Some tiles ------------------------------------------------------------------------------ */

/* How many of the block's positions a tile sees. */
static int seen_of(const struct tile *t, int block) {
    int n = t->end - block * PQ_KV_BLOCK;
    return n < 0 ? 0 : n < PQ_KV_BLOCK ? n : PQ_KV_BLOCK;
}

/* From one panel of values to the next. */
static size_t values_apart(const struct pq_attention *a) {
    return a->kv->half_bytes / (size_t)(a->kv->head_dim / PQ_NR);
}

static const unsigned char *values_of(const struct pq_attention *a, const struct pq_kv_block *block,
                                      int panel) {
    return block->values + (size_t)panel * values_apart(a);
}

/* A panel of values in the kind that it is multiplied in, for so many positions. */
static const void *widened(const struct pq_attention *a, const struct work *w, const void *values,
                           int positions) {
    const struct pq_attend *attend = a->ops->attend;
    int units = (positions + 3) / 4;
    if (a->kv->kind != PQ_KIND_I8)
        return values;
    if (a->fp != PQ_KIND_BF16)
        attend->widen_f32(w->wide, values, units);
    else if (pq_in_pairs(a->ops, a->fp))
        attend->widen_bf16_pairs(w->wide, values, units);
    else
        attend->widen_bf16(w->wide, values, units);
    return w->wide;
}

/* So many positions of a tile of probabilities and of a panel of values, which end in zeros. */
static int units_of(const struct pq_attention *a, int positions) {
    int each = pq_in_pairs(a->ops, a->fp) ? 2 : 1, v = pq_unit_values(a->fp) * each;
    return (positions + v - 1) / v * each;
}

static size_t key_bytes(const struct pq_attention *a) {
    return (size_t)(a->kv->head_dim / pq_unit_values(a->kv->kind)) * PQ_NR * 4;
}

/* What tile t of n fetches while it meets a panel: a part of what is met next. */
static struct pq_ahead part_of(struct pq_ahead next, int t, int n) {
    size_t bytes = next.bytes / (size_t)n;
    return (struct pq_ahead){.from = (const unsigned char *)next.from + (size_t)t * bytes,
                             .bytes = bytes};
}

/* Of a panel of values, so many positions. */
static size_t value_bytes(const struct pq_attention *a, int positions) {
    int v = pq_unit_values(a->kv->kind);
    return (size_t)((positions + v - 1) / v) * PQ_NR * 4;
}

/* A lone tile waits for memory throughout: of a block that it sees all of, whose panels follow each
 * other, it fetches what is so far ahead, and not a panel. */
static struct pq_ahead in_order(const void *panel, size_t bytes) {
    return (struct pq_ahead){.from = (const unsigned char *)panel + PQ_FETCH_DISTANCE,
                             .bytes = bytes};
}

/* What `tiles` fetch while they meet panel p of a block's keys, of whose positions n are seen: the
 * next panel or, a line a unit, for which they do not wait, the first of the values. */
static struct pq_ahead after_keys(const struct pq_attention *a, const struct pq_kv_block *block,
                                  int p, int n, int tiles) {
    size_t bytes = key_bytes(a), values = value_bytes(a, n), most = (size_t)tiles * bytes / 2;
    if (tiles == 1 && n == PQ_KV_BLOCK)
        return in_order(block->keys + (size_t)p * bytes, bytes);
    if ((p + 1) * PQ_NR < n)
        return (struct pq_ahead){.from = block->keys + (size_t)(p + 1) * bytes, .bytes = bytes};
    return (struct pq_ahead){.from = block->values, .bytes = values <= most ? values : most};
}

/* While they meet panel p of its values: the next panel, or the first keys of the next block, NULL
 * where there is none. */
static struct pq_ahead after_values(const struct pq_attention *a, const struct pq_kv_block *block,
                                    int p, int n, int tiles, const void *next) {
    if (tiles == 1 && n == PQ_KV_BLOCK)
        return in_order(values_of(a, block, p), value_bytes(a, n));
    if ((p + 1) * PQ_NR < a->kv->head_dim)
        return (struct pq_ahead){.from = values_of(a, block, p + 1), .bytes = value_bytes(a, n)};
    return (struct pq_ahead){.from = next ? next : block->values, .bytes = next ? key_bytes(a) : 0};
}

/* A line of each half of a panel of keys, pages of their own in BF16; returns how many. */
static int fetch_halves(struct pq_ahead panel, size_t done) {
    const unsigned char *from = panel.from;
    size_t half = panel.bytes / 2;
    if (done >= half)
        return 0;
    __builtin_prefetch(from + done);
    __builtin_prefetch(from + half + done);
    return 2;
}

/* Fetch so many lines more. */
static void fetch(struct upcoming *u, int lines) {
    const unsigned char *values = u->values.from;
    for (; u->done < u->end && lines > 0; u->done += 64) {
        lines -= fetch_halves(u->keys, u->done) + fetch_halves(u->first, u->done);
        if (u->done < u->values.bytes)
            for (int p = 0; p < u->panels; p++, lines--)
                __builtin_prefetch(values + (size_t)p * u->apart + u->done);
    }
}

/* The first n tiles, which follow each other, meet one block: panel by panel, so that a panel comes
 * from memory once. */
static void meet(const struct pq_attention *a, struct work *w, int n, int index,
                 float *const *sums) {
    const struct tile *tiles = w->tiles, *last = &tiles[n - 1];
    struct pq_kv_block block =
        pq_kv_block(a->kv, a->layer, last->chunk->sequence, last->kv_head, index);
    int most = seen_of(last, index);
    const void *next_keys = NULL;
    if (seen_of(last, index + 1) > 0)
        next_keys =
            pq_kv_block(a->kv, a->layer, last->chunk->sequence, last->kv_head, index + 1).keys;
    pq_tile_fp_fn *multiply = a->fp == PQ_KIND_BF16 ? a->ops->tile_bf16 : a->ops->tile_f32;
    for (int p = 0; p * PQ_NR < most; p++) {
        struct pq_ahead next = after_keys(a, &block, p, most, n);
        for (int t = 0; t < n; t++)
            if (p * PQ_NR < seen_of(&tiles[t], index))
                score(a, &tiles[t], &block, p, part_of(next, t, n));
    }
    fetch(&w->upcoming, FETCHED);
    for (int t = 0; t < n; t++)
        if (seen_of(&tiles[t], index) > 0)
            weigh(a, w, &tiles[t], &block, index * PQ_KV_BLOCK, seen_of(&tiles[t], index), sums[t]);
    for (int p = 0; p < a->kv->head_dim / PQ_NR; p++) {
        fetch(&w->upcoming, FETCHED);
        const void *values = widened(a, w, values_of(a, &block, p), most);
        struct pq_ahead next = after_values(a, &block, p, most, n, next_keys);
        for (int t = 0; t < n; t++) {
            int units = units_of(a, seen_of(&tiles[t], index));
            if (units > 0)
                multiply(sums[t] + p * tiles[t].rows * PQ_NR, tiles[t].rows, true, tiles[t].p,
                         values, units, part_of(next, t, n));
        }
    }
}

/* sums[t] = what tile t sums over one span. */
static void meet_span(const struct pq_attention *a, struct work *w, int n, int span,
                      float *const *sums) {
    for (int t = 0; t < n; t++)
        clear(a, &w->tiles[t], sums[t]);
    for (int b = span * SPAN_BLOCKS; b < (span + 1) * SPAN_BLOCKS; b++)
        if (seen_of(&w->tiles[n - 1], b) > 0)
            meet(a, w, n, b, sums);
}

/* total = total and part, relative to the greater of their maxima. */
static void merge(const struct pq_attention *a, const struct tile *tile, float *total_at,
                  float *part_at) {
    int d = a->kv->head_dim;
    struct sums total = sums_at(total_at, tile->rows, d), part = sums_at(part_at, tile->rows, d);
    float x[PQ_MR], y[PQ_MR];
    for (int r = 0; r < tile->rows; r++) {
        float max = part.max[r] > total.max[r] ? part.max[r] : total.max[r];
        x[r] = exp2f(total.max[r] - max);
        y[r] = exp2f(part.max[r] - max);
        total.max[r] = max;
        for (int i = 0; i < 16; i++)
            total.lanes[16 * r + i] =
                total.lanes[16 * r + i] * x[r] + part.lanes[16 * r + i] * y[r];
    }
    a->ops->attend->merge(total.out, x, part.out, y, tile->rows, d / PQ_NR);
}

/* The tile's rows of a->out from all their sums. */
static void finish(const struct pq_attention *a, const struct tile *tile, float *total) {
    int d = a->kv->head_dim;
    struct sums s = sums_at(total, tile->rows, d);
    for (int r = 0; r < tile->rows; r++) {
        float sum = 0;
        for (int i = 0; i < 16; i++)
            sum += s.lanes[16 * r + i];
        a->ops->attend->finish(a->out + row_at(a, tile, r), s.out + r * PQ_NR,
                               (size_t)(tile->rows * PQ_NR), 1.0f / sum, d / PQ_NR);
    }
}

/* ---- All of them ----------------------------------------------------------------------------- */

/* One parallel section. */
struct section {
    const struct pq_attention *a;
    int grain;  /* tiles of a task */
    int tokens; /* of the batch */
    bool split; /* a task is one span of one tile */
};

static int tiles_of(const struct pq_attention *a, const struct pq_chunk *chunk) {
    return (chunk->n * group_of(a) + PQ_MR - 1) / PQ_MR;
}

static int tasks_of(const struct section *s, const struct pq_chunk *chunk) {
    int tasks = s->a->kv->heads * ((tiles_of(s->a, chunk) + s->grain - 1) / s->grain);
    return s->split ? tasks * spans_of(chunk->position + chunk->n) : tasks;
}

/* The chunk that a task belongs to; *local: its number among the chunk's tasks. */
static const struct pq_chunk *chunk_of(const struct pq_attention *a, int task, int *local) {
    int c = 0;
    while (a->first_task[c + 1] <= task)
        c++;
    *local = task - a->first_task[c];
    return &a->chunks[c];
}

/* ---- Append ---------------------------------------------------------------------------------- */

/* Keys and values of one head of a chunk's tokens from..to-1, panel by panel of keys. */
static void append(const struct pq_attention *a, const struct pq_chunk *chunk, int head, int from,
                   int to, void *scratch) {
    size_t d = (size_t)a->kv->head_dim, ld = (size_t)a->kv->heads * d;
    float *keys = scratch, *temp = keys + PQ_NR * d;
    for (int t = from, n; t < to; t += n) {
        int position = chunk->position + t, left = PQ_NR - position % PQ_NR;
        size_t row = (size_t)(chunk->row + t) * ld + (size_t)head * d;
        n = to - t < left ? to - t : left;
        for (int i = 0; i < n; i++)
            turn(a, keys + (size_t)i * d, a->k + row + (size_t)i * ld, a->k_norm, position + i);
        pq_kv_put(a->kv, a->ops->e, a->layer, chunk->sequence, head, position, n, keys, a->v + row,
                  ld, temp);
    }
}

/* Whether each head of a chunk is one task, which then appends what it attends to: a key is a unit
 * a cache line, and the lines are still there. */
static bool appends_itself(const struct section *s, const struct pq_chunk *chunk) {
    return tasks_of(s, chunk) == s->a->kv->heads;
}

static int slices_of(const struct pq_chunk *chunk) {
    return (chunk->position + chunk->n - 1) / APPEND - chunk->position / APPEND + 1;
}

/* Tasks cut a chunk at fixed positions, so that no two write to one unit of the cache; head by head
 * as attention's do, so that a core meets what it appended. */
static void append_task(void *arg, int task, int thread) {
    const struct pq_attention *a = arg;
    int local;
    const struct pq_chunk *chunk = chunk_of(a, task, &local);
    int slices = slices_of(chunk), head = local / slices;
    int slice = chunk->position / APPEND + local % slices;
    int from = slice * APPEND - chunk->position, to = from + APPEND;
    append(a, chunk, head, from > 0 ? from : 0, to < chunk->n ? to : chunk->n, a->scratch[thread]);
}

/* The chunks that do not themselves. */
static void append_others(struct pq_pool *pool, const struct section *s) {
    const struct pq_attention *a = s->a;
    a->first_task[0] = 0;
    for (int c = 0; c < a->n; c++) {
        const struct pq_chunk *chunk = &a->chunks[c];
        int tasks = appends_itself(s, chunk) ? 0 : slices_of(chunk) * a->kv->heads;
        a->first_task[c + 1] = a->first_task[c] + tasks;
    }
    pq_pool_run(pool, a->first_task[a->n], append_task, (void *)a);
}

/* ---- Attend ---------------------------------------------------------------------------------- */

/* Where the sums of a tile over a span are kept until they are merged. */
static float *partial_at(const struct section *s, const struct tile *t, int span) {
    const struct pq_attention *a = s->a;
    int group = group_of(a), row = t->chunk->row * a->heads + t->kv_head * t->chunk->n * group;
    return a->partial + sums_floats(span * s->tokens * a->heads + row + t->first, a->kv->head_dim);
}

/* Tiles all of whose spans are met here, one after the other. */
static void whole_task(const struct section *s, struct work *w, int n) {
    float *totals[TILES], *parts[TILES];
    for (int t = 0; t < n; t++) {
        totals[t] = w->tiles[t].total;
        parts[t] = w->tiles[t].part;
    }
    meet_span(s->a, w, n, 0, totals);
    for (int span = 1; span < spans_of(w->tiles[n - 1].end); span++) {
        meet_span(s->a, w, n, span, parts);
        for (int t = 0; t < n; t++)
            merge(s->a, &w->tiles[t], totals[t], parts[t]);
    }
    for (int t = 0; t < n; t++)
        finish(s->a, &w->tiles[t], totals[t]);
}

/* What the task begins with, if there is one and it appends: others find it fetched beside
 * products. */
static struct upcoming upcoming_of(const struct section *s, int task) {
    const struct pq_attention *a = s->a;
    int head;
    struct upcoming u = {0};
    if (task == a->first_task[a->n])
        return u;
    const struct pq_chunk *chunk = chunk_of(a, task, &head);
    if (!appends_itself(s, chunk))
        return u;
    int block = chunk->position / PQ_KV_BLOCK, at = chunk->position % PQ_KV_BLOCK;
    size_t bytes = key_bytes(a), panel = (size_t)(at / PQ_NR);
    struct pq_kv_block first = pq_kv_block(a->kv, a->layer, chunk->sequence, head, 0);
    struct pq_kv_block last = pq_kv_block(a->kv, a->layer, chunk->sequence, head, block);
    size_t before = value_bytes(a, at / PQ_NR * PQ_NR);
    u.keys = (struct pq_ahead){.from = last.keys + panel * bytes, .bytes = bytes};
    if (chunk->position >= PQ_NR)
        u.first = (struct pq_ahead){.from = first.keys, .bytes = bytes};
    u.values =
        (struct pq_ahead){.from = last.values + before, .bytes = value_bytes(a, at + 1) - before};
    u.apart = values_apart(a);
    u.panels = a->kv->head_dim / PQ_NR;
    u.end = u.values.bytes > bytes / 2 ? u.values.bytes : bytes / 2;
    return u;
}

static void run_task(void *arg, int task, int thread) {
    const struct section *s = arg;
    const struct pq_attention *a = s->a;
    struct work w;
    int local;
    const struct pq_chunk *chunk = chunk_of(a, task, &local);
    place(&w, a->scratch[thread], a->kv->head_dim);
    w.upcoming = upcoming_of(s, task + 1);
    fetch(&w.upcoming, FETCHED);
    /* Head by head, whose past then stays in a cache that the threads share.  The last tokens have
     * the longest past: they go first, so that no thread ends alone. */
    int each = tasks_of(s, chunk) / a->kv->heads, head = local / each;
    int spans = s->split ? spans_of(chunk->position + chunk->n) : 1;
    int rest = each - 1 - local % each, first = rest / spans * s->grain, span = rest % spans, n = 0;
    if (appends_itself(s, chunk))
        append(a, chunk, head, 0, chunk->n, a->scratch[thread]);
    fetch(&w.upcoming, FETCHED);
    for (; n < s->grain && first + n < tiles_of(a, chunk); n++) {
        choose(a, &w.tiles[n], chunk, head, first + n);
        take_queries(a, &w, &w.tiles[n]);
        fetch(&w.upcoming, FETCHED);
    }
    if (s->split)
        meet_span(a, &w, 1, span, (float *[]){partial_at(s, &w.tiles[0], span)});
    else
        whole_task(s, &w, n);
    fetch(&w.upcoming, INT_MAX);
}

/* The tiles of one KV head of one chunk, whose spans have been met apart. */
static void merge_task(void *arg, int task, int thread) {
    const struct section *s = arg;
    const struct pq_attention *a = s->a;
    const struct pq_chunk *chunk = &a->chunks[task / a->kv->heads];
    struct work w;
    place(&w, a->scratch[thread], a->kv->head_dim);
    for (int i = 0; i < tiles_of(a, chunk); i++) {
        struct tile *tile = &w.tiles[0];
        choose(a, tile, chunk, task % a->kv->heads, i);
        float *total = partial_at(s, tile, 0);
        for (int span = 1; span < spans_of(tile->end); span++)
            merge(a, tile, total, partial_at(s, tile, span));
        finish(a, tile, total);
    }
}

void pq_attention_run(struct pq_pool *pool, const struct pq_attention *a) {
    struct section s = {.a = a};
    int tiles = 0, longest = 0;
    for (int c = 0; c < a->n; c++) {
        const struct pq_chunk *chunk = &a->chunks[c];
        s.tokens += chunk->n;
        tiles += a->kv->heads * tiles_of(a, chunk);
        longest = chunk->position + chunk->n > longest ? chunk->position + chunk->n : longest;
    }
    /* Each thread as many heads of its own is faster than spans, which are merged afterwards. */
    bool even = tiles % pq_pool_threads(pool) == 0;
    s.split = s.tokens <= a->partial_tokens && longest > SPAN && !even;
    s.grain = s.split ? 1 : tiles / (4 * pq_pool_threads(pool));
    s.grain = s.grain < 1 ? 1 : s.grain > TILES ? TILES : s.grain;
    append_others(pool, &s);
    a->first_task[0] = 0;
    for (int c = 0; c < a->n; c++)
        a->first_task[c + 1] = a->first_task[c] + tasks_of(&s, &a->chunks[c]);
    pq_pool_run(pool, a->first_task[a->n], run_task, &s);
    if (s.split)
        pq_pool_run(pool, a->n * a->kv->heads, merge_task, &s);
}
