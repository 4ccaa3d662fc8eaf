#include "quant/linear.h"

#include "base/nibbles.h"
#include "model/group_scales.h"
#include "quant/rtn.h"
#include "quant/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Weights of a block: enough rows to keep many threads busy, few enough to stop soon. */
enum { BLOCK_WEIGHTS = 1 << 20 };

/* Sizes of a row, in elements and in bytes as stored. */
struct shape {
    int n, k, groups; /* groups: 0 where the channel has no multipliers */
    size_t code_bytes;
    size_t group_bytes; /* of multipliers, two a byte; 0 where they are in the scales */
    size_t scales;      /* 1, or one for each group */
};

static struct shape shape_of(const struct pq_stored_linear *linear) {
    struct shape s = {.n = (int)linear->source->info.shape[0],
                      .k = (int)linear->source->info.shape[1]};
    bool w4 = linear->scheme == PQ_SCHEME_W4A8;
    if (w4 && linear->group != PQ_GROUP_CHANNEL)
        s.groups = (s.k - 1) / linear->group + 1;
    s.code_bytes = w4 ? ((size_t)s.k + 1) / 2 : (size_t)s.k;
    s.group_bytes = linear->packed ? 0 : ((size_t)s.groups + 1) / 2;
    s.scales = linear->packed && s.groups ? (size_t)s.groups : 1;
    return s;
}

/* ---- Declaring ------------------------------------------------------------------------------- */

/* P + suffix [n, k], where the linear is P.weight; k = 0: [n]. */
static enum pq_status declare(const struct pq_stored_linear *linear, struct pq_writer *writer,
                              const char *suffix, const char *dtype, size_t n, size_t k,
                              struct pq_err *err) {
    char *name = NULL;
    int length = (int)(strlen(linear->name) - strlen(".weight"));
    if (asprintf(&name, "%.*s%s", length, linear->name, suffix) < 0)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", linear->name);
    int64_t shape[2] = {(int64_t)n, (int64_t)k};
    enum pq_status status = pq_writer_declare(writer, name, dtype, k ? 2 : 1, shape, err);
    free(name);
    return status;
}

enum pq_status pq_stored_linear_declare(const struct pq_stored_linear *linear,
                                        struct pq_writer *writer, struct pq_err *err) {
    struct shape s = shape_of(linear);
    size_t n = (size_t)s.n;
    int whole = linear->group ? linear->group : 8;
    if (linear->packed && s.k % whole != 0)
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "%s: tensor %s has %d inputs, not a multiple of %d, as other engines need",
                       linear->source->info.file, linear->source->info.name, s.k, whole);
    if (linear->packed)
        PQ_TRY(declare(linear, writer, ".weight_packed", "I32", n, s.code_bytes / 4, err));
    else if (linear->scheme == PQ_SCHEME_W4A8)
        PQ_TRY(declare(linear, writer, ".weight_packed", "U8", n, s.code_bytes, err));
    else
        PQ_TRY(declare(linear, writer, ".weight", "I8", n, s.code_bytes, err));
    if (s.group_bytes)
        PQ_TRY(declare(linear, writer, ".weight_group", "U8", n, s.group_bytes, err));
    PQ_TRY(declare(linear, writer, ".weight_scale", "F32", n, s.scales, err));
    return linear->packed ? declare(linear, writer, ".weight_shape", "I64", 2, 0, err) : PQ_OK;
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* A thread's own row. */
struct scratch {
    float *w;             /* [k] */
    double *temp;         /* [k] */
    int8_t *codes;        /* [k] */
    uint8_t *multipliers; /* [groups] */
};

struct work {
    const struct pq_stored_linear *linear;
    struct pq_transformed matrix;
    struct shape shape;
    int first;               /* row where the block begins */
    uint8_t *codes;          /* [rows of a block][code_bytes] */
    uint8_t *groups;         /* [n][group_bytes] */
    float *scales;           /* [n][scales]; 0 = the row has a weight that is not finite */
    struct scratch *scratch; /* [threads] */
    int threads;
};

/* A row's scale to one for each group, multiplied out without rounding. */
static void scale_groups(float *scales, const uint8_t *multipliers, int groups) {
    float scale = scales[0];
    for (int g = 0; g < groups; g++)
        scales[g] = scale * (float)multipliers[g];
}

/* Codes and multipliers of a row to the thread's own.  Returns its scale; 0: it is not finite. */
static float round_row(const struct work *work, size_t row, struct scratch *own) {
    const struct pq_stored_linear *linear = work->linear;
    const struct pq_rounded *r = linear->rounded;
    const struct shape *s = &work->shape;
    if (r) {
        memcpy(own->codes, r->q + row * (size_t)s->k, (size_t)s->k);
        memcpy(own->multipliers, r->multiplier + row * (size_t)s->groups, (size_t)s->groups);
        return r->scale[row];
    }
    pq_transformed_row(&work->matrix, (int)row, own->w, own->temp);
    if (pq_rtn_nonfinite(own->w, s->k) >= 0)
        return 0;
    if (linear->scheme == PQ_SCHEME_W8A8)
        return pq_rtn_w8(own->w, NULL, s->k, own->codes);
    float scale = pq_rtn_w4(own->w, NULL, s->k, linear->group, own->codes, own->multipliers);
    return linear->packed && s->groups ? pq_group_scale_round(scale) : scale;
}

static void quantize_row(void *arg, int task, int thread) {
    struct work *work = arg;
    const struct pq_stored_linear *linear = work->linear;
    const struct shape *s = &work->shape;
    struct scratch *own = &work->scratch[thread];
    size_t row = (size_t)work->first + (size_t)task;
    float *scale = work->scales + row * s->scales;
    uint8_t *codes = work->codes + (size_t)task * s->code_bytes;
    *scale = round_row(work, row, own);
    if (*scale == 0)
        return;
    if (linear->scheme == PQ_SCHEME_W8A8)
        memcpy(codes, own->codes, (size_t)s->k);
    else
        pq_pack_codes(own->codes, s->k, codes);
    if (linear->packed && s->groups)
        scale_groups(scale, own->multipliers, s->groups);
    else
        pq_pack_groups(own->multipliers, s->groups, work->groups + row * s->group_bytes);
}

static bool block_is_finite(const struct work *work, int rows) {
    for (int row = work->first; row < work->first + rows; row++)
        if (work->scales[(size_t)row * work->shape.scales] == 0)
            return false;
    return true;
}

static enum pq_status write_blocks(struct work *work, int block, struct pq_writer *writer,
                                   struct pq_pool *pool, struct pq_progress *progress,
                                   struct pq_err *err) {
    const struct pq_tensor *source = work->linear->source;
    const struct shape *s = &work->shape;
    size_t row_bytes = source->info.bytes / (size_t)s->n;
    for (; work->first < s->n; work->first += block) {
        int rows = s->n - work->first < block ? s->n - work->first : block;
        pq_pool_run(pool, rows, quantize_row, work);
        if (!block_is_finite(work, rows))
            return pq_source_nonfinite(source, s->n, s->k, err);
        PQ_TRY(pq_writer_append(writer, work->codes, (size_t)rows * s->code_bytes, err));
        pq_map_forget(source->map, (const char *)source->data + (size_t)work->first * row_bytes,
                      (size_t)rows * row_bytes);
        PQ_TRY(pq_progress_add(progress, source->info.name, (size_t)rows * row_bytes, err));
    }
    size_t n = (size_t)s->n;
    PQ_TRY(pq_writer_append(writer, work->groups, n * s->group_bytes, err));
    PQ_TRY(pq_writer_append(writer, work->scales, n * s->scales * sizeof(float), err));
    const int64_t shape[2] = {s->n, s->k};
    return work->linear->packed ? pq_writer_append(writer, shape, sizeof shape, err) : PQ_OK;
}

static bool allocate(struct work *work, int block) {
    size_t k = (size_t)work->shape.k, n = (size_t)work->shape.n;
    work->codes = malloc((size_t)block * work->shape.code_bytes);
    work->groups = malloc(n * work->shape.group_bytes + 1);
    work->scales = malloc(n * work->shape.scales * sizeof *work->scales);
    work->scratch = calloc((size_t)work->threads, sizeof *work->scratch);
    bool good = work->codes && work->groups && work->scales && work->scratch;
    for (int i = 0; good && i < work->threads; i++) {
        struct scratch *own = &work->scratch[i];
        own->w = malloc(k * sizeof *own->w);
        own->temp = malloc(k * sizeof *own->temp);
        own->codes = malloc(k);
        own->multipliers = malloc((size_t)work->shape.groups + 1);
        good = own->w && own->temp && own->codes && own->multipliers;
    }
    return good;
}

static void release(struct work *work) {
    for (int i = 0; work->scratch && i < work->threads; i++) {
        free(work->scratch[i].w);
        free(work->scratch[i].temp);
        free(work->scratch[i].codes);
        free(work->scratch[i].multipliers);
    }
    free(work->scratch);
    free(work->scales);
    free(work->groups);
    free(work->codes);
    pq_transformed_close(&work->matrix);
}

enum pq_status pq_stored_linear_write(const struct pq_stored_linear *linear,
                                      struct pq_writer *writer, struct pq_pool *pool,
                                      struct pq_progress *progress, struct pq_err *err) {
    struct work work = {.linear = linear, .shape = shape_of(linear)};
    work.threads = pq_pool_threads(pool);
    int block = work.shape.k < BLOCK_WEIGHTS ? BLOCK_WEIGHTS / work.shape.k : 1;
    block = block < work.shape.n ? block : work.shape.n;
    enum pq_status status =
        allocate(&work, block) ? PQ_OK : pq_fail(err, PQ_ENOMEM, "%s: out of memory", linear->name);
    if (status == PQ_OK && !linear->rounded)
        status = pq_transformed_open(&work.matrix, linear->transform, linear->name, pool, err);
    if (status == PQ_OK)
        status = write_blocks(&work, block, writer, pool, progress, err);
    release(&work);
    return status;
}
