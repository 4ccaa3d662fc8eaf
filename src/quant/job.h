/* job.h - one quantization: what is made of what, and the making of its weights. */
#ifndef PQ_QUANT_JOB_H
#define PQ_QUANT_JOB_H

#include "quant/scales.h"
#include "quant/parts.h"
#include "quant/progress.h"
#include "quant/recipe.h"

struct pq_job {
    const struct pq_checkpoint *ckpt;
    const struct pq_tensor_info *tensors; /* [n] of ckpt */
    int n;
    struct pq_config config; /* of the result */
    struct pq_recipe recipe;
    const struct pq_traces *traces; /* of calibration; NULL: none */
    struct pq_calibration_report report;
    struct pq_model_scales scales; /* of the transform, where the recipe has some */
    struct pq_transform transform;
    struct pq_pool *pool;
    struct pq_progress progress;
};

/* Write model.safetensors into the staging directory: part after part, the tensors outside of
 * layers and then each layer, those that an earlier run has left excepted; in the end the parts are
 * joined. */
enum pq_status pq_job_make(struct pq_job *job, const struct pq_staging *staging,
                           struct pq_err *err);

#endif
