#include "quant/moments.h"

#include "quant/smooth.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MASSIVE = 1000 }; /* times the median squared length of a batch's rows */

/* A thread's own: a padded row, its codes. */
static size_t own_bytes(int widest) {
    size_t k = (size_t)widest;
    return k * sizeof(float) + k;
}

enum pq_status pq_moments_open(struct pq_moments *out, struct pq_stream *stream,
                               const struct pq_moments_mode *modes, int n_modes, const bool *skip,
                               const struct pq_exact *exact, int widest, struct pq_pool *pool,
                               struct pq_err *err) {
    struct pq_moments m = {.stream = stream,
                           .modes = modes,
                           .n_modes = n_modes,
                           .skip = skip,
                           .exact = exact,
                           .widest = pq_round_up(widest, PQ_BLOCK)};
    size_t k = (size_t)m.widest, batch = (size_t)stream->ctx->options.batch;
    enum pq_status status = pq_workspace_open(&m.workspace, pool, stream->model.ops, m.widest, err);
    m.h = malloc(k * k * sizeof *m.h);
    m.mode_h = malloc(k * k * sizeof *m.mode_h);
    m.rows = malloc(batch * k * sizeof *m.rows);
    m.length = malloc(2 * batch * sizeof *m.length);
    m.own = malloc((size_t)pq_pool_threads(pool) * own_bytes(m.widest));
    if (exact) {
        m.cross = malloc(k * k * sizeof *m.cross);
        m.mode_cross = malloc(k * k * sizeof *m.mode_cross);
        m.difference = malloc(batch * k * sizeof *m.difference);
    }
    bool crossed = !exact || (m.cross && m.mode_cross && m.difference);
    if (status == PQ_OK && (!crossed || !m.h || !m.mode_h || !m.rows || !m.length || !m.own))
        status = pq_fail(err, PQ_ENOMEM, "out of memory for the moments of %d inputs", widest);
    if (status == PQ_OK)
        *out = m;
    else
        pq_moments_close(&m);
    return status;
}

void pq_moments_close(struct pq_moments *m) {
    pq_workspace_close(&m->workspace);
    free(m->h);
    free(m->mode_h);
    free(m->cross);
    free(m->mode_cross);
    free(m->difference);
    free(m->rows);
    free(m->length);
    free(m->own);
    *m = (struct pq_moments){0};
}

/* ---- One batch ------------------------------------------------------------------------------- */

struct batch {
    struct pq_moments *m;
    const struct pq_elementwise *e;
    int first, rows; /* the token of row 0 */
    int width;
    float *kept;              /* [rows][width]: where rows go that are looked at */
    float limit;              /* longer rows count nothing */
    struct pq_sample *sample; /* NULL: rows are rounded */
    atomic_int massive, bad;  /* bad: 1 + a row that is not finite */
    double all, masked;       /* squared lengths of the rows, of those that count nothing */
};

static float *row_at(const struct batch *b, int r) {
    return b->m->rows + (size_t)r * (size_t)b->width;
}

static void keep_row(void *user, enum pq_input input, int r, const float *x, int width) {
    (void)input;
    const struct batch *b = user;
    memcpy(b->kept + (size_t)(r - b->first) * (size_t)width, x, (size_t)width * sizeof *x);
}

static void measure_row(void *arg, int r, int thread) {
    (void)thread;
    struct batch *b = arg;
    const float *x = row_at(b, r);
    double sum = 0;
    for (int j = 0; j < b->width; j++)
        sum += (double)x[j] * x[j];
    b->m->length[r] = (float)sum;
    if (!isfinite(sum))
        atomic_store(&b->bad, 1 + r);
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static float median(const float *length, float *sorted, int n) {
    memcpy(sorted, length, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    return sorted[n / 2];
}

static bool counts(const struct batch *b, int r) {
    return !b->m->skip[b->first + r] && b->m->length[r] <= b->limit;
}

/* A row of activations becomes what the kernel sees, or zeros where it counts nothing; for a sample
 * it stays otherwise. */
static void round_row(void *arg, int r, int thread) {
    struct batch *b = arg;
    float *x = row_at(b, r);
    size_t width = (size_t)b->width, widest = (size_t)b->m->widest;
    if (!counts(b, r)) {
        memset(x, 0, width * sizeof *x);
        if (!b->m->skip[b->first + r])
            atomic_fetch_add(&b->massive, 1);
        return;
    }
    if (b->sample)
        return;
    float *padded = (float *)(b->m->own + (size_t)thread * own_bytes(b->m->widest));
    int8_t *codes = (int8_t *)(padded + widest);
    int32_t sum;
    int n = pq_round_up(b->width, PQ_BLOCK);
    memcpy(padded, x, width * sizeof *x);
    memset(padded + width, 0, ((size_t)n - width) * sizeof *x);
    float scale = b->e->quantize(codes, &sum, NULL, padded, n);
    pq_hessian_codes(x, codes, scale, 1, b->width);
}

/* x~ to x~ - x; what becomes of it does not matter where x is zeros. */
static void subtract_row(void *arg, int r, int thread) {
    (void)thread;
    const struct batch *b = arg;
    const float *x = row_at(b, r);
    float *difference = b->m->difference + (size_t)r * (size_t)b->width;
    for (int j = 0; j < b->width; j++)
        difference[j] -= x[j];
}

/* The cross term of the batch, whose rows are rounded. */
static void add_cross(struct batch *b, struct pq_range range, const struct pq_layer *layer,
                      enum pq_input input) {
    const struct pq_moments *m = b->m;
    struct pq_observer observer = {keep_row, b};
    b->kept = m->difference;
    pq_stream_look(m->exact->stream, range, layer, input, &observer);
    pq_pool_run(m->workspace.pool, b->rows, subtract_row, b);
    pq_hessian_add_cross(&m->workspace, m->mode_cross, b->width, m->difference, m->rows, b->rows);
}

static void keep_sample(const struct batch *b) {
    struct pq_sample *sample = b->sample;
    const struct pq_stream *stream = b->m->stream;
    size_t width = (size_t)b->width;
    int step = (stream->first[stream->sequences] + PQ_SAMPLE - 1) / PQ_SAMPLE;
    pq_smooth_most(sample->most, b->m->rows, b->rows, b->width);
    for (int r = 0; r < b->rows; r++)
        if ((b->first + r) % step == 0 && counts(b, r))
            memcpy(sample->rows + (size_t)sample->n++ * width, row_at(b, r),
                   width * sizeof *sample->rows);
}

static enum pq_status add_batch(struct batch *b, struct pq_range range, struct pq_err *err) {
    struct pq_moments *m = b->m;
    const struct pq_stream *stream = m->stream;
    struct pq_pool *pool = m->workspace.pool;
    pq_pool_run(pool, b->rows, measure_row, b);
    if (b->bad) {
        int token = b->first + b->bad - 1, s = range.first;
        while (stream->first[s + 1] <= token)
            s++;
        return pq_fail(err, PQ_EFORMAT, "an activation is not finite at token %d of sequence %d",
                       token - stream->first[s], s);
    }
    b->limit = MASSIVE * median(m->length, m->length + stream->ctx->options.batch, b->rows);
    pq_pool_run(pool, b->rows, round_row, b);
    if (b->sample)
        keep_sample(b);
    pq_hessian_add(&m->workspace, m->mode_h, b->width, m->rows, b->rows);
    for (int r = 0; r < b->rows; r++) {
        b->all += m->length[r];
        b->masked += counts(b, r) ? 0 : m->length[r];
    }
    m->seen += b->rows;
    m->massive += b->massive;
    return PQ_OK;
}

/* ---- All of them ----------------------------------------------------------------------------- */

static int width_of(const struct pq_config *c, enum pq_input input) {
    return input == PQ_INPUT_DOWN ? c->ffn
           : input == PQ_INPUT_O  ? c->heads * c->head_dim
                                  : c->hidden;
}

/* mode_h of one mode's sequences; *all and *masked grow by their squared lengths. */
static enum pq_status gather_mode(struct pq_moments *m, struct pq_range left,
                                  const struct pq_layer *layer, enum pq_input input,
                                  struct pq_sample *sample, double *all, double *masked,
                                  struct pq_err *err) {
    struct pq_stream *stream = m->stream;
    int k = width_of(&stream->model.config, input);
    size_t bytes = (size_t)k * (size_t)k * sizeof *m->h;
    bool crosses = m->exact && !sample;
    memset(m->mode_h, 0, bytes);
    if (crosses)
        memset(m->mode_cross, 0, bytes);
    while (left.n > 0) {
        struct pq_range range = pq_stream_batch(stream, left);
        int first = stream->first[range.first], end = stream->first[range.first + range.n];
        struct batch b = {.m = m,
                          .e = stream->model.ops->e,
                          .first = first,
                          .rows = end - first,
                          .width = k,
                          .kept = m->rows,
                          .sample = sample};
        struct pq_observer observer = {keep_row, &b};
        pq_stream_look(stream, range, layer, input, &observer);
        PQ_TRY(add_batch(&b, range, err));
        if (crosses)
            add_cross(&b, range, &m->exact->layer, input);
        *all += b.all;
        *masked += b.masked;
        left = (struct pq_range){range.first + range.n, left.n - range.n};
    }
    pq_hessian_mirror(&m->workspace, m->mode_h, k);
    return PQ_OK;
}

enum pq_status pq_moments_gather(struct pq_moments *m, const struct pq_layer *layer,
                                 enum pq_input input, struct pq_sample *sample,
                                 struct pq_err *err) {
    int k = width_of(&m->stream->model.config, input);
    double all = 0, masked = 0;
    m->seen = m->massive = 0;
    size_t bytes = (size_t)k * (size_t)k * sizeof *m->h;
    memset(m->h, 0, bytes);
    if (m->exact)
        memset(m->cross, 0, bytes);
    if (sample) {
        sample->n = 0;
        memset(sample->most, 0, (size_t)k * sizeof *sample->most);
    }
    for (int i = 0; i < m->n_modes; i++) {
        PQ_TRY(gather_mode(m, m->modes[i].range, layer, input, sample, &all, &masked, err));
        double mean = pq_hessian_mean(m->mode_h, k);
        float factor = mean > 0 ? (float)(m->modes[i].weight / mean) : 0;
        pq_hessian_blend(&m->workspace, m->h, m->mode_h, factor, k);
        if (m->exact && !sample)
            pq_hessian_blend(&m->workspace, m->cross, m->mode_cross, factor, k);
    }
    m->masked_share = all > 0 ? masked / all : 0;
    return PQ_OK;
}
