#include "quant/transform.h"

#include "model/linears.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char EMBEDDING[] = "model.embed_tokens.weight", HEAD[] = "lm_head.weight";

/* ---- The transform --------------------------------------------------------------------------- */

/* Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. */
static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static enum pq_status plan(struct pq_transform *t, struct pq_err *err) {
    const struct pq_config *c = pq_checkpoint_config(t->ckpt);
    uint64_t state = t->options.seed;
    if (t->options.rotate_stream)
        PQ_TRY(pq_hadamard_open(&t->stream, c->hidden, err));
    if (t->options.rotate_heads)
        PQ_TRY(pq_hadamard_open(&t->head, c->head_dim, err));
    if (t->options.rotate_down)
        PQ_TRY(pq_hadamard_open(&t->ffn, c->ffn, err));
    t->signs = malloc((size_t)c->hidden * sizeof *t->signs);
    if (!t->signs)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d signs", c->hidden);
    for (int i = 0; i < c->hidden; i++)
        t->signs[i] = splitmix64(&state) >> 63 ? -1 : 1;
    return PQ_OK;
}

enum pq_status pq_transform_open(struct pq_transform *out, const struct pq_checkpoint *ckpt,
                                 const struct pq_transform_options *options, struct pq_err *err) {
    struct pq_transform t = {
        .ckpt = ckpt, .e = pq_ops_get(PQ_ISA_COUNT - 1)->e, .options = *options};
    enum pq_status status = plan(&t, err);
    if (status == PQ_OK)
        *out = t;
    else
        pq_transform_close(&t);
    return status;
}

void pq_transform_close(struct pq_transform *transform) {
    pq_hadamard_close(&transform->stream);
    pq_hadamard_close(&transform->head);
    pq_hadamard_close(&transform->ffn);
    free(transform->signs);
    *transform = (struct pq_transform){0};
}

bool pq_transform_rotates_head(const struct pq_transform *transform) {
    return transform->options.rotate_stream && !transform->options.untie &&
           pq_checkpoint_config(transform->ckpt)->tied;
}

/* ---- Names ----------------------------------------------------------------------------------- */

static struct pq_scales scales_of(const struct pq_transform *t, int layer) {
    return t->options.scales && layer >= 0 ? t->options.scales[layer] : (struct pq_scales){0};
}

static const struct pq_hadamard *some(const struct pq_hadamard *plan) {
    return plan->n ? plan : NULL;
}

bool pq_transform_changes(const struct pq_transform *t, const char *name) {
    static const char *const never[] = {"self_attn.q_norm.weight", "self_attn.k_norm.weight",
                                        "self_attn.q_proj.bias", "self_attn.k_proj.bias"};
    int layer;
    const char *rest = pq_in_layer(name, &layer);
    for (size_t i = 0; rest && i < sizeof never / sizeof *never; i++)
        if (strcmp(rest, never[i]) == 0)
            return false;
    return t->stream.n || t->head.n || t->ffn.n || (rest && t->options.scales);
}

/* The norm tensor NAME of the layer, or "model.norm.weight". */
static const struct pq_tensor *norm_of(const struct pq_transform *t, int layer, const char *norm) {
    char name[96];
    snprintf(name, sizeof name, layer < 0 ? "model.norm.weight" : "model.layers.%d.%s.weight",
             layer, norm);
    return pq_checkpoint_find(t->ckpt, name);
}

/* ---- What becomes of a matrix ---------------------------------------------------------------- */

/* A reader of the stream: gamma, Q, and the scales of the rotated channels. */
static void read_stream(struct pq_transformed *m, const struct pq_tensor *gamma,
                        const float *scales) {
    m->columns = some(&m->transform->stream);
    m->signed_columns = m->columns;
    m->after = scales;
    if (m->columns && gamma)
        pq_tensor_to_f32(gamma, 0, (size_t)m->k, m->before);
}

static void write_stream(struct pq_transformed *m) {
    m->rows = some(&m->transform->stream);
    m->signed_rows = m->rows;
}

/* o's input: the scales of a KV head for each of its query heads. */
static void read_heads(struct pq_transformed *m, const float *scales) {
    const struct pq_config *c = pq_checkpoint_config(m->transform->ckpt);
    int group = c->heads / c->kv_heads;
    m->columns = some(&m->transform->head);
    for (int i = 0; scales && i < m->k; i++) {
        int head = i / c->head_dim / group;
        m->before[i] = scales[head * c->head_dim + i % c->head_dim];
    }
}

/* m->before is all ones. */
static void describe(struct pq_transformed *m, const char *name) {
    const struct pq_transform *t = m->transform;
    int layer;
    const char *rest = pq_in_layer(name, &layer);
    struct pq_scales s = scales_of(t, layer);
    if (!rest) {
        bool head = strcmp(name, HEAD) == 0;
        read_stream(m, head ? norm_of(t, -1, NULL) : NULL, NULL);
    } else if (strncmp(rest, "self_attn.o", 11) == 0) {
        read_heads(m, s.o);
        write_stream(m);
    } else if (strncmp(rest, "mlp.down", 8) == 0) {
        m->columns = some(&t->ffn);
        if (s.down)
            memcpy(m->before, s.down, (size_t)m->k * sizeof *s.down);
        write_stream(m);
    } else if (strncmp(rest, "mlp.", 4) == 0) {
        read_stream(m, norm_of(t, layer, "post_attention_layernorm"), s.mlp);
        m->divide = strncmp(rest, "mlp.up", 6) == 0 ? s.down : NULL;
    } else {
        bool v = strncmp(rest, "self_attn.v", 11) == 0;
        read_stream(m, norm_of(t, layer, "input_layernorm"), s.qkv);
        m->divide = v ? s.o : NULL;
        m->rows = v ? some(&t->head) : NULL;
    }
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* x [n] in place: the stream's signs, then blocks of the plan's order. */
static void rotate(const struct pq_transform *t, const struct pq_hadamard *plan, bool with_signs,
                   double *x, int n) {
    for (int i = 0; with_signs && i < n; i++)
        x[i] *= t->signs[i];
    for (int i = 0; i < n; i += plan->n)
        t->e->hadamard64(x + i, x + i, plan, false);
}

/* What becomes of row `row` before rows mix. */
static void make_row(const struct pq_transformed *m, int row, float *out, double *x) {
    size_t k = (size_t)m->k;
    pq_tensor_to_f32(m->source, (size_t)row * k, k, out);
    for (size_t i = 0; i < k; i++)
        x[i] = (double)out[i] * (double)m->before[i];
    if (m->columns)
        rotate(m->transform, m->columns, m->signed_columns, x, m->k);
    for (size_t i = 0; m->after && i < k; i++)
        x[i] *= (double)m->after[i];
    for (size_t i = 0; m->divide && i < k; i++)
        x[i] /= (double)m->divide[row];
    for (size_t i = 0; i < k; i++)
        out[i] = (float)x[i];
}

void pq_transformed_row(const struct pq_transformed *matrix, int row, float *out, double *temp) {
    size_t k = (size_t)matrix->k;
    if (matrix->whole)
        memcpy(out, matrix->whole + (size_t)row * k, k * sizeof *out);
    else
        make_row(matrix, row, out, temp);
}

/* ---- Mixing rows ----------------------------------------------------------------------------- */

enum { COLUMNS = 16 }; /* a cache line of floats */

struct mixing {
    struct pq_transformed *matrix;
    double *temp;  /* [threads][length] */
    size_t length; /* a row, or COLUMNS columns */
};

static void row_task(void *arg, int row, int thread) {
    const struct mixing *mixing = arg;
    const struct pq_transformed *m = mixing->matrix;
    make_row(m, row, m->whole + (size_t)row * (size_t)m->k,
             mixing->temp + (size_t)thread * mixing->length);
}

/* Columns COLUMNS * task on, each as a row. */
static void column_task(void *arg, int task, int thread) {
    const struct mixing *mixing = arg;
    const struct pq_transformed *m = mixing->matrix;
    double *x = mixing->temp + (size_t)thread * mixing->length;
    size_t n = (size_t)m->n, k = (size_t)m->k, first = (size_t)task * COLUMNS;
    size_t columns = k - first < COLUMNS ? k - first : COLUMNS;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < columns; c++)
            x[c * n + i] = (double)m->whole[i * k + first + c];
    for (size_t c = 0; c < columns; c++)
        rotate(m->transform, m->rows, m->signed_rows, x + c * n, m->n);
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < columns; c++)
            m->whole[i * k + first + c] = (float)x[c * n + i];
}

static enum pq_status mix(struct pq_transformed *m, struct pq_pool *pool, struct pq_err *err) {
    size_t n = (size_t)m->n, k = (size_t)m->k, threads = (size_t)pq_pool_threads(pool);
    struct mixing mixing = {.matrix = m, .length = k > COLUMNS * n ? k : COLUMNS * n};
    mixing.temp = malloc(threads * mixing.length * sizeof *mixing.temp);
    m->whole = malloc(n * k * sizeof *m->whole);
    if (!mixing.temp || !m->whole) {
        free(mixing.temp);
        return pq_fail(err, PQ_ENOMEM, "out of memory for a matrix of %d x %d", m->n, m->k);
    }
    pq_pool_run(pool, m->n, row_task, &mixing);
    pq_pool_run(pool, (m->k + COLUMNS - 1) / COLUMNS, column_task, &mixing);
    pq_map_forget(m->source->map, m->source->data, m->source->info.bytes);
    free(mixing.temp);
    return PQ_OK;
}

const struct pq_tensor *pq_transform_source(const struct pq_transform *transform,
                                            const char *name) {
    bool head = strcmp(name, HEAD) == 0 && pq_checkpoint_config(transform->ckpt)->tied;
    return pq_checkpoint_find(transform->ckpt, head ? EMBEDDING : name);
}

enum pq_status pq_transformed_open(struct pq_transformed *out, const struct pq_transform *transform,
                                   const char *name, struct pq_pool *pool, struct pq_err *err) {
    struct pq_transformed m = {.transform = transform,
                               .source = pq_transform_source(transform, name)};
    m.n = (int)m.source->info.shape[0];
    m.k = (int)m.source->info.shape[1];
    m.before = malloc((size_t)m.k * sizeof *m.before);
    if (!m.before)
        return pq_fail(err, PQ_ENOMEM, "out of memory for a row of %d", m.k);
    for (int i = 0; i < m.k; i++)
        m.before[i] = 1;
    describe(&m, name);
    enum pq_status status = m.rows ? mix(&m, pool, err) : PQ_OK;
    if (status == PQ_OK)
        *out = m;
    else
        pq_transformed_close(&m);
    return status;
}

void pq_transformed_close(struct pq_transformed *matrix) {
    free(matrix->before);
    free(matrix->whole);
    *matrix = (struct pq_transformed){0};
}

/* ---- Vectors --------------------------------------------------------------------------------- */

static void divide(double *x, int n, const float *scales) {
    for (int i = 0; scales && i < n; i++)
        x[i] /= (double)scales[i];
}

/* gamma: folded where its readers are rotated, and divided by the scales of what it makes. */
static void make_norm(double *x, int n, bool folded, const float *scales) {
    for (int i = 0; folded && i < n; i++)
        x[i] = 1;
    divide(x, n, scales);
}

static void make_vector(const struct pq_transform *t, const char *name, double *x, int n) {
    int layer;
    const char *rest = pq_in_layer(name, &layer);
    struct pq_scales s = scales_of(t, layer);
    bool folds = t->stream.n;
    if (!rest) {
        make_norm(x, n, folds && !pq_transform_rotates_head(t), NULL);
    } else if (strcmp(rest, "input_layernorm.weight") == 0) {
        make_norm(x, n, folds, s.qkv);
    } else if (strcmp(rest, "post_attention_layernorm.weight") == 0) {
        make_norm(x, n, folds, s.mlp);
    } else if (strcmp(rest, "self_attn.v_proj.bias") == 0) {
        divide(x, n, s.o);
        if (t->head.n)
            rotate(t, &t->head, false, x, n);
    } else if (strcmp(rest, "self_attn.o_proj.bias") == 0 && t->stream.n) {
        rotate(t, &t->stream, true, x, n);
    }
}

enum pq_status pq_transformed_vector(const struct pq_transform *transform, const char *name,
                                     float *out, struct pq_err *err) {
    const struct pq_tensor *source = pq_checkpoint_find(transform->ckpt, name);
    int n = (int)source->info.shape[0];
    double *x = malloc((size_t)n * sizeof *x);
    if (!x)
        return pq_fail(err, PQ_ENOMEM, "out of memory for a vector of %d", n);
    pq_tensor_to_f32(source, 0, (size_t)n, out);
    for (int i = 0; i < n; i++)
        x[i] = (double)out[i];
    make_vector(transform, name, x, n);
    for (int i = 0; i < n; i++)
        out[i] = (float)x[i];
    free(x);
    return PQ_OK;
}
