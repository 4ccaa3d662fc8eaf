#include "quant/embedding.h"

#include "model/checkpoint.h"

#include <string.h>

static const struct pq_safetensors_tensor *find(const struct pq_safetensors *file,
                                                const char *name) {
    for (int i = 0; i < file->n; i++)
        if (strcmp(file->tensors[i].info.name, name) == 0)
            return &file->tensors[i];
    return NULL;
}

static struct pq_tensor tensor_of(const struct pq_safetensors_tensor *t) {
    struct pq_tensor tensor = {.info = t->info, .data = t->data, .dtype = PQ_F32};
    if (strcmp(t->info.dtype, "BF16") == 0)
        tensor.dtype = PQ_BF16;
    else if (strcmp(t->info.dtype, "F16") == 0)
        tensor.dtype = PQ_F16;
    return tensor;
}

enum pq_status pq_embed_file(const struct pq_safetensors *file, const int32_t *ids, int n,
                             int hidden, float *x, struct pq_err *err) {
    const struct pq_safetensors_tensor *weight = find(file, "model.embed_tokens.weight");
    const struct pq_safetensors_tensor *scales = find(file, "model.embed_tokens.weight_scale");
    if (!weight || weight->info.rank != 2 || weight->info.shape[1] != hidden)
        return pq_fail(err, PQ_EFORMAT, "%s: has no embedding of width %d", file->path, hidden);
    size_t k = (size_t)hidden;
    for (int i = 0; i < n; i++, x += k) {
        if (ids[i] < 0 || ids[i] >= weight->info.shape[0])
            return pq_fail(err, PQ_EFORMAT, "%s: has no embedding of id %d", file->path, ids[i]);
        size_t row = (size_t)ids[i];
        if (!scales) {
            struct pq_tensor tensor = tensor_of(weight);
            pq_tensor_to_f32(&tensor, row * k, k, x);
            continue;
        }
        float scale;
        const int8_t *codes = (const int8_t *)weight->data + row * k;
        memcpy(&scale, (const char *)scales->data + row * sizeof scale, sizeof scale);
        for (size_t j = 0; j < k; j++)
            x[j] = (float)codes[j] * scale;
    }
    return PQ_OK;
}
