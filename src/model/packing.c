/* packing.c - see packing.h.  A task packs a panel, so that its memory is first touched by a thread
 * that will multiply it. */
#include "model/packing.h"

#include "base/half.h"
#include "base/nibbles.h"
#include "cpu/pack.h"
#include "model/group_scales.h"

#include <stdlib.h>

struct packing {
    const struct pq_linear *linear;
    const struct pq_tensor *weight;
    const struct pq_tensor *bias;   /* or NULL */
    const struct pq_tensor *scale;  /* of rows, or NULL */
    const struct pq_tensor *groups; /* multipliers of 4-bit codes, or NULL */
    const struct pq_tensor *scales; /* of groups, as compressed-tensors has them, or NULL */
    void **row;                     /* [threads], k floats each and half as many again */
};

/* Row n of an FP tensor as the values of the linear's kind. */
static const void *fp_row(const struct packing *p, int n, float *temp) {
    size_t k = (size_t)p->linear->k, first = (size_t)n * k;
    if (p->weight->dtype == PQ_BF16 && p->linear->kind == PQ_KIND_BF16)
        return (const unsigned char *)p->weight->data + 2 * first;
    pq_tensor_to_f32(p->weight, first, k, temp);
    if (p->linear->kind == PQ_KIND_F32)
        return temp;
    uint16_t *half = (uint16_t *)(temp + k);
    for (size_t i = 0; i < k; i++)
        half[i] = pq_f32_to_bf16(temp[i]);
    return half;
}

/* Scale and multipliers of row n out of its groups' scales; a scale of 0: they do not come apart.
 */
static const uint8_t *split_row(const struct packing *p, int n, float *scale, float *temp) {
    size_t groups = (size_t)p->scales->info.shape[1];
    uint8_t *multipliers = (uint8_t *)(temp + groups);
    pq_tensor_to_f32(p->scales, (size_t)n * groups, groups, temp);
    if (!pq_group_scales_split(temp, (int)groups, scale, multipliers)) {
        *scale = 0;
        return NULL;
    }
    pq_pack_groups(multipliers, (int)groups, multipliers);
    return multipliers;
}

static const uint8_t *multipliers_of(const struct packing *p, int n, float *scale, float *temp) {
    if (p->scales)
        return split_row(p, n, scale, temp);
    return p->groups
               ? (const uint8_t *)p->groups->data + (size_t)n * (size_t)p->groups->info.shape[1]
               : NULL;
}

/* Row n to output c of a panel. */
static void pack_row(const struct packing *p, const struct pq_panel *to, int c, int n, void *temp) {
    const struct pq_linear *w = p->linear;
    size_t k = (size_t)w->k, row_bytes = w->kind == PQ_KIND_I4 ? (k + 1) / 2 : k;
    if (pq_takes_integers(w))
        pq_pack_row(w, to->weights, c,
                    (const unsigned char *)p->weight->data + (size_t)n * row_bytes);
    else
        pq_pack_row(w, to->weights, c, fp_row(p, n, temp));
    if (w->kind == PQ_KIND_I4)
        pq_pack_multipliers(w, to->mults, c, multipliers_of(p, n, &to->scale[c], temp));
}

static void pack_panel(void *arg, int panel, int thread) {
    const struct packing *p = arg;
    const struct pq_linear *w = p->linear;
    const struct pq_panel to = pq_linear_panel(w, panel);
    int first = panel * PQ_NR, rows = w->n - first < PQ_NR ? w->n - first : PQ_NR;
    if (p->bias)
        pq_tensor_to_f32(p->bias, (size_t)first, (size_t)rows, to.bias);
    if (p->scale)
        pq_tensor_to_f32(p->scale, (size_t)first, (size_t)rows, to.scale);
    /* The arena is zero, and what the padding sums to is never read. */
    for (int c = 0; c < rows; c++)
        pack_row(p, &to, c, first + c, p->row[thread]);
}

/* Every row's scale is one, since those that came out of groups' scales came apart. */
static enum pq_status check_scales(const struct packing *p, const struct pq_checkpoint *ckpt,
                                   struct pq_err *err) {
    for (int n = 0; p->scales && n < p->linear->n; n++)
        if (pq_linear_panel(p->linear, n / PQ_NR).scale[n % PQ_NR] == 0)
            return pq_fail(err, PQ_EUNSUPPORTED,
                           "%s/%s: tensor %s: the scales of row %d are not a number times 1 to 15, "
                           "as panq's are",
                           pq_checkpoint_dir(ckpt), p->scales->info.file, p->scales->info.name, n);
    return PQ_OK;
}

static struct packing packing_of(const struct pq_linear *linear, const struct pq_checkpoint *ckpt,
                                 const char *name) {
    bool w4 = linear->kind == PQ_KIND_I4;
    struct packing p = {.linear = linear,
                        .weight =
                            pq_checkpoint_find_of(ckpt, name, w4 ? "weight_packed" : "weight"),
                        .bias = pq_checkpoint_find_of(ckpt, name, "bias"),
                        .groups = w4 ? pq_checkpoint_find_of(ckpt, name, "weight_group") : NULL};
    const struct pq_tensor *scales = pq_checkpoint_find_of(ckpt, name, "weight_scale");
    if (w4 && scales->info.rank == 2 && scales->info.shape[1] > 1)
        p.scales = scales;
    else if (pq_takes_integers(linear))
        p.scale = scales;
    return p;
}

enum pq_status pq_pack_linear(const struct pq_linear *linear, const struct pq_checkpoint *ckpt,
                              const char *name, struct pq_pool *pool, struct pq_err *err) {
    struct packing p = packing_of(linear, ckpt, name);
    int threads = pq_pool_threads(pool);
    size_t row = ((size_t)linear->k * 6 + 63) / 64 * 64;
    unsigned char *memory = malloc(row * (size_t)threads);
    p.row = malloc(sizeof *p.row * (size_t)threads);
    bool failed = !memory || !p.row;
    if (!failed) {
        for (int t = 0; t < threads; t++)
            p.row[t] = memory + row * (size_t)t;
        pq_pool_run(pool, pq_linear_panels(linear), pack_panel, &p);
        pq_map_forget(p.weight->map, p.weight->data, p.weight->info.bytes);
    }
    free(memory);
    free(p.row);
    return failed
               ? pq_fail(err, PQ_ENOMEM, "out of memory for packing rows of %d inputs", linear->k)
               : check_scales(&p, ckpt, err);
}
