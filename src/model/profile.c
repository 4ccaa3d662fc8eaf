#include "model/profile.h"

#include "base/sort.h"

#include <time.h>

/* ---- Time ------------------------------------------------------------------------------------ */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void pq_profile_begin(struct pq_context *ctx) {
    if (ctx->profile)
        ctx->profile_mark = now();
}

void pq_profile_end(struct pq_context *ctx, enum pq_operator op) {
    if (!ctx->profile)
        return;
    double end = now(), seconds = end - ctx->profile_mark;
    ctx->profile->cost[op].seconds += seconds;
    ctx->profile_times[op * ctx->model->config.layers + ctx->profiled[op]++] = seconds;
    ctx->profile_mark = end;
}

void pq_profile_finish(struct pq_context *ctx) {
    if (!ctx->profile)
        return;
    for (enum pq_operator op = 0; op < PQ_OPERATORS; op++) {
        double *times = ctx->profile_times + op * ctx->model->config.layers;
        int n = ctx->profiled[op];
        if (n == 0)
            continue;
        pq_sort(times, n);
        ctx->profile->cost[op].typical += n * (times[(n - 1) / 2] + times[n / 2]) / 2;
        ctx->profiled[op] = 0;
    }
}

/* ---- Work ------------------------------------------------------------------------------------ */

static double value_bytes(enum pq_kind kind) {
    return 4.0 / pq_unit_values(kind);
}

/* The product of m rows with a linear's weights. */
static void count_weights(struct pq_operator_cost *cost, const struct pq_linear *linear, double m) {
    double ops = 2 * m * linear->n * linear->k;
    if (pq_takes_integers(linear))
        cost->int8_ops += ops;
    else
        cost->fp_ops += ops;
    cost->bytes += (double)pq_linear_bytes(linear);
}

/* The m rows that enter a linear: made of FP32 by `rows`, read by `op`. */
static void count_rows(const struct pq_pass *p, enum pq_operator rows, enum pq_operator op,
                       const struct pq_linear *linear, double m) {
    struct pq_operator_cost *cost = p->ctx->profile->cost;
    enum pq_kind kind = pq_takes_integers(linear) ? PQ_KIND_I8 : p->model->fp;
    double values = m * linear->k;
    cost[rows].bytes += values * ((double)sizeof(float) + value_bytes(kind));
    cost[op].bytes += values * value_bytes(kind);
}

/* Keys and values of the tokens are appended, and each token meets those of its past and its own:
 * keys in 8 bits where the cache has them so, values in floating point.  A chunk reads its past
 * once at least. */
static void count_attention(const struct pq_pass *p) {
    const struct pq_config *c = &p->model->config;
    struct pq_operator_cost *attention = &p->ctx->profile->cost[PQ_OP_ATTENTION];
    double position = (double)pq_context_position_bytes(p->ctx); /* of all layers */
    double *scores = p->ctx->kv.kind == PQ_KIND_I8 ? &attention->int8_ops : &attention->fp_ops;
    double q = (double)c->layers * c->heads * c->head_dim;
    double kv = (double)c->layers * c->kv_heads * c->head_dim;
    for (int i = 0; i < p->n_chunks; i++) {
        const struct pq_chunk *chunk = &p->s->chunks[i];
        double n = chunk->n, seen = n * chunk->position + n * (n + 1) / 2;
        double product = 2 * q * seen;
        *scores += product;
        attention->fp_ops += product;
        attention->bytes += n * (2 * q + 2 * kv) * sizeof(float);
        attention->bytes += (chunk->position + 2 * n) * position;
    }
}

static void count_layer(const struct pq_pass *p, const struct pq_layer *layer) {
    struct pq_operator_cost *cost = p->ctx->profile->cost;
    double m = p->m, out = m * sizeof(float);
    count_rows(p, PQ_OP_QKV_ROWS, PQ_OP_QKV, &layer->q, m);
    count_weights(&cost[PQ_OP_QKV], &layer->q, m);
    count_weights(&cost[PQ_OP_QKV], &layer->k, m);
    count_weights(&cost[PQ_OP_QKV], &layer->v, m);
    cost[PQ_OP_QKV].bytes += out * (layer->q.n + layer->k.n + layer->v.n);
    count_rows(p, PQ_OP_O_ROWS, PQ_OP_O, &layer->o, m);
    count_weights(&cost[PQ_OP_O], &layer->o, m);
    cost[PQ_OP_O].bytes += 2 * out * layer->o.n; /* added to x: read and written */
    count_rows(p, PQ_OP_GATE_UP_ROWS, PQ_OP_GATE_UP, &layer->up, m);
    count_weights(&cost[PQ_OP_GATE_UP], &layer->gate, m);
    count_weights(&cost[PQ_OP_GATE_UP], &layer->up, m);
    cost[PQ_OP_GATE_UP].bytes += out * layer->up.n;
    count_rows(p, PQ_OP_DOWN_ROWS, PQ_OP_DOWN, &layer->down, m);
    count_weights(&cost[PQ_OP_DOWN], &layer->down, m);
    cost[PQ_OP_DOWN].bytes += 2 * out * layer->down.n;
}

void pq_profile_count(const struct pq_pass *p, int wanted) {
    if (!p->ctx->profile)
        return;
    const struct pq_model *model = p->model;
    struct pq_operator_cost *cost = p->ctx->profile->cost;
    double row = (double)model->embedding->info.bytes / model->config.vocab;
    cost[PQ_OP_EMBED].bytes += p->m * (row + (double)sizeof(float) * model->config.hidden);
    for (int i = 0; i < model->config.layers; i++)
        count_layer(p, &model->layers[i]);
    count_attention(p);
    if (wanted == 0)
        return;
    count_rows(p, PQ_OP_HEAD_ROWS, PQ_OP_HEAD, &model->head, wanted);
    count_weights(&cost[PQ_OP_HEAD], &model->head, wanted);
    cost[PQ_OP_HEAD].bytes += (double)sizeof(float) * wanted * model->head.n;
}

/* ---- What others ask ------------------------------------------------------------------------- */

void pq_context_profile(struct pq_context *ctx, struct pq_profile *profile) {
    ctx->profile = profile;
}

const char *pq_operator_name(enum pq_operator op) {
    static const char *const names[PQ_OPERATORS] = {
        [PQ_OP_EMBED] = "embedding",
        [PQ_OP_QKV_ROWS] = "rows for q,k,v",
        [PQ_OP_QKV] = "q,k,v",
        [PQ_OP_ATTENTION] = "attention",
        [PQ_OP_O_ROWS] = "rows for o",
        [PQ_OP_O] = "o",
        [PQ_OP_GATE_UP_ROWS] = "rows for gate,up",
        [PQ_OP_GATE_UP] = "gate,up",
        [PQ_OP_DOWN_ROWS] = "rows for down",
        [PQ_OP_DOWN] = "down",
        [PQ_OP_HEAD_ROWS] = "rows for head",
        [PQ_OP_HEAD] = "head",
    };
    return names[op];
}
