/* pq_pack: a checkpoint whose weights lie as kernels read them.
 *
 * The linears of a layer are packed as a model packs them, and written; then the next one's. Panels
 * come first in the file, so that all of them begin at multiples of 64 bytes, and a layer's at
 * once: of pieces of megabytes Linux makes huge pages in the page cache, where the file system can.
 */
#include "base/map.h"
#include "io/safetensors_write.h"
#include "model/linears.h"
#include "quant/along.h"
#include "quant/progress.h"

#include <stdlib.h>
#include <string.h>

struct stored {
    struct pq_name name; /* of panels and schemes, for info */
    struct pq_tensor_info info;
    const void *data; /* NULL: panels, which are made when they are written */
};

struct packed {
    const struct pq_checkpoint *ckpt;
    struct pq_model *model; /* a sketch */
    struct pq_pool *pool;
    struct stored *stored; /* [n], in the order of the file: panels of layers and head first */
    int n;
    unsigned char *schemes; /* [layers * PQ_LINEARS + 1] */
    struct pq_progress progress;
};

/* ---- What is stored -------------------------------------------------------------------------- */

static void add_bytes(struct packed *p, struct pq_name name, const void *data, size_t bytes) {
    struct stored *s = &p->stored[p->n++];
    *s = (struct stored){
        name,
        {.name = s->name.s, .dtype = "U8", .rank = 1, .shape = {(int64_t)bytes}, .bytes = bytes},
        data};
    p->progress.total += bytes;
}

/* A layer's linears lie one after the other, gate and up in turns. */
static size_t layer_bytes(struct pq_layer *layer) {
    size_t bytes = 0;
    for (int i = 0; i < PQ_LINEARS; i++)
        if (i != PQ_LINEAR_UP)
            bytes += pq_linear_room(pq_layer_linear(layer, (enum pq_linear_name)i));
    return bytes;
}

static void add_panels(struct packed *p) {
    const struct pq_model *m = p->model;
    for (int i = 0; i < m->config.layers; i++)
        add_bytes(p, pq_layer_tensor(i, "panels"), NULL, layer_bytes(&m->layers[i]));
    add_bytes(p, (struct pq_name){"lm_head.panels"}, NULL, pq_linear_room(&m->head));
}

static unsigned char scheme_of(const struct pq_linear *linear) {
    return linear->kind == PQ_KIND_I4   ? PQ_SCHEME_W4A8
           : linear->kind == PQ_KIND_I8 ? PQ_SCHEME_W8A8
                                        : PQ_SCHEME_FP;
}

static void add_schemes(struct packed *p) {
    const struct pq_model *m = p->model;
    unsigned char *at = p->schemes;
    for (int i = 0; i < m->config.layers; i++, at += PQ_LINEARS) {
        for (int k = 0; k < PQ_LINEARS; k++)
            at[k] = scheme_of(pq_layer_linear(&m->layers[i], (enum pq_linear_name)k));
        add_bytes(p, pq_layer_tensor(i, "schemes"), at, PQ_LINEARS);
    }
    *at = scheme_of(&m->head);
    add_bytes(p, (struct pq_name){"lm_head.schemes"}, at, 1);
}

/* The embedding and norms. */
static void add_others(struct packed *p) {
    int n;
    const struct pq_tensor_info *infos = pq_checkpoint_tensors(p->ckpt, &n);
    for (int i = 0; i < n; i++) {
        if (pq_linear_index(infos[i].name) >= 0 || strncmp(infos[i].name, "lm_head.", 8) == 0)
            continue;
        p->stored[p->n++] = (struct stored){
            .info = infos[i], .data = pq_checkpoint_find(p->ckpt, infos[i].name)->data};
        p->progress.total += infos[i].bytes;
    }
}

static enum pq_status list(struct packed *p, struct pq_err *err) {
    int layers = p->model->config.layers, others;
    pq_checkpoint_tensors(p->ckpt, &others);
    p->stored = calloc((size_t)(2 * layers + 2 + others), sizeof *p->stored);
    p->schemes = malloc((size_t)layers * PQ_LINEARS + 1);
    if (!p->stored || !p->schemes)
        return pq_fail(err, PQ_ENOMEM, "out of memory for a list of tensors");
    add_panels(p);
    add_schemes(p);
    add_others(p);
    return PQ_OK;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static enum pq_status write_panels(struct packed *p, int piece, struct pq_writer *writer,
                                   struct pq_err *err) {
    struct pq_arena arena;
    PQ_TRY(pq_sketch_pack(p->model, piece, p->pool, &arena, err));
    enum pq_status status = pq_writer_append(writer, arena.base, arena.used, err);
    pq_arena_close(&arena);
    return status;
}

static enum pq_status write_tensors(struct packed *p, struct pq_writer *writer,
                                    struct pq_err *err) {
    PQ_TRY(pq_writer_metadata(writer, "panq", PQ_VERSION, err));
    for (int i = 0; i < p->n; i++) {
        const struct pq_tensor_info *t = &p->stored[i].info;
        PQ_TRY(pq_writer_declare(writer, t->name, t->dtype, t->rank, t->shape, err));
    }
    PQ_TRY(pq_writer_begin(writer, err));
    for (int i = 0; i < p->n; i++) {
        const struct pq_tensor_info *t = &p->stored[i].info;
        if (p->stored[i].data)
            PQ_TRY(pq_writer_append(writer, p->stored[i].data, t->bytes, err));
        else
            PQ_TRY(write_panels(p, i, writer, err));
        PQ_TRY(pq_progress_add(&p->progress, t->name, t->bytes, err));
    }
    return pq_writer_end(writer, err);
}

static enum pq_status write_weights(struct packed *p, const struct pq_staging *staging,
                                    struct pq_err *err) {
    char *path = pq_path_join(staging->path, "model.safetensors");
    if (!path)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", staging->path);
    struct pq_writer *writer = NULL;
    enum pq_status status = pq_writer_open(&writer, path, err);
    if (status == PQ_OK)
        status = write_tensors(p, writer, err);
    pq_writer_close(writer);
    free(path);
    return status;
}

static enum pq_status write_directory(struct packed *p, const struct pq_staging *staging,
                                      struct pq_err *err) {
    const char *order = pq_panels_name(pq_model_panels(p->model));
    json_t *changes =
        json_pack("{s:{s:i, s:s}}", "panq_panels", "version", PQ_PANELS_VERSION, "order", order);
    PQ_TRY(pq_along_config(staging, pq_checkpoint_dir(p->ckpt), changes, err));
    PQ_TRY(pq_along_copy(staging, pq_checkpoint_dir(p->ckpt), err));
    return write_weights(p, staging, err);
}

/* Nothing is worth keeping of a run that did not end: the next one is as soon done. */
static enum pq_status write_out(struct packed *p, const char *out, struct pq_err *err) {
    struct pq_staging staging;
    PQ_TRY(pq_staging_open(&staging, out, NULL, err));
    enum pq_status status = write_directory(p, &staging, err);
    if (status == PQ_OK)
        status = pq_staging_commit(&staging, err);
    pq_staging_close(&staging, false);
    return status;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static enum pq_status sketch(struct pq_model **model, const struct pq_checkpoint *ckpt,
                             enum pq_isa isa, struct pq_err *err) {
    if (pq_checkpoint_config(ckpt)->panels != PQ_PANELS_NONE)
        return pq_fail(err, PQ_EUNSUPPORTED, "%s: holds panels already", pq_checkpoint_dir(ckpt));
    struct pq_model_options options = {PQ_PRECISION_NATIVE, isa};
    return pq_model_sketch(model, ckpt, &options, err);
}

enum pq_status pq_pack(const char *dir, const char *out, const struct pq_pack_options *options,
                       struct pq_pool *pool, struct pq_err *err) {
    struct pq_checkpoint *ckpt;
    struct pq_model *model = NULL;
    PQ_TRY(pq_checkpoint_open(&ckpt, dir, err));
    enum pq_status status = sketch(&model, ckpt, options->isa, err);
    struct packed packed = {.ckpt = ckpt,
                            .model = model,
                            .pool = pool,
                            .progress = {options->progress, options->user, 0, 0}};
    if (status == PQ_OK)
        status = list(&packed, err);
    if (status == PQ_OK)
        status = write_out(&packed, out, err);
    free(packed.stored);
    free(packed.schemes);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    return status;
}
