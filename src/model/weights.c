/* weights.c - the weights of a checkpoint, as the forward pass reads them.
 *
 * Two walks over the same list of linears and norms: the first sums the bytes, the second, with
 * the arena there, places and packs.  Panels that the checkpoint holds already stay in its file.
 * A sketch has the first walk behind it, and is packed piece by piece. */
#include "model/model.h"

#include "model/linears.h"
#include "model/packing.h"
#include "model/rope.h"

#include <stdio.h>
#include <stdlib.h>

struct loader {
    struct pq_model *model;
    struct pq_pool *pool;
    struct pq_err *err;
    struct pq_arena *arena; /* of the second walk; NULL: the first */
    size_t bytes;           /* of the first */
    /* The file's panels of the layer or head whose turn it is, and what is placed of them; NULL
     * where the checkpoint has rows. */
    const struct pq_tensor *panels;
    size_t placed;
};

static const struct pq_tensor *find(const struct loader *l, const char *name) {
    return pq_checkpoint_find(l->model->ckpt, name);
}

static void *take(struct loader *l, size_t bytes) {
    l->bytes += pq_arena_piece(bytes);
    return l->arena ? pq_arena_take(l->arena, bytes) : NULL;
}

/* ---- Panels ---------------------------------------------------------------------------------- */

/* What comes next are the linears that share the panels called so, if the checkpoint holds any. */
static void begin_panels(struct loader *l, const char *name) {
    l->panels = l->model->config.panels == PQ_PANELS_NONE ? NULL : find(l, name);
    l->placed = 0;
}

static enum pq_status end_panels(struct loader *l) {
    const struct pq_tensor *t = l->panels;
    if (!t)
        return PQ_OK;
    if (l->placed != t->info.bytes)
        return pq_fail(l->err, PQ_EFORMAT,
                       "%s/%s: tensor %s has %zu bytes, but config.json and the schemes mean %zu",
                       pq_checkpoint_dir(l->model->ckpt), t->info.file, t->info.name, t->info.bytes,
                       l->placed);
    if (l->arena) {
        pq_map_expect(t->map, t->data, t->info.bytes);
        l->model->mapped += t->info.bytes;
    }
    return PQ_OK;
}

/* Room for panels: in the arena or, where they are already, in their file, which nobody writes to.
 */
static unsigned char *place(struct loader *l, size_t bytes) {
    if (!l->panels)
        return take(l, bytes);
    unsigned char *at = (unsigned char *)l->panels->data + l->placed;
    l->placed += bytes;
    return at;
}

static enum pq_status shape(const struct loader *l, struct pq_linear *w, const char *name, int n,
                            int k) {
    const struct pq_config *c = &l->model->config;
    enum pq_scheme scheme = pq_checkpoint_linear_scheme(l->model->ckpt, name);
    enum pq_kind kind = scheme == PQ_SCHEME_W4A8   ? PQ_KIND_I4
                        : scheme == PQ_SCHEME_W8A8 ? PQ_KIND_I8
                                                   : l->model->fp;
    if (l->panels && kind == PQ_KIND_F32)
        return pq_fail(l->err, PQ_EUNSUPPORTED,
                       "%s: the panels of %s are BF16, which the precision fp32 cannot take: use "
                       "the checkpoint that they were packed from",
                       pq_checkpoint_dir(l->model->ckpt), name);
    pq_linear_shape(w, l->model->ops, kind, n, k, c->group < k ? c->group : PQ_GROUP_CHANNEL);
    return PQ_OK;
}

static enum pq_status pack(struct loader *l, const struct pq_linear *w, const char *name) {
    if (!l->arena || l->panels)
        return PQ_OK;
    return pq_pack_linear(w, l->model->ckpt, name, l->pool, l->err);
}

static enum pq_status load_linear(struct loader *l, struct pq_linear *w, const char *name, int n,
                                  int k) {
    PQ_TRY(shape(l, w, name, n, k));
    w->panels = place(l, pq_linear_room(w));
    return pack(l, w, name);
}

/* ---- The walk -------------------------------------------------------------------------------- */

static float *load_vector(struct loader *l, const char *name, int n) {
    float *v = take(l, (size_t)n * sizeof *v);
    if (v)
        pq_tensor_to_f32(find(l, name), 0, (size_t)n, v);
    return v;
}

/* Panels of gate and up take turns, as products meet them. */
static enum pq_status load_gate_up(struct loader *l, struct pq_layer *layer, int index) {
    const struct pq_config *c = &l->model->config;
    struct pq_name gate = pq_linear_tensor(index, PQ_LINEAR_GATE, "");
    struct pq_name up = pq_linear_tensor(index, PQ_LINEAR_UP, "");
    PQ_TRY(shape(l, &layer->gate, gate.s, c->ffn, c->hidden));
    PQ_TRY(shape(l, &layer->up, up.s, c->ffn, c->hidden));
    pq_linears_alternate(&layer->gate, &layer->up);
    layer->gate.panels = place(l, pq_linear_room(&layer->gate));
    if (layer->gate.panels)
        layer->up.panels = layer->gate.panels + layer->gate.panel_bytes;
    PQ_TRY(pack(l, &layer->gate, gate.s));
    return pack(l, &layer->up, up.s);
}

static enum pq_status load_linears(struct loader *l, int index) {
    struct pq_layer *layer = &l->model->layers[index];
    begin_panels(l, pq_layer_tensor(index, "panels").s);
    for (int i = 0; i < PQ_LINEARS; i++) {
        enum pq_linear_name which = (enum pq_linear_name)i;
        struct pq_linear_shape size = pq_linear_shape_of(&l->model->config, which);
        if (which == PQ_LINEAR_GATE)
            PQ_TRY(load_gate_up(l, layer, index));
        else if (which != PQ_LINEAR_UP)
            PQ_TRY(load_linear(l, pq_layer_linear(layer, which),
                               pq_linear_tensor(index, which, "").s, size.n, size.k));
    }
    return end_panels(l);
}

static enum pq_status load_layer(struct loader *l, int index) {
    const struct pq_config *c = &l->model->config;
    struct pq_layer *layer = &l->model->layers[index];
    PQ_TRY(load_linears(l, index));
    layer->attention_norm =
        load_vector(l, pq_layer_tensor(index, "input_layernorm.weight").s, c->hidden);
    layer->mlp_norm =
        load_vector(l, pq_layer_tensor(index, "post_attention_layernorm.weight").s, c->hidden);
    if (c->qk_norm) {
        layer->q_norm =
            load_vector(l, pq_layer_tensor(index, "self_attn.q_norm.weight").s, c->head_dim);
        layer->k_norm =
            load_vector(l, pq_layer_tensor(index, "self_attn.k_norm.weight").s, c->head_dim);
    }
    return PQ_OK;
}

static enum pq_status load_head(struct loader *l) {
    const struct pq_config *c = &l->model->config;
    begin_panels(l, "lm_head.panels");
    const char *name = c->tied && !l->panels ? "model.embed_tokens" : "lm_head";
    PQ_TRY(load_linear(l, &l->model->head, name, c->vocab, c->hidden));
    return end_panels(l);
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
    m->norm = load_vector(l, "model.norm.weight", c->hidden);
    m->frequencies = take(l, (size_t)(c->head_dim / 2) * sizeof *m->frequencies);
    if (m->frequencies)
        pq_rope_frequencies(&c->rope, c->head_dim, m->frequencies);
    return load_head(l);
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

/* Whether these kernels read panels in the order that the checkpoint's have. */
static enum pq_status check_order(const struct loader *l) {
    const struct pq_model *m = l->model;
    enum pq_panels have = m->config.panels, want = pq_model_panels(m);
    if (have == PQ_PANELS_NONE || have == want)
        return PQ_OK;
    return pq_fail(
        l->err, PQ_EUNSUPPORTED,
        "%s: holds panels of %s, but the kernels of %s read %s: pack the checkpoint that "
        "they come from for this machine",
        pq_checkpoint_dir(m->ckpt), pq_panels_name(have), pq_isa_name(m->ops->isa),
        pq_panels_name(want));
}

/* The first walk, and what is no weight. */
static enum pq_status sketch(struct loader *l) {
    struct pq_model *m = l->model;
    const struct pq_config *c = &m->config;
    PQ_TRY(check_order(l));
    if (c->head_dim % PQ_NR != 0)
        return pq_fail(l->err, PQ_EUNSUPPORTED, "%s: head_dim must be a multiple of %d, not %d",
                       pq_checkpoint_dir(m->ckpt), PQ_NR, c->head_dim);
    m->embedding = pq_checkpoint_find(m->ckpt, "model.embed_tokens.weight");
    m->embedding_scale = pq_checkpoint_find(m->ckpt, "model.embed_tokens.weight_scale");
    m->layers = calloc((size_t)c->layers, sizeof *m->layers);
    if (!m->layers)
        return pq_fail(l->err, PQ_ENOMEM, "out of memory for %d layers", c->layers);
    PQ_TRY(pq_model_open_rotations(m, l->err));
    return walk(l);
}

static enum pq_status load(struct loader *l) {
    struct pq_model *m = l->model;
    PQ_TRY(sketch(l));
    PQ_TRY(pq_arena_open(&m->arena, l->bytes, false, "the weights", l->err));
    l->arena = &m->arena;
    PQ_TRY(walk(l));
    chain(m);
    return PQ_OK;
}

static enum pq_status open_by(enum pq_status (*fn)(struct loader *), struct pq_model **out,
                              const struct pq_checkpoint *ckpt,
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
    enum pq_status status = fn(&l);
    if (status == PQ_OK)
        *out = model;
    else
        pq_model_close(model);
    return status;
}

enum pq_status pq_model_open(struct pq_model **out, const struct pq_checkpoint *ckpt,
                             const struct pq_model_options *options, struct pq_pool *pool,
                             struct pq_err *err) {
    return open_by(load, out, ckpt, options, pool, err);
}

enum pq_status pq_model_sketch(struct pq_model **out, const struct pq_checkpoint *ckpt,
                               const struct pq_model_options *options, struct pq_err *err) {
    return open_by(sketch, out, ckpt, options, NULL, err);
}

static enum pq_status load_piece(struct loader *l, int piece) {
    return piece < l->model->config.layers ? load_linears(l, piece) : load_head(l);
}

enum pq_status pq_sketch_pack(struct pq_model *sketched, int piece, struct pq_pool *pool,
                              struct pq_arena *out, struct pq_err *err) {
    struct loader l = {.model = sketched, .pool = pool, .err = err};
    struct pq_arena arena;
    PQ_TRY(load_piece(&l, piece));
    PQ_TRY(pq_arena_open(&arena, l.bytes, false, "the panels of a layer", err));
    l.arena = &arena;
    enum pq_status status = load_piece(&l, piece);
    if (status == PQ_OK)
        *out = arena;
    else
        pq_arena_close(&arena);
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

enum pq_panels pq_model_panels(const struct pq_model *model) {
    return model->ops->pairs ? PQ_PANELS_PAIRS : PQ_PANELS_UNITS;
}

size_t pq_model_bytes(const struct pq_model *model) {
    return model->arena.used + model->mapped;
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
