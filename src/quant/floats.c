#include "quant/floats.h"

#include <stdlib.h>

enum { COPY_BYTES = 16 << 20 }; /* of a tensor that is copied, at a time */

enum pq_status pq_stored_floats_declare(const struct pq_stored_floats *floats,
                                        struct pq_writer *writer, struct pq_err *err) {
    const struct pq_tensor_info *info = &floats->source->info;
    const char *dtype = info->dtype;
    if (pq_transform_changes(floats->transform, floats->name))
        dtype = info->rank == 1 ? "F32" : "BF16";
    return pq_writer_declare(writer, floats->name, dtype, info->rank, info->shape, err);
}

static enum pq_status copy(const struct pq_stored_floats *floats, struct pq_writer *writer,
                           struct pq_progress *progress, struct pq_err *err) {
    const struct pq_tensor *source = floats->source;
    size_t bytes = source->info.bytes;
    for (size_t from = 0; from < bytes; from += COPY_BYTES) {
        const char *data = (const char *)source->data + from;
        size_t n = bytes - from < COPY_BYTES ? bytes - from : COPY_BYTES;
        PQ_TRY(pq_writer_append(writer, data, n, err));
        pq_map_forget(source->map, data, n);
        PQ_TRY(pq_progress_add(progress, floats->name, n, err));
    }
    return PQ_OK;
}

static enum pq_status write_vector(const struct pq_stored_floats *floats, struct pq_writer *writer,
                                   struct pq_progress *progress, struct pq_err *err) {
    size_t bytes = (size_t)floats->source->info.shape[0] * sizeof(float);
    float *x = malloc(bytes);
    if (!x)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", floats->name);
    enum pq_status status = pq_transformed_vector(floats->transform, floats->name, x, err);
    if (status == PQ_OK)
        status = pq_writer_append(writer, x, bytes, err);
    free(x);
    return status == PQ_OK
               ? pq_progress_add(progress, floats->name, floats->source->info.bytes, err)
               : status;
}

/* ---- A matrix -------------------------------------------------------------------------------- */

enum { BLOCK_ROWS = 256 };

struct work {
    struct pq_transformed matrix;
    int first;
    uint16_t *half; /* [BLOCK_ROWS][k] */
    double *temp;   /* [threads][k] and as many floats */
};

static void row_task(void *arg, int task, int thread) {
    const struct work *work = arg;
    size_t k = (size_t)work->matrix.k;
    double *temp = work->temp + (size_t)thread * 2 * k;
    float *row = (float *)(temp + k);
    pq_transformed_row(&work->matrix, work->first + task, row, temp);
    work->matrix.transform->e->to_bf16(work->half + (size_t)task * k, row, work->matrix.k);
}

static enum pq_status write_rows(struct work *work, const struct pq_stored_floats *floats,
                                 struct pq_writer *writer, struct pq_pool *pool,
                                 struct pq_progress *progress, struct pq_err *err) {
    int n = work->matrix.n;
    size_t k = (size_t)work->matrix.k, row_bytes = floats->source->info.bytes / (size_t)n;
    for (; work->first < n; work->first += BLOCK_ROWS) {
        int rows = n - work->first < BLOCK_ROWS ? n - work->first : BLOCK_ROWS;
        pq_pool_run(pool, rows, row_task, work);
        PQ_TRY(pq_writer_append(writer, work->half, (size_t)rows * k * sizeof *work->half, err));
        pq_map_forget(floats->source->map,
                      (const char *)floats->source->data + (size_t)work->first * row_bytes,
                      (size_t)rows * row_bytes);
        PQ_TRY(pq_progress_add(progress, floats->name, (size_t)rows * row_bytes, err));
    }
    return PQ_OK;
}

static enum pq_status write_matrix(const struct pq_stored_floats *floats, struct pq_writer *writer,
                                   struct pq_pool *pool, struct pq_progress *progress,
                                   struct pq_err *err) {
    struct work work = {.first = 0};
    PQ_TRY(pq_transformed_open(&work.matrix, floats->transform, floats->name, pool, err));
    size_t k = (size_t)work.matrix.k, threads = (size_t)pq_pool_threads(pool);
    work.half = malloc(BLOCK_ROWS * k * sizeof *work.half);
    work.temp = malloc(threads * 2 * k * sizeof *work.temp);
    enum pq_status status = work.half && work.temp
                                ? write_rows(&work, floats, writer, pool, progress, err)
                                : pq_fail(err, PQ_ENOMEM, "%s: out of memory", floats->name);
    free(work.half);
    free(work.temp);
    pq_transformed_close(&work.matrix);
    return status;
}

enum pq_status pq_stored_floats_write(const struct pq_stored_floats *floats,
                                      struct pq_writer *writer, struct pq_pool *pool,
                                      struct pq_progress *progress, struct pq_err *err) {
    if (!pq_transform_changes(floats->transform, floats->name))
        return copy(floats, writer, progress, err);
    return floats->source->info.rank == 1 ? write_vector(floats, writer, progress, err)
                                          : write_matrix(floats, writer, pool, progress, err);
}
