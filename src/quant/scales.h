/* scales.h - memory for the scales of a whole model (transform.h). */
#ifndef PQ_QUANT_SCALES_H
#define PQ_QUANT_SCALES_H

#include "quant/transform.h"

struct pq_model_scales {
    struct pq_scales *layers; /* owned [layers] */
    float *memory;            /* owned: what they point to */
};

/* Ones for all inputs of all layers.  Errors: PQ_ENOMEM. */
enum pq_status pq_scales_open(struct pq_model_scales *out, const struct pq_config *config,
                              struct pq_err *err);
void pq_scales_close(struct pq_model_scales *scales);

#endif
