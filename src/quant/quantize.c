/* pq_quantize: a directory of weights (job.h), config and whatever goes along with them. */
#include "panq.h"

#include "model/checkpoint.h"
#include "quant/along.h"
#include "quant/equalize.h"
#include "quant/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static enum pq_status check_options(const struct pq_quantize_options *options, struct pq_err *err) {
    if (options->scheme != PQ_SCHEME_W8A8 && options->scheme != PQ_SCHEME_W4A8)
        return pq_fail(err, PQ_EINVAL, "the scheme to quantize to must be w8a8 or w4a8, not %d",
                       (int)options->scheme);
    if (options->recipe != PQ_RECIPE_RTN && options->recipe != PQ_RECIPE_ROTATE &&
        options->recipe != PQ_RECIPE_SMOOTH && options->recipe != PQ_RECIPE_BEST)
        return pq_fail(err, PQ_EINVAL, "the recipe must be rtn, rotate, smooth or best, not %d",
                       (int)options->recipe);
    if (options->scheme == PQ_SCHEME_W4A8 && options->group != 32 && options->group != 256 &&
        options->group != PQ_GROUP_CHANNEL)
        return pq_fail(err, PQ_EINVAL,
                       "the group of w4a8 must be 32, 256 or %d for the channel, "
                       "not %d",
                       PQ_GROUP_CHANNEL, options->group);
    bool calibrated = options->recipe == PQ_RECIPE_SMOOTH || options->recipe == PQ_RECIPE_BEST;
    if (calibrated && !options->calibration)
        return pq_fail(err, PQ_EINVAL, "the recipes smooth and best need traces to calibrate with");
    double least = options->group == PQ_GROUP_CHANNEL ? 4 : 4 + 4.0 / options->group;
    if (options->budget_bits != 0 &&
        (options->scheme != PQ_SCHEME_W4A8 || options->portable || !options->calibration ||
         !(options->budget_bits >= least && options->budget_bits <= 8)))
        return pq_fail(err, PQ_EINVAL,
                       "a budget of %g bits: it must be %g, which the group takes, to 8, for w4a8 "
                       "that is not portable, with traces to calibrate with",
                       options->budget_bits, least);
    return PQ_OK;
}

/* What config.json says of the result alone. */
static enum pq_status write_config(const struct pq_job *job, const struct pq_staging *staging,
                                   struct pq_err *err) {
    json_t *changes =
        json_pack("{s:o, s:o*}", "quantization_config", pq_recipe_describe(&job->recipe),
                  "tie_word_embeddings", job->recipe.transform.untie ? json_false() : NULL);
    return pq_along_config(staging, pq_checkpoint_dir(job->ckpt), changes, err);
}

/* ---- The whole ------------------------------------------------------------------------------- */

/* What tells a file from what it was: nothing, where it cannot be looked up. */
static void stamp_file(FILE *text, const char *dir, const char *name) {
    struct stat st;
    char *path = pq_path_join(dir, name);
    if (path && stat(path, &st) == 0)
        fprintf(text, "%s %lld %lld.%09ld\n", name, (long long)st.st_size,
                (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    free(path);
}

/* All that the result depends on: what makes it, and the config and tensors that it is made from,
 * as far as names, sizes and the times of their files tell. */
static enum pq_status stamp_of(const struct pq_job *job, char **stamp, struct pq_err *err) {
    size_t size = 0;
    FILE *text = open_memstream(stamp, &size);
    if (!text)
        return pq_fail(err, PQ_ENOMEM, "out of memory for a stamp");
    fprintf(text, "panq %s\nrecipe %s\nfrom %s\n", PQ_VERSION, pq_recipe_show(&job->recipe).s,
            pq_checkpoint_dir(job->ckpt));
    stamp_file(text, pq_checkpoint_dir(job->ckpt), "config.json");
    for (int i = 0; i < job->n; i++)
        if (i == 0 || strcmp(job->tensors[i].file, job->tensors[i - 1].file) != 0)
            stamp_file(text, pq_checkpoint_dir(job->ckpt), job->tensors[i].file);
    return fclose(text) == 0 ? PQ_OK : pq_fail(err, PQ_ENOMEM, "out of memory for a stamp");
}

static enum pq_status make(struct pq_job *job, const struct pq_staging *staging,
                           struct pq_err *err) {
    if (job->recipe.equalize || job->recipe.smooth)
        PQ_TRY(pq_scales_open(&job->scales, &job->config, err));
    if (job->recipe.equalize)
        PQ_TRY(pq_equalize(&job->scales, job->ckpt, job->pool, err));
    job->recipe.transform.scales = job->scales.layers;
    PQ_TRY(pq_transform_open(&job->transform, job->ckpt, &job->recipe.transform, err));
    PQ_TRY(write_config(job, staging, err));
    PQ_TRY(pq_along_copy(staging, pq_checkpoint_dir(job->ckpt), err));
    return pq_job_make(job, staging, err);
}

/* Where the next run may end better, it finds what this one has made. */
static bool worth_keeping(const struct pq_staging *staging, enum pq_status status) {
    return (status == PQ_EIO || status == PQ_ENOMEM || status == PQ_ECANCELLED) &&
           (pq_part_exists(staging, 0) || pq_parts_joined(staging));
}

static enum pq_status quantize(struct pq_job *job, const char *out, struct pq_err *err) {
    struct pq_staging staging;
    char *stamp = NULL;
    enum pq_status status = stamp_of(job, &stamp, err);
    if (status == PQ_OK)
        status = pq_staging_open(&staging, out, stamp, err);
    free(stamp);
    PQ_TRY(status);
    status = make(job, &staging, err);
    if (status == PQ_OK)
        status = pq_staging_commit(&staging, err);
    pq_staging_close(&staging, worth_keeping(&staging, status));
    return status;
}

static enum pq_status check_source(const struct pq_checkpoint *ckpt, struct pq_err *err) {
    const struct pq_config *config = pq_checkpoint_config(ckpt);
    if (config->scheme != PQ_SCHEME_FP)
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "%s: is quantized already (%s); the source must be BF16, F16 or F32",
                       pq_checkpoint_dir(ckpt), pq_scheme_name(config->scheme));
    if (config->panels != PQ_PANELS_NONE)
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "%s: holds panels; the source must be the checkpoint that they were packed "
                       "from",
                       pq_checkpoint_dir(ckpt));
    return PQ_OK;
}

enum pq_status pq_quantize(const char *dir, const char *out,
                           const struct pq_quantize_options *options, struct pq_pool *pool,
                           struct pq_err *err) {
    PQ_TRY(check_options(options, err));
    struct pq_checkpoint *ckpt;
    PQ_TRY(pq_checkpoint_open(&ckpt, dir, err));
    const struct pq_config *config = pq_checkpoint_config(ckpt);
    struct pq_job job = {.ckpt = ckpt,
                         .pool = pool,
                         .config = *config,
                         .recipe = pq_recipe_make(options, config),
                         .traces = options->calibration};
    job.config.tied &= !job.recipe.transform.untie;
    job.config.rotates_down = job.recipe.transform.rotate_down;
    job.config.rotates_head = job.recipe.rotates_head;
    job.tensors = pq_checkpoint_tensors(ckpt, &job.n);
    job.progress = (struct pq_progress){.fn = options->progress, .user = options->user};
    for (int i = 0; i < job.n; i++)
        job.progress.total += job.tensors[i].bytes;
    if (job.recipe.transform.untie)
        job.progress.total += pq_checkpoint_find(ckpt, "model.embed_tokens.weight")->info.bytes;
    enum pq_status status = check_source(ckpt, err);
    if (status == PQ_OK)
        status = quantize(&job, out, err);
    if (status == PQ_OK && options->report)
        *options->report = job.report;
    pq_transform_close(&job.transform);
    pq_scales_close(&job.scales);
    pq_checkpoint_close(ckpt);
    return status;
}
