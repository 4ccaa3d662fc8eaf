#include "quant/scales.h"

#include <stdlib.h>

enum pq_status pq_scales_open(struct pq_model_scales *out, const struct pq_config *config,
                              struct pq_err *err) {
    size_t hidden = (size_t)config->hidden, values = (size_t)(config->kv_heads * config->head_dim);
    size_t layers = (size_t)config->layers, each = 2 * hidden + values + (size_t)config->ffn;
    struct pq_model_scales made = {.layers = calloc(layers, sizeof *made.layers),
                                   .memory = malloc(layers * each * sizeof *made.memory)};
    if (!made.layers || !made.memory) {
        pq_scales_close(&made);
        return pq_fail(err, PQ_ENOMEM, "out of memory for the scales of %d layers", config->layers);
    }
    for (size_t i = 0; i < layers * each; i++)
        made.memory[i] = 1;
    for (size_t i = 0; i < layers; i++) {
        struct pq_scales *s = &made.layers[i];
        s->qkv = made.memory + i * each;
        s->o = s->qkv + hidden;
        s->mlp = s->o + values;
        s->down = s->mlp + hidden;
    }
    *out = made;
    return PQ_OK;
}

void pq_scales_close(struct pq_model_scales *scales) {
    free(scales->layers);
    free(scales->memory);
    *scales = (struct pq_model_scales){0};
}
