#include "model/attention.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { SCORES = PQ_MR * PQ_KV_BLOCK };

/* What one task works with: a tile of rows, each one query head of one token. */
struct work {
    float *row;    /* [head_dim] */
    void *units;   /* [PQ_KV_BLOCK or head_dim] of a row, narrowed */
    void *q;       /* tile of queries */
    void *p;       /* tile of probabilities */
    float *scores; /* [PQ_MR][PQ_KV_BLOCK] */
    float *out;    /* [head_dim / PQ_NR] tiles of sums */
};

static size_t place(struct work *w, unsigned char *at, int head_dim) {
    size_t d = (size_t)head_dim, longest = d > PQ_KV_BLOCK ? d : PQ_KV_BLOCK;
    size_t sizes[] = {d, longest, PQ_MR * d, SCORES, SCORES, PQ_MR * d}, at_byte[6], bytes = 0;
    for (int i = 0; i < 6; i++) {
        at_byte[i] = bytes;
        bytes += (sizes[i] * sizeof(float) + 63) / 64 * 64;
    }
    if (w)
        *w = (struct work){.row = (float *)(at + at_byte[0]),
                           .units = at + at_byte[1],
                           .q = at + at_byte[2],
                           .p = at + at_byte[3],
                           .scores = (float *)(at + at_byte[4]),
                           .out = (float *)(at + at_byte[5])};
    return bytes;
}

size_t pq_attention_scratch(int head_dim) {
    return place(NULL, NULL, head_dim);
}

/* ---- Append ---------------------------------------------------------------------------------- */

/* One head of one token in place: its norm, if gamma is one, and its rotation. */
static void turn(const struct pq_attention *a, float *x, const float *gamma, const float *cos,
                 const float *sin) {
    int d = a->kv->head_dim;
    if (gamma)
        a->ops->e->rmsnorm(x, x, gamma, d, a->norm_eps);
    a->ops->e->rope(x, cos, sin, d / 2);
}

/* All tokens of one chunk for one KV head and the query heads that share it. */
static void append_task(void *arg, int task, int thread) {
    const struct pq_attention *a = arg;
    const struct pq_kv *kv = a->kv;
    const struct pq_chunk *chunk = &a->chunks[task / kv->heads];
    int head = task % kv->heads, group = a->heads / kv->heads, d = kv->head_dim;
    for (int t = 0; t < chunk->n; t++) {
        size_t row = (size_t)(chunk->row + t);
        const float *cos = a->cos + row * (size_t)(d / 2), *sin = a->sin + row * (size_t)(d / 2);
        float *q = a->q + (row * (size_t)a->heads + (size_t)(head * group)) * (size_t)d;
        size_t at = (row * (size_t)kv->heads + (size_t)head) * (size_t)d;
        for (int h = 0; h < group; h++)
            turn(a, q + h * d, a->q_norm, cos, sin);
        turn(a, a->k + at, a->k_norm, cos, sin);
        pq_kv_put(kv, a->ops->e, a->layer, chunk->sequence, head, chunk->position + t, a->k + at,
                  a->v + at, a->scratch[thread]);
    }
}

void pq_attention_append(struct pq_pool *pool, const struct pq_attention *a) {
    pq_pool_run(pool, a->n * a->kv->heads, append_task, (void *)a);
}

/* ---- Run ------------------------------------------------------------------------------------- */

/* How the query heads of a KV head, and the tokens of a chunk, are cut into tiles. */
struct tiling {
    int heads;  /* query heads of a tile */
    int parts;  /* tiles that the query heads of a KV head take */
    int tokens; /* tokens of a tile */
};

static struct tiling tiling_of(const struct pq_attention *a) {
    int group = a->heads / a->kv->heads;
    struct tiling t = {.parts = (group + PQ_MR - 1) / PQ_MR};
    t.heads = (group + t.parts - 1) / t.parts;
    t.tokens = PQ_MR / t.heads;
    return t;
}

static int tasks_of(const struct pq_attention *a, const struct pq_chunk *chunk) {
    struct tiling t = tiling_of(a);
    return a->kv->heads * t.parts * ((chunk->n + t.tokens - 1) / t.tokens);
}

/* One tile: rows = tokens * heads, token by token. */
struct tile {
    const struct pq_chunk *chunk;
    int kv_head, first_head, heads, first_token, tokens;
};

static struct tile tile_of(const struct pq_attention *a, int task) {
    int c = 0;
    while (a->first_task[c + 1] <= task)
        c++;
    struct tiling t = tiling_of(a);
    const struct pq_chunk *chunk = &a->chunks[c];
    int group = a->heads / a->kv->heads, streams = a->kv->heads * t.parts;
    /* The last tokens have the longest past: they go first, so that no thread ends alone. */
    int local = a->first_task[c + 1] - 1 - task;
    int stream = local % streams, part = stream % t.parts;
    struct tile tile = {
        .chunk = chunk, .kv_head = stream / t.parts, .first_token = local / streams * t.tokens};
    tile.first_head = tile.kv_head * group + part * t.heads;
    tile.heads = group - part * t.heads < t.heads ? group - part * t.heads : t.heads;
    tile.tokens = chunk->n - tile.first_token < t.tokens ? chunk->n - tile.first_token : t.tokens;
    return tile;
}

/* Row r of a tile of `rows` from x [n], narrowed to the cache's kind. */
static void set_row(const struct pq_attention *a, void *tile, int rows, int r, const float *x,
                    int n, void *units) {
    const uint32_t *from = (const uint32_t *)x;
    if (a->kv->kind == PQ_KIND_BF16) {
        a->ops->e->to_bf16(units, x, n);
        from = units;
    }
    uint32_t *to = (uint32_t *)tile + r;
    int count = n / pq_unit_values(a->kv->kind);
    for (int i = 0; i < count; i++)
        to[i * rows] = from[i];
}

static const float *query_row(const struct pq_attention *a, const struct tile *t, int r) {
    size_t token = (size_t)(t->chunk->row + t->first_token + r / t->heads);
    size_t head = (size_t)(t->first_head + r % t->heads);
    return a->q + (token * (size_t)a->heads + head) * (size_t)a->kv->head_dim;
}

/* scores [rows][PQ_KV_BLOCK] of the block's first `panels` key panels. */
static void score(const struct pq_attention *a, const struct work *w, int rows, int panels,
                  const unsigned char *keys, pq_tile_fp_fn *multiply) {
    int units = a->kv->head_dim / pq_unit_values(a->kv->kind);
    for (int p = 0; p < panels; p++) {
        float acc[PQ_MR * PQ_NR] = {0};
        multiply(acc, rows, w->q, keys + (size_t)p * (size_t)units * PQ_NR * 4, units, w->q);
        for (int r = 0; r < rows; r++)
            memcpy(w->scores + r * PQ_KV_BLOCK + p * PQ_NR, acc + r * PQ_NR, PQ_NR * sizeof(float));
    }
}

/* out = alpha out + probabilities * values over the block's first `positions`. */
static void gather(const struct pq_attention *a, const struct work *w, int rows, int positions,
                   const float *alpha, const unsigned char *values, pq_tile_fp_fn *multiply) {
    int v = pq_unit_values(a->kv->kind), panels = a->kv->head_dim / PQ_NR;
    for (int p = 0; p < panels; p++) {
        float *out = w->out + p * rows * PQ_NR;
        for (int r = 0; r < rows; r++)
            if (alpha[r] != 1.0f)
                a->ops->e->scale(out + r * PQ_NR, alpha[r], PQ_NR);
        multiply(out, rows, w->p, values + (size_t)p * PQ_KV_BLOCK * PQ_NR * 4 / (size_t)v,
                 (positions + v - 1) / v, w->p);
    }
}

static void finish(const struct pq_attention *a, const struct work *w, const struct tile *t,
                   int rows, const float *sum) {
    int d = a->kv->head_dim;
    for (int r = 0; r < rows; r++) {
        float *out = a->out + (query_row(a, t, r) - a->q);
        for (int p = 0; p < d / PQ_NR; p++)
            for (int c = 0; c < PQ_NR; c++)
                out[p * PQ_NR + c] = w->out[(p * rows + r) * PQ_NR + c] / sum[r];
    }
}

static void run_task(void *arg, int task, int thread) {
    const struct pq_attention *a = arg;
    const struct pq_kv *kv = a->kv;
    struct tile t = tile_of(a, task);
    struct work w;
    place(&w, a->scratch[thread], kv->head_dim);
    pq_tile_fp_fn *multiply = kv->kind == PQ_KIND_BF16 ? a->ops->tile_bf16 : a->ops->tile_f32;
    float max[PQ_MR], sum[PQ_MR] = {0}, alpha[PQ_MR], scale = 1.0f / sqrtf((float)kv->head_dim);
    int rows = t.tokens * t.heads, first = t.chunk->position + t.first_token;
    for (int r = 0; r < rows; r++) {
        max[r] = -INFINITY;
        set_row(a, w.q, rows, r, query_row(a, &t, r), kv->head_dim, w.units);
    }
    memset(w.out, 0, (size_t)(rows * kv->head_dim) * sizeof(float));
    int end = first + t.tokens; /* positions that the tile's last token sees */
    for (int b = 0; b * PQ_KV_BLOCK < end; b++) {
        int there = end - b * PQ_KV_BLOCK < PQ_KV_BLOCK ? end - b * PQ_KV_BLOCK : PQ_KV_BLOCK;
        int panels = (there + PQ_NR - 1) / PQ_NR;
        score(a, &w, rows, panels, pq_kv_keys(kv, a->layer, t.chunk->sequence, t.kv_head, b),
              multiply);
        for (int r = 0; r < rows; r++) {
            float *s = w.scores + r * PQ_KV_BLOCK;
            int seen = first + r / t.heads + 1 - b * PQ_KV_BLOCK;
            alpha[r] = a->ops->e->softmax(s, panels * PQ_NR, seen < there ? seen : there, scale,
                                          &max[r], &sum[r]);
            set_row(a, w.p, rows, r, s, panels * PQ_NR, w.units);
        }
        gather(a, &w, rows, there, alpha,
               pq_kv_values(kv, a->layer, t.chunk->sequence, t.kv_head, b), multiply);
    }
    finish(a, &w, &t, rows, sum);
}

void pq_attention_run(struct pq_pool *pool, const struct pq_attention *a) {
    a->first_task[0] = 0;
    for (int c = 0; c < a->n; c++)
        a->first_task[c + 1] = a->first_task[c] + tasks_of(a, &a->chunks[c]);
    pq_pool_run(pool, a->first_task[a->n], run_task, (void *)a);
}
