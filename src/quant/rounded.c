#include "quant/rounded.h"

#include "base/half.h"
#include "base/nibbles.h"
#include "cpu/pack.h"
#include "model/group_scales.h"
#include "quant/rtn.h"

#include <stdlib.h>
#include <string.h>

enum pq_status pq_rounded_open(struct pq_rounded *out, enum pq_scheme scheme, int n, int k,
                               int group, struct pq_err *err) {
    struct pq_rounded r = {.scheme = scheme, .n = n, .k = k, .group = group};
    if (scheme == PQ_SCHEME_W4A8 && group != PQ_GROUP_CHANNEL)
        r.groups = (k - 1) / group + 1;
    r.q = malloc((size_t)n * (size_t)k);
    r.multiplier = malloc((size_t)n * (size_t)r.groups + 1);
    r.scale = malloc((size_t)n * sizeof *r.scale);
    if (!r.q || !r.multiplier || !r.scale) {
        pq_rounded_close(&r);
        return pq_fail(err, PQ_ENOMEM, "out of memory for a linear of %d x %d", n, k);
    }
    *out = r;
    return PQ_OK;
}

void pq_rounded_close(struct pq_rounded *rounded) {
    free(rounded->q);
    free(rounded->multiplier);
    free(rounded->scale);
    *rounded = (struct pq_rounded){0};
}

struct rounding {
    const struct pq_rounded *rounded;
    const float *w;
};

static void round_row(void *arg, int row, int thread) {
    (void)thread;
    const struct rounding *rounding = arg;
    const struct pq_rounded *r = rounding->rounded;
    const float *w = rounding->w + (size_t)row * (size_t)r->k;
    int8_t *q = r->q + (size_t)row * (size_t)r->k;
    uint8_t *multiplier = r->multiplier + (size_t)row * (size_t)r->groups;
    r->scale[row] = r->scheme == PQ_SCHEME_W8A8 ? pq_rtn_w8(w, NULL, r->k, q)
                                                : pq_rtn_w4(w, NULL, r->k, r->group, q, multiplier);
}

void pq_rounded_nearest(const struct pq_rounded *rounded, const float *w, struct pq_pool *pool) {
    struct rounding rounding = {rounded, w};
    pq_pool_run(pool, rounded->n, round_row, &rounding);
}

/* ---- Panels ---------------------------------------------------------------------------------- */

struct packing {
    struct pq_linear *linear;
    const struct pq_rounded *rounded; /* or */
    const float *w;                   /* [n][k] */
    const float *bias;                /* [n] or NULL */
    unsigned char **row;              /* [threads][2 k] */
};

static const void *row_of(const struct packing *p, int n, unsigned char *temp) {
    const struct pq_linear *w = p->linear;
    size_t k = (size_t)w->k, at = (size_t)n * k;
    if (w->kind == PQ_KIND_F32)
        return p->w + at;
    if (w->kind == PQ_KIND_I8)
        return p->rounded->q + at;
    if (w->kind == PQ_KIND_I4) {
        pq_pack_codes(p->rounded->q + at, w->k, temp);
        return temp;
    }
    for (size_t i = 0; i < k; i++)
        ((uint16_t *)temp)[i] = pq_f32_to_bf16(p->w[at + i]);
    return temp;
}

static void pack_panel(void *arg, int panel, int thread) {
    const struct packing *p = arg;
    const struct pq_linear *w = p->linear;
    const struct pq_rounded *r = p->rounded;
    const struct pq_panel to = pq_linear_panel(w, panel);
    unsigned char *temp = p->row[thread];
    for (int c = 0; c < PQ_NR && panel * PQ_NR + c < w->n; c++) {
        int n = panel * PQ_NR + c;
        pq_pack_row(w, to.weights, c, row_of(p, n, temp));
        if (p->bias)
            to.bias[c] = p->bias[n];
        if (r)
            to.scale[c] = r->scale[n];
        if (w->kind != PQ_KIND_I4)
            continue;
        if (r->groups)
            pq_pack_groups(r->multiplier + (size_t)n * (size_t)r->groups, r->groups, temp);
        pq_pack_multipliers(w, to.mults, c, r->groups ? temp : NULL);
    }
}

static enum pq_status pack(struct packing *p, struct pq_pool *pool, struct pq_err *err) {
    struct pq_linear *w = p->linear;
    size_t threads = (size_t)pq_pool_threads(pool), row = ((size_t)w->k * 2 + 63) / 64 * 64;
    unsigned char *memory = malloc(threads * (row + sizeof *p->row));
    w->panels = aligned_alloc(64, pq_linear_room(w));
    if (!memory || !w->panels) {
        free(memory);
        free(w->panels);
        return pq_fail(err, PQ_ENOMEM, "out of memory for a linear of %d x %d", w->n, w->k);
    }
    memset(w->panels, 0, pq_linear_room(w));
    p->row = (unsigned char **)memory;
    for (size_t t = 0; t < threads; t++)
        p->row[t] = memory + threads * sizeof *p->row + t * row;
    pq_pool_run(pool, pq_linear_panels(w), pack_panel, p);
    free(memory);
    return PQ_OK;
}

enum pq_status pq_rounded_pack(const struct pq_rounded *rounded, struct pq_err *err) {
    size_t groups = (size_t)rounded->groups;
    float *row = malloc(groups * sizeof *row);
    if (!row)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %zu scales", groups);
    for (size_t i = 0; i < (size_t)rounded->n; i++) {
        uint8_t *multiplier = rounded->multiplier + i * groups;
        rounded->scale[i] = pq_group_scale_round(rounded->scale[i]);
        for (size_t g = 0; g < groups; g++)
            row[g] = rounded->scale[i] * (float)multiplier[g];
        pq_group_scales_split(row, rounded->groups, &rounded->scale[i], multiplier);
    }
    free(row);
    return PQ_OK;
}

enum pq_status pq_linear_from_rounded(struct pq_linear *out, const struct pq_ops *ops,
                                      const struct pq_rounded *rounded, const float *bias,
                                      struct pq_pool *pool, struct pq_err *err) {
    struct pq_linear linear = {0};
    pq_linear_shape(&linear, ops, rounded->scheme == PQ_SCHEME_W4A8 ? PQ_KIND_I4 : PQ_KIND_I8,
                    rounded->n, rounded->k, rounded->group);
    struct packing packing = {.linear = &linear, .rounded = rounded, .bias = bias};
    PQ_TRY(pack(&packing, pool, err));
    *out = linear;
    return PQ_OK;
}

enum pq_status pq_linear_from_floats(struct pq_linear *out, const struct pq_ops *ops,
                                     enum pq_kind kind, const float *w, int n, int k,
                                     const float *bias, struct pq_pool *pool, struct pq_err *err) {
    struct pq_linear linear = {0};
    pq_linear_shape(&linear, ops, kind, n, k, PQ_GROUP_CHANNEL);
    struct packing packing = {.linear = &linear, .w = w, .bias = bias};
    PQ_TRY(pack(&packing, pool, err));
    *out = linear;
    return PQ_OK;
}

void pq_linear_release(struct pq_linear *linear) {
    free(linear->panels);
    *linear = (struct pq_linear){0};
}
