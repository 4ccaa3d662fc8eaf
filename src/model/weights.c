/* weights.c - from the tensors of a checkpoint to panels.
 *
 * Two walks over the same list of linears and norms: the first sums the bytes, the second, with
 * the arena there, places and packs.  A tensor's pages leave memory as soon as it is packed, so
 * that weights are resident once. */
#include "model/model.h"

#include "base/half.h"
#include "cpu/pack.h"
#include "model/packed.h"
#include "model/rope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 96 };

struct loader {
    struct pq_model *model;
    struct pq_pool *pool;
    struct pq_err *err;
    bool packing; /* the second walk */
    size_t bytes; /* of the first */
};

static const struct pq_tensor *find(const struct loader *l, const char *linear,
                                    const char *suffix) {
    char name[NAME + 16];
    snprintf(name, sizeof name, "%s%s", linear, suffix);
    return pq_checkpoint_find(l->model->ckpt, name);
}

static void *take(struct loader *l, size_t bytes) {
    l->bytes += pq_arena_piece(bytes);
    return l->packing ? pq_arena_take(&l->model->arena, bytes) : NULL;
}

/* ---- Packing --------------------------------------------------------------------------------- */

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
    if (!pq_packed_split(temp, (int)groups, scale, multipliers)) {
        *scale = 0;
        return NULL;
    }
    multipliers[groups] = 0;
    for (size_t i = 0; i < (groups + 1) / 2; i++)
        multipliers[i] = (uint8_t)(multipliers[2 * i] | multipliers[2 * i + 1] << 4);
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
static enum pq_status check_scales(struct loader *l, const struct packing *p) {
    for (int n = 0; p->scales && n < p->linear->n; n++)
        if (pq_linear_panel(p->linear, n / PQ_NR).scale[n % PQ_NR] == 0)
            return pq_fail(l->err, PQ_EUNSUPPORTED,
                           "%s/%s: tensor %s: the scales of row %d are not a number times 1 to 15, "
                           "as panq's are",
                           pq_checkpoint_dir(l->model->ckpt), p->scales->info.file,
                           p->scales->info.name, n);
    return PQ_OK;
}

static enum pq_status pack(struct loader *l, struct packing *p) {
    int threads = pq_pool_threads(l->pool);
    size_t row = ((size_t)p->linear->k * 6 + 63) / 64 * 64;
    unsigned char *memory = malloc(row * (size_t)threads);
    p->row = malloc(sizeof *p->row * (size_t)threads);
    if (memory && p->row) {
        for (int t = 0; t < threads; t++)
            p->row[t] = memory + row * (size_t)t;
        pq_pool_run(l->pool, pq_linear_panels(p->linear), pack_panel, p);
        pq_map_forget(p->weight->map, p->weight->data, p->weight->info.bytes);
    }
    bool failed = !memory || !p->row;
    free(memory);
    free(p->row);
    return failed ? pq_fail(l->err, PQ_ENOMEM, "out of memory for packing rows of %d inputs",
                            p->linear->k)
                  : check_scales(l, p);
}

/* ---- One linear, one vector ------------------------------------------------------------------ */

static float *load_vector(struct loader *l, const struct pq_tensor *tensor, int n) {
    float *v = take(l, (size_t)n * sizeof *v);
    if (v)
        pq_tensor_to_f32(tensor, 0, (size_t)n, v);
    return v;
}

/* Where the linear `name` comes from; sets its sizes. */
static struct packing packing_of(const struct loader *l, struct pq_linear *w, const char *name,
                                 int n, int k) {
    enum pq_scheme scheme = pq_checkpoint_linear_scheme(l->model->ckpt, name);
    enum pq_kind kind = scheme == PQ_SCHEME_W4A8   ? PQ_KIND_I4
                        : scheme == PQ_SCHEME_W8A8 ? PQ_KIND_I8
                                                   : l->model->fp;
    bool w4 = kind == PQ_KIND_I4;
    struct packing p = {.linear = w,
                        .weight = find(l, name, w4 ? ".weight_packed" : ".weight"),
                        .bias = find(l, name, ".bias"),
                        .groups = w4 ? find(l, name, ".weight_group") : NULL};
    const struct pq_tensor *scales = find(l, name, ".weight_scale");
    if (w4 && scales->info.rank == 2 && scales->info.shape[1] > 1)
        p.scales = scales;
    else if (scheme != PQ_SCHEME_FP)
        p.scale = scales;
    pq_linear_shape(w, l->model->ops, kind, n, k,
                    p.groups || p.scales ? l->model->config.group : PQ_GROUP_CHANNEL);
    return p;
}

static enum pq_status load_linear(struct loader *l, struct pq_linear *w, const char *name, int n,
                                  int k) {
    struct packing p = packing_of(l, w, name, n, k);
    w->panels = take(l, pq_linear_room(w));
    return l->packing ? pack(l, &p) : PQ_OK;
}

/* Panels of gate and up take turns, as products meet them. */
static enum pq_status load_gate_up(struct loader *l, struct pq_layer *layer, int index) {
    const struct pq_config *c = &l->model->config;
    char gate_name[NAME], up_name[NAME];
    snprintf(gate_name, sizeof gate_name, "model.layers.%d.mlp.gate_proj", index);
    snprintf(up_name, sizeof up_name, "model.layers.%d.mlp.up_proj", index);
    struct packing gate = packing_of(l, &layer->gate, gate_name, c->ffn, c->hidden);
    struct packing up = packing_of(l, &layer->up, up_name, c->ffn, c->hidden);
    pq_linears_alternate(&layer->gate, &layer->up);
    layer->gate.panels = take(l, pq_linear_room(&layer->gate));
    if (!l->packing)
        return PQ_OK;
    layer->up.panels = layer->gate.panels + layer->gate.panel_bytes;
    PQ_TRY(pack(l, &gate));
    return pack(l, &up);
}

/* ---- The walk -------------------------------------------------------------------------------- */

static enum pq_status load_layer(struct loader *l, int index) {
    const struct pq_config *c = &l->model->config;
    struct pq_layer *layer = &l->model->layers[index];
    int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const struct {
        const char *name;
        struct pq_linear *linear;
        int n, k;
    } linears[] = {
        {"self_attn.q_proj", &layer->q, q, c->hidden},
        {"self_attn.k_proj", &layer->k, kv, c->hidden},
        {"self_attn.v_proj", &layer->v, kv, c->hidden},
        {"self_attn.o_proj", &layer->o, c->hidden, q},
        {"mlp.down_proj", &layer->down, c->hidden, c->ffn},
    };
    char name[NAME];
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        snprintf(name, sizeof name, "model.layers.%d.%s", index, linears[i].name);
        PQ_TRY(load_linear(l, linears[i].linear, name, linears[i].n, linears[i].k));
    }
    PQ_TRY(load_gate_up(l, layer, index));
    snprintf(name, sizeof name, "model.layers.%d.input_layernorm", index);
    layer->attention_norm = load_vector(l, find(l, name, ".weight"), c->hidden);
    snprintf(name, sizeof name, "model.layers.%d.post_attention_layernorm", index);
    layer->mlp_norm = load_vector(l, find(l, name, ".weight"), c->hidden);
    if (c->qk_norm) {
        snprintf(name, sizeof name, "model.layers.%d.self_attn", index);
        layer->q_norm = load_vector(l, find(l, name, ".q_norm.weight"), c->head_dim);
        layer->k_norm = load_vector(l, find(l, name, ".k_norm.weight"), c->head_dim);
    }
    return PQ_OK;
}

/* In the order of products, of which a gate and what it gates make one. */
static void chain(struct pq_model *m) {
    for (int i = 0; i < m->config.layers; i++) {
        struct pq_layer *layer = &m->layers[i];
        layer->q.next = &layer->k;
        layer->k.next = &layer->v;
        layer->v.next = &layer->o;
        layer->o.next = &layer->gate;
        layer->up.next = &layer->down;
        layer->down.next = i + 1 < m->config.layers ? &m->layers[i + 1].q : &m->head;
    }
}

static enum pq_status walk(struct loader *l) {
    struct pq_model *m = l->model;
    const struct pq_config *c = &m->config;
    l->bytes = 0;
    for (int i = 0; i < c->layers; i++)
        PQ_TRY(load_layer(l, i));
    m->norm = load_vector(l, find(l, "model.norm", ".weight"), c->hidden);
    m->frequencies = take(l, (size_t)(c->head_dim / 2) * sizeof *m->frequencies);
    if (m->frequencies)
        pq_rope_frequencies(&c->rope, c->head_dim, m->frequencies);
    return load_linear(l, &m->head, c->tied ? "model.embed_tokens" : "lm_head", c->vocab,
                       c->hidden);
}

enum pq_status pq_model_open_rotations(struct pq_model *model, struct pq_err *err) {
    const struct pq_config *c = &model->config;
    if (c->rotates_down)
        PQ_TRY(pq_hadamard_open(&model->down_rotation, c->ffn, err));
    return c->rotates_head ? pq_hadamard_open(&model->head_rotation, c->hidden, err) : PQ_OK;
}

void pq_model_close_rotations(struct pq_model *model) {
    pq_hadamard_close(&model->down_rotation);
    pq_hadamard_close(&model->head_rotation);
}

static enum pq_status load(struct loader *l) {
    struct pq_model *m = l->model;
    const struct pq_config *c = &m->config;
    if (c->head_dim % PQ_NR != 0)
        return pq_fail(l->err, PQ_EUNSUPPORTED, "%s: head_dim must be a multiple of %d, not %d",
                       pq_checkpoint_dir(m->ckpt), PQ_NR, c->head_dim);
    m->embedding = pq_checkpoint_find(m->ckpt, "model.embed_tokens.weight");
    m->embedding_scale = pq_checkpoint_find(m->ckpt, "model.embed_tokens.weight_scale");
    m->layers = calloc((size_t)c->layers, sizeof *m->layers);
    if (!m->layers)
        return pq_fail(l->err, PQ_ENOMEM, "out of memory for %d layers", c->layers);
    PQ_TRY(pq_model_open_rotations(m, l->err));
    PQ_TRY(walk(l));
    PQ_TRY(pq_arena_open(&m->arena, l->bytes, false, "the weights", l->err));
    l->packing = true;
    PQ_TRY(walk(l));
    chain(m);
    return PQ_OK;
}

enum pq_status pq_model_open(struct pq_model **out, const struct pq_checkpoint *ckpt,
                             const struct pq_model_options *options, struct pq_pool *pool,
                             struct pq_err *err) {
    struct pq_model *model = calloc(1, sizeof *model);
    if (!model)
        return pq_fail(err, PQ_ENOMEM, "out of memory for a model");
    model->ckpt = ckpt;
    model->config = *pq_checkpoint_config(ckpt);
    model->ops = pq_ops_get(options->isa);
    model->fp = options->precision == PQ_PRECISION_FP32 ? PQ_KIND_F32 : PQ_KIND_BF16;
    struct loader l = {.model = model, .pool = pool, .err = err};
    enum pq_status status = load(&l);
    if (status == PQ_OK)
        *out = model;
    else
        pq_model_close(model);
    return status;
}

void pq_model_close(struct pq_model *model) {
    if (!model)
        return;
    pq_model_close_rotations(model);
    pq_arena_close(&model->arena);
    free(model->layers);
    free(model);
}

/* ---- What others ask ------------------------------------------------------------------------- */

const struct pq_config *pq_model_config(const struct pq_model *model) {
    return &model->config;
}

enum pq_isa pq_model_isa(const struct pq_model *model) {
    return model->ops->isa;
}

size_t pq_model_bytes(const struct pq_model *model) {
    return model->arena.used;
}

size_t pq_model_token_bytes(const struct pq_model *model) {
    size_t bytes = pq_linear_bytes(&model->head);
    for (int i = 0; i < model->config.layers; i++) {
        const struct pq_layer *l = &model->layers[i];
        bytes += pq_linear_bytes(&l->q) + pq_linear_bytes(&l->k) + pq_linear_bytes(&l->v) +
                 pq_linear_bytes(&l->o) + pq_linear_bytes(&l->gate) + pq_linear_bytes(&l->up) +
                 pq_linear_bytes(&l->down);
    }
    return bytes;
}

double pq_model_token_macs(const struct pq_model *model) {
    const struct pq_config *c = &model->config;
    double attention = 2.0 * (c->heads + c->kv_heads) * c->head_dim;
    return (double)c->layers * c->hidden * (attention + 3.0 * c->ffn);
}

void pq_model_embed(const struct pq_model *model, int32_t id, float *x) {
    size_t k = (size_t)model->config.hidden, first = (size_t)id * k;
    if (!model->embedding_scale) {
        pq_tensor_to_f32(model->embedding, first, k, x);
        return;
    }
    const int8_t *codes = (const int8_t *)model->embedding->data + first;
    float scale;
    pq_tensor_to_f32(model->embedding_scale, (size_t)id, 1, &scale);
    for (size_t i = 0; i < k; i++)
        x[i] = (float)codes[i] * scale;
}
