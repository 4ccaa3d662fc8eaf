#include "quant/job.h"

#include "model/linears.h"
#include "quant/calibrated.h"
#include "quant/floats.h"
#include "quant/linear.h"
#include "quant/promote.h"
#include "quant/sensitivity.h"

#include <stdlib.h>
#include <string.h>

/* ---- Tensors --------------------------------------------------------------------------------- */

/* The tensors are the source's, and the head of a model that is untied. */
static int count(const struct pq_job *job) {
    return job->n + job->recipe.transform.untie;
}

static const char *name_of(const struct pq_job *job, int i) {
    return i < job->n ? job->tensors[i].name : "lm_head.weight";
}

/* How tensor i is stored, as a linear; scheme PQ_SCHEME_FP: as floats.  rounded [PQ_LINEARS] of
 * its layer; NULL: none. */
static struct pq_stored_linear linear_of(const struct pq_job *job, int i,
                                         const struct pq_rounded *rounded) {
    const char *name = name_of(job, i);
    int index = pq_linear_index(name);
    return (struct pq_stored_linear){.name = name,
                                     .transform = &job->transform,
                                     .source = pq_transform_source(&job->transform, name),
                                     .scheme = pq_recipe_scheme(&job->recipe, name),
                                     .group = job->recipe.group,
                                     .packed = job->recipe.packed,
                                     .rounded = rounded && index >= 0 ? &rounded[index % PQ_LINEARS]
                                                                      : NULL};
}

static struct pq_stored_floats floats_of(const struct pq_stored_linear *linear) {
    return (struct pq_stored_floats){linear->name, linear->transform, linear->source};
}

/* The part that a tensor belongs to: its layer's, or that of all tensors outside of layers. */
static int part_of(const char *name) {
    int layer;
    pq_in_layer(name, &layer);
    return 1 + layer;
}

static enum pq_status declare_part(const struct pq_job *job, int part, struct pq_writer *writer,
                                   struct pq_err *err) {
    for (int i = 0; i < count(job); i++) {
        struct pq_stored_linear linear = linear_of(job, i, NULL);
        struct pq_stored_floats floats = floats_of(&linear);
        if (part_of(linear.name) != part)
            continue;
        if (linear.scheme == PQ_SCHEME_FP)
            PQ_TRY(pq_stored_floats_declare(&floats, writer, err));
        else
            PQ_TRY(pq_stored_linear_declare(&linear, writer, err));
    }
    return pq_writer_begin(writer, err);
}

static enum pq_status append_part(struct pq_job *job, int part, const struct pq_rounded *rounded,
                                  struct pq_writer *writer, struct pq_err *err) {
    PQ_TRY(declare_part(job, part, writer, err));
    for (int i = 0; i < count(job); i++) {
        struct pq_stored_linear linear = linear_of(job, i, rounded);
        struct pq_stored_floats floats = floats_of(&linear);
        if (part_of(linear.name) != part)
            continue;
        if (linear.scheme == PQ_SCHEME_FP)
            PQ_TRY(pq_stored_floats_write(&floats, writer, job->pool, &job->progress, err));
        else
            PQ_TRY(pq_stored_linear_write(&linear, writer, job->pool, &job->progress, err));
    }
    return PQ_OK;
}

static enum pq_status write_part(struct pq_job *job, const struct pq_staging *staging, int part,
                                 const struct pq_rounded *rounded, struct pq_err *err) {
    struct pq_writer *writer;
    PQ_TRY(pq_part_open(&writer, staging, part, err));
    enum pq_status status = append_part(job, part, rounded, writer, err);
    if (status == PQ_OK)
        return pq_part_end(writer, staging, part, err);
    pq_writer_close(writer);
    return status;
}

/* Count what an earlier run has done. */
static enum pq_status skip_part(struct pq_job *job, int part, struct pq_err *err) {
    size_t bytes = 0;
    for (int i = 0; i < count(job); i++)
        if (part_of(name_of(job, i)) == part)
            bytes += linear_of(job, i, NULL).source->info.bytes;
    return pq_progress_add(&job->progress, "what is there already", bytes, err);
}

/* ---- Calibration ----------------------------------------------------------------------------- */

/* The linears of a layer as its part has them. */
static enum pq_status read_layer(const struct pq_job *job, const struct pq_staging *staging,
                                 int layer, struct pq_rounded *rounded, struct pq_err *err) {
    struct pq_safetensors file;
    PQ_TRY(pq_part_read(&file, staging, 1 + layer, err));
    enum pq_status status = PQ_OK;
    for (int i = 0; i < job->n && status == PQ_OK; i++) {
        struct pq_stored_linear linear = linear_of(job, i, NULL);
        int index = pq_linear_index(linear.name);
        if (linear.scheme != PQ_SCHEME_FP && index >= 0 && index / PQ_LINEARS == layer)
            status = pq_stored_linear_read(&linear, &file, &rounded[index % PQ_LINEARS], err);
    }
    pq_safetensors_close(&file);
    return status;
}

/* The layer whose turn it is: read, where it is there, or else rounded and written. */
static enum pq_status calibrate_layer(struct pq_job *job, struct pq_calibration *calibration,
                                      const struct pq_staging *staging, int layer,
                                      struct pq_err *err) {
    struct pq_rounded rounded[PQ_LINEARS] = {{0}};
    bool there = pq_part_exists(staging, 1 + layer);
    enum pq_status status =
        there ? read_layer(job, staging, layer, rounded, err)
              : pq_calibration_round(calibration, layer, rounded, &job->progress, err);
    if (status == PQ_OK && there)
        status = pq_calibration_follow(calibration, layer, rounded, err);
    if (status == PQ_OK)
        status = there ? skip_part(job, 1 + layer, err)
                       : write_part(job, staging, 1 + layer, rounded, err);
    for (int i = 0; i < PQ_LINEARS; i++)
        pq_rounded_close(&rounded[i]);
    return status;
}

/* Give 8 bits to the linears that are worth them. */
static enum pq_status promote(struct pq_job *job, const struct pq_safetensors *embedding,
                              struct pq_err *err) {
    int n = job->config.layers * PQ_LINEARS, group = job->recipe.group;
    double *loss = calloc((size_t)n, sizeof *loss);
    struct pq_candidate *candidates = calloc((size_t)n, sizeof *candidates);
    job->recipe.promoted = calloc((size_t)n, sizeof *job->recipe.promoted);
    enum pq_status status = loss && candidates && job->recipe.promoted
                                ? PQ_OK
                                : pq_fail(err, PQ_ENOMEM, "out of memory");
    if (status == PQ_OK)
        status = pq_sensitivity(&job->transform, &job->config, group, job->traces,
                                job->recipe.mode_weight, embedding, job->pool, &job->progress, loss,
                                err);
    for (int i = 0; i < n && status == PQ_OK; i++) {
        struct pq_linear_shape shape =
            pq_linear_shape_of(&job->config, (enum pq_linear_name)(i % PQ_LINEARS));
        candidates[i] = (struct pq_candidate){loss[i], (int64_t)shape.n * shape.k, false};
    }
    if (status == PQ_OK)
        pq_promote(candidates, n, group ? 4 + 4.0 / group : 4, 8, job->recipe.budget_bits);
    for (int i = 0; i < n && status == PQ_OK; i++)
        job->recipe.promoted[i] = candidates[i].promoted;
    free(candidates);
    free(loss);
    return status;
}

static enum pq_status calibrate_layers(struct pq_job *job, const struct pq_staging *staging,
                                       struct pq_err *err) {
    struct pq_safetensors embedding;
    struct pq_calibration *calibration = NULL;
    PQ_TRY(pq_part_read(&embedding, staging, 0, err));
    enum pq_status status = job->recipe.budget_bits > 0 ? promote(job, &embedding, err) : PQ_OK;
    if (status == PQ_OK)
        status = pq_calibration_open(&calibration, &job->transform, &job->config, &job->recipe,
                                     job->traces, &embedding, job->pool, err);
    for (int layer = 0; layer < job->config.layers && status == PQ_OK; layer++)
        status = calibrate_layer(job, calibration, staging, layer, err);
    if (calibration)
        job->report = pq_calibration_report(calibration);
    pq_calibration_close(calibration);
    pq_safetensors_close(&embedding);
    return status;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static enum pq_status make_part(struct pq_job *job, const struct pq_staging *staging, int part,
                                struct pq_err *err) {
    return pq_part_exists(staging, part) ? skip_part(job, part, err)
                                         : write_part(job, staging, part, NULL, err);
}

static enum pq_status make_layers(struct pq_job *job, const struct pq_staging *staging,
                                  struct pq_err *err) {
    int layers = job->config.layers;
    if (job->recipe.calibrated && !pq_part_exists(staging, layers))
        return calibrate_layers(job, staging, err);
    for (int layer = 0; layer < layers; layer++)
        PQ_TRY(make_part(job, staging, 1 + layer, err));
    return PQ_OK;
}

enum pq_status pq_job_make(struct pq_job *job, const struct pq_staging *staging,
                           struct pq_err *err) {
    struct pq_recipe_text recipe = pq_recipe_show(&job->recipe);
    const struct pq_metadata metadata[] = {
        {"format", "pt"}, {"panq", PQ_VERSION}, {"recipe", recipe.s}};
    const int n_parts = 1 + job->config.layers;
    if (!pq_parts_joined(staging)) { /* a run may have been killed after joining */
        PQ_TRY(make_part(job, staging, 0, err));
        enum pq_status status = make_layers(job, staging, err);
        free(job->recipe.promoted);
        PQ_TRY(status);
        PQ_TRY(pq_parts_join(staging, n_parts, metadata, 3, err));
    }
    pq_parts_remove(staging, n_parts);
    return PQ_OK;
}
