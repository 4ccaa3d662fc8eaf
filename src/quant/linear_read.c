/* pq_stored_linear_read: the stored form back to codes, for a run that goes on with another's. */
#include "quant/linear.h"

#include "model/group_scales.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tensor P + suffix of the linear P.weight, of at least `bytes`; NULL: there is none. */
static const void *find(const struct pq_stored_linear *linear, const struct pq_safetensors *file,
                        const char *suffix, size_t bytes) {
    size_t length = strlen(linear->name) - strlen(".weight");
    for (int i = 0; i < file->n; i++) {
        const struct pq_tensor_info *t = &file->tensors[i].info;
        if (strncmp(t->name, linear->name, length) == 0 && strcmp(t->name + length, suffix) == 0)
            return t->bytes >= bytes ? file->tensors[i].data : NULL;
    }
    return NULL;
}

static int nibble(const uint8_t *row, int i) {
    return row[i / 2] >> (i % 2 * 4) & 15;
}

static void unpack_codes(const uint8_t *packed, struct pq_rounded *r) {
    size_t bytes = ((size_t)r->k + 1) / 2;
    for (int i = 0; i < r->n; i++)
        for (int j = 0; j < r->k; j++)
            r->q[(size_t)i * (size_t)r->k + (size_t)j] =
                (int8_t)(nibble(packed + (size_t)i * bytes, j) - 8);
}

static void unpack_multipliers(const uint8_t *packed, struct pq_rounded *r) {
    size_t bytes = ((size_t)r->groups + 1) / 2;
    for (int i = 0; i < r->n; i++)
        for (int g = 0; g < r->groups; g++)
            r->multiplier[(size_t)i * (size_t)r->groups + (size_t)g] =
                (uint8_t)nibble(packed + (size_t)i * bytes, g);
}

/* Scales of groups come apart into a row's scale and multipliers. */
static bool split_scales(const void *scales, struct pq_rounded *r) {
    size_t groups = (size_t)r->groups;
    float *row = malloc(groups * sizeof *row);
    bool good = row != NULL;
    for (size_t i = 0; good && i < (size_t)r->n; i++) {
        memcpy(row, (const char *)scales + i * groups * sizeof *row, groups * sizeof *row);
        good = pq_group_scales_split(row, r->groups, &r->scale[i], r->multiplier + i * groups);
    }
    free(row);
    return good;
}

static bool read(const struct pq_stored_linear *linear, const struct pq_safetensors *file,
                 struct pq_rounded *r) {
    size_t n = (size_t)r->n, k = (size_t)r->k, groups = (size_t)r->groups;
    bool w4 = linear->scheme == PQ_SCHEME_W4A8, split = linear->packed && groups > 0;
    const void *codes =
        find(linear, file, w4 ? ".weight_packed" : ".weight", n * (w4 ? (k + 1) / 2 : k));
    const void *scales =
        find(linear, file, ".weight_scale", n * (split ? groups : 1) * sizeof(float));
    const void *multipliers =
        groups && !split ? find(linear, file, ".weight_group", n * ((groups + 1) / 2)) : NULL;
    if (!codes || !scales || (groups && !split && !multipliers))
        return false;
    if (w4)
        unpack_codes(codes, r);
    else
        memcpy(r->q, codes, n * k);
    if (multipliers)
        unpack_multipliers(multipliers, r);
    if (split)
        return split_scales(scales, r);
    memcpy(r->scale, scales, n * sizeof *r->scale);
    return true;
}

enum pq_status pq_stored_linear_read(const struct pq_stored_linear *linear,
                                     const struct pq_safetensors *file, struct pq_rounded *out,
                                     struct pq_err *err) {
    struct pq_rounded rounded;
    int group = linear->scheme == PQ_SCHEME_W4A8 ? linear->group : PQ_GROUP_CHANNEL;
    PQ_TRY(pq_rounded_open(&rounded, linear->scheme, (int)linear->source->info.shape[0],
                           (int)linear->source->info.shape[1], group, err));
    if (!read(linear, file, &rounded)) {
        pq_rounded_close(&rounded);
        return pq_fail(err, PQ_EFORMAT, "%s: %s cannot be read back", file->path, linear->name);
    }
    *out = rounded;
    return PQ_OK;
}
