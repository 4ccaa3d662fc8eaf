#include "model/checkpoint.h"

#include "base/half.h"
#include "io/safetensors.h"
#include "model/config.h"
#include "model/linears.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_NAME = 256, PANELS_ALIGN = 64 };

enum use { UNKNOWN, USED, IGNORED };

struct entry {
    struct pq_tensor tensor;
    enum use use;
};

struct pq_checkpoint {
    char *dir;
    struct pq_config config;
    struct pq_generation_config generation;
    struct pq_safetensors *shards; /* [n_shards], by name */
    int n_shards;
    struct entry *entries; /* [n_entries], in file order: whatever the shards hold */
    int n_entries;
    struct entry **by_name;       /* [n]; once open, only those used */
    struct pq_tensor_info *infos; /* [n] of those used, in file order */
    int n;
};

static const char *const dtype_names[] = {
    [PQ_F32] = "F32", [PQ_F16] = "F16", [PQ_BF16] = "BF16", [PQ_I8] = "I8",
    [PQ_U8] = "U8",   [PQ_I32] = "I32", [PQ_I64] = "I64",
};
enum { DTYPES = sizeof dtype_names / sizeof dtype_names[0] };

static enum pq_dtype dtype_of(const char *name) {
    int dtype = 0;
    while (dtype < DTYPES - 1 && strcmp(dtype_names[dtype], name) != 0)
        dtype++;
    return (enum pq_dtype)dtype;
}

static enum pq_status no_memory(const struct pq_checkpoint *ckpt, struct pq_err *err) {
    return pq_fail(err, PQ_ENOMEM, "%s: out of memory", ckpt->dir);
}

/* ---- Looking up ------------------------------------------------------------------------------ */

static int compare_entries(const void *a, const void *b) {
    const struct entry *const *x = a, *const *y = b;
    return strcmp((*x)->tensor.info.name, (*y)->tensor.info.name);
}

static int compare_name(const void *name, const void *entry) {
    return strcmp(name, (*(const struct entry *const *)entry)->tensor.info.name);
}

static struct entry *find_entry(const struct pq_checkpoint *ckpt, const char *name) {
    struct entry **found =
        bsearch(name, ckpt->by_name, (size_t)ckpt->n, sizeof *ckpt->by_name, compare_name);
    return found ? *found : NULL;
}

const struct pq_tensor *pq_checkpoint_find(const struct pq_checkpoint *ckpt, const char *name) {
    struct entry *entry = find_entry(ckpt, name);
    return entry ? &entry->tensor : NULL;
}

const struct pq_tensor *pq_checkpoint_find_of(const struct pq_checkpoint *ckpt, const char *prefix,
                                              const char *suffix) {
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s.%s", prefix, suffix);
    return pq_checkpoint_find(ckpt, name);
}

/* The tensor whose byte *at is the scheme of the linear `name`; NULL: the checkpoint has rows of
 * it, which tell. */
static const struct pq_tensor *find_schemes(const struct pq_checkpoint *ckpt, const char *name,
                                            int *at) {
    *at = 0;
    if (ckpt->config.panels == PQ_PANELS_NONE)
        return NULL;
    if (strcmp(name, "lm_head") == 0)
        return pq_checkpoint_find(ckpt, "lm_head.schemes");
    int index = pq_linear_index(name);
    if (index < 0) /* the embedding */
        return NULL;
    *at = index % PQ_LINEARS;
    return pq_checkpoint_find(ckpt, pq_layer_tensor(index / PQ_LINEARS, "schemes").s);
}

enum pq_scheme pq_checkpoint_linear_scheme(const struct pq_checkpoint *ckpt, const char *name) {
    int at;
    const struct pq_tensor *schemes = find_schemes(ckpt, name, &at);
    if (schemes)
        return (enum pq_scheme)((const uint8_t *)schemes->data)[at];
    if (pq_checkpoint_find_of(ckpt, name, "weight_packed"))
        return PQ_SCHEME_W4A8;
    const struct pq_tensor *weight = pq_checkpoint_find_of(ckpt, name, "weight");
    return weight && weight->dtype == PQ_I8 ? PQ_SCHEME_W8A8 : PQ_SCHEME_FP;
}

/* ---- Opening the files ----------------------------------------------------------------------- */

static enum pq_status open_shard(struct pq_checkpoint *ckpt, const char *name, struct pq_err *err) {
    char *path = pq_path_join(ckpt->dir, name);
    if (!path)
        return no_memory(ckpt, err);
    enum pq_status status = pq_safetensors_open(&ckpt->shards[ckpt->n_shards], path, err);
    ckpt->n_shards += status == PQ_OK;
    free(path);
    return status;
}

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Open each file that weight_map names, once.  names: scratch [json_object_size(map)]. */
static enum pq_status open_shards(struct pq_checkpoint *ckpt, const struct pq_json *map,
                                  const char **names, struct pq_err *err) {
    size_t n = 0;
    const char *tensor;
    json_t *value;
    json_object_foreach(map->object, tensor, value) {
        const char *name = json_string_value(value);
        if (!name || !name[0] || name[0] == '.' || strchr(name, '/'))
            return pq_fail(err, PQ_EFORMAT,
                           "%s: tensor %.255s is said to be in %s, which is not a plain file name",
                           map->file, tensor, pq_json_show(value).text);
        names[n++] = name;
    }
    qsort(names, n, sizeof *names, compare_strings);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0)
            PQ_TRY(open_shard(ckpt, names[i], err));
    return PQ_OK;
}

/* All tensors of the shards into entries and by_name. */
static enum pq_status gather(struct pq_checkpoint *ckpt, struct pq_err *err) {
    size_t total = 1; /* never zero bytes, which calloc may answer with NULL */
    for (int i = 0; i < ckpt->n_shards; i++)
        total += (size_t)ckpt->shards[i].n;
    ckpt->entries = calloc(total, sizeof *ckpt->entries);
    ckpt->by_name = calloc(total, sizeof *ckpt->by_name);
    ckpt->infos = calloc(total, sizeof *ckpt->infos);
    if (!ckpt->entries || !ckpt->by_name || !ckpt->infos)
        return no_memory(ckpt, err);
    for (int i = 0; i < ckpt->n_shards; i++)
        for (int j = 0; j < ckpt->shards[i].n; j++) {
            const struct pq_safetensors_tensor *t = &ckpt->shards[i].tensors[j];
            struct entry *entry = &ckpt->entries[ckpt->n_entries];
            entry->tensor =
                (struct pq_tensor){t->info, dtype_of(t->info.dtype), t->data, &ckpt->shards[i].map};
            ckpt->by_name[ckpt->n_entries++] = entry;
        }
    ckpt->n = ckpt->n_entries;
    qsort(ckpt->by_name, (size_t)ckpt->n, sizeof *ckpt->by_name, compare_entries);
    return PQ_OK;
}

/* The index and the shards must say the same: a tensor that only one of them knows of means that
 * files of different checkpoints have been mixed. */
static enum pq_status check_index(const struct pq_checkpoint *ckpt, const struct pq_json *map,
                                  struct pq_err *err) {
    for (int i = 0; i < ckpt->n_entries; i++) {
        const struct pq_tensor_info *info = &ckpt->entries[i].tensor.info;
        const char *file = json_string_value(json_object_get(map->object, info->name));
        if (!file || strcmp(file, info->file) != 0)
            return pq_fail(err, PQ_EFORMAT, "%s: tensor %s is in %s, but the index says %.100s",
                           map->file, info->name, info->file, file ? file : "nothing of it");
    }
    const char *name;
    json_t *value;
    json_object_foreach(map->object, name, value) {
        if (!pq_safetensors_skips(name) && !find_entry(ckpt, name))
            return pq_fail(err, PQ_EFORMAT, "%s: tensor %.255s is not in %.100s", map->file, name,
                           json_string_value(value));
    }
    return PQ_OK;
}

static enum pq_status open_index(struct pq_checkpoint *ckpt, const char *path, struct pq_err *err) {
    json_t *root;
    PQ_TRY(pq_json_load(&root, path, err));
    struct pq_json top = pq_json_root(root, path), map;
    const char **names = NULL;
    enum pq_status status = pq_json_object(&top, "weight_map", &map, err);
    if (status != PQ_OK)
        goto out;
    size_t most = json_object_size(map.object) + 1;
    names = calloc(most, sizeof *names);
    ckpt->shards = calloc(most, sizeof *ckpt->shards);
    status = names && ckpt->shards ? open_shards(ckpt, &map, names, err) : no_memory(ckpt, err);
    if (status == PQ_OK)
        status = gather(ckpt, err);
    if (status == PQ_OK)
        status = check_index(ckpt, &map, err);
out:
    free(names);
    json_decref(root);
    return status;
}

/* model.safetensors if there is one, as transformers chooses, else the index and its shards. */
static enum pq_status open_tensors(struct pq_checkpoint *ckpt, struct pq_err *err) {
    char *single = pq_path_join(ckpt->dir, "model.safetensors");
    char *index = pq_path_join(ckpt->dir, "model.safetensors.index.json");
    enum pq_status status;
    if (!single || !index) {
        status = no_memory(ckpt, err);
    } else if (access(single, F_OK) == 0) {
        ckpt->shards = calloc(1, sizeof *ckpt->shards);
        status = ckpt->shards ? open_shard(ckpt, "model.safetensors", err) : no_memory(ckpt, err);
        if (status == PQ_OK)
            status = gather(ckpt, err);
    } else if (access(index, F_OK) == 0) {
        status = open_index(ckpt, index, err);
    } else {
        status = pq_fail(err, PQ_EIO,
                         "%s: holds neither model.safetensors nor model.safetensors.index.json",
                         ckpt->dir);
    }
    free(single);
    free(index);
    return status;
}

/* ---- What the model needs -------------------------------------------------------------------- */

enum { FLOATS = 1 << PQ_F32 | 1 << PQ_F16 | 1 << PQ_BF16 };

struct text {
    char s[128];
};

static struct text show_shape(int rank, const int64_t *shape) {
    struct text out = {"["};
    for (int i = 0, used = 1; i < rank; i++)
        used += snprintf(out.s + used, sizeof out.s - (size_t)used, i ? ", %lld" : "%lld",
                         (long long)shape[i]);
    strcat(out.s, "]");
    return out;
}

static struct text show_dtypes(unsigned dtypes) {
    struct text out = {""};
    for (int i = 0; i < DTYPES; i++)
        if (dtypes >> i & 1) {
            strcat(out.s, out.s[0] ? " or " : "");
            strcat(out.s, dtype_names[i]);
        }
    return out;
}

/* The model uses the tensor prefix.suffix: it must be there, have one of `dtypes` (bits 1 << enum
 * pq_dtype) and the shape [n, k]; rank 1 means [n]. */
static enum pq_status need(struct pq_checkpoint *ckpt, const char *prefix, const char *suffix,
                           unsigned dtypes, int rank, int64_t n, int64_t k, struct pq_err *err) {
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s.%s", prefix, suffix);
    struct entry *entry = find_entry(ckpt, name);
    if (!entry)
        return pq_fail(err, PQ_EFORMAT, "%s: tensor %s is missing", ckpt->dir, name);
    const struct pq_tensor *t = &entry->tensor;
    int64_t shape[2] = {n, k};
    if (!(dtypes >> t->dtype & 1))
        return pq_fail(err, PQ_EFORMAT, "%s/%s: tensor %s is %s, not %s", ckpt->dir, t->info.file,
                       name, t->info.dtype, show_dtypes(dtypes).s);
    if (t->info.rank != rank || memcmp(t->info.shape, shape, (size_t)rank * sizeof *shape) != 0)
        return pq_fail(err, PQ_EFORMAT, "%s/%s: tensor %s has shape %s, but config.json means %s",
                       ckpt->dir, t->info.file, name, show_shape(t->info.rank, t->info.shape).s,
                       show_shape(rank, shape).s);
    entry->use = USED;
    return PQ_OK;
}

/* The scale of each output: [n, 1], or [n] as some exporters write it. */
static enum pq_status need_scale(struct pq_checkpoint *ckpt, const char *name, unsigned dtypes,
                                 int64_t n, struct pq_err *err) {
    const struct pq_tensor *scale = pq_checkpoint_find_of(ckpt, name, "weight_scale");
    int rank = scale && scale->info.rank == 1 ? 1 : 2;
    return need(ckpt, name, "weight_scale", dtypes, rank, n, 1, err);
}

/* A 4-bit linear in compressed-tensors' form: 8 codes an int32, whole groups, and a scale for each.
 * weight_shape says again what config.json means, or is damaged. */
static enum pq_status need_packed(struct pq_checkpoint *ckpt, const char *name, int64_t n,
                                  int64_t k, int64_t group, struct pq_err *err) {
    if (k % 8 != 0 || k % group != 0)
        return pq_fail(err, PQ_EUNSUPPORTED,
                       "%s: tensor %s.weight_packed has %lld inputs, which are not whole groups of "
                       "%lld in int32 of 8",
                       ckpt->dir, name, (long long)k, (long long)group);
    PQ_TRY(need(ckpt, name, "weight_packed", 1 << PQ_I32, 2, n, k / 8, err));
    PQ_TRY(need(ckpt, name, "weight_scale", FLOATS, 2, n, k / group, err));
    PQ_TRY(need(ckpt, name, "weight_shape", 1 << PQ_I64, 1, 2, 0, err));
    const struct pq_tensor *shape = pq_checkpoint_find_of(ckpt, name, "weight_shape");
    int64_t said[2];
    memcpy(said, shape->data, sizeof said);
    if (said[0] != n || said[1] != k)
        return pq_fail(err, PQ_EFORMAT, "%s/%s: tensor %s says %s, but config.json means %s",
                       ckpt->dir, shape->info.file, shape->info.name, show_shape(2, said).s,
                       show_shape(2, (const int64_t[]){n, k}).s);
    return PQ_OK;
}

static enum pq_status need_w4(struct pq_checkpoint *ckpt, const char *name, int64_t n, int64_t k,
                              struct pq_err *err) {
    int64_t group = ckpt->config.group ? ckpt->config.group : k, groups = (k + group - 1) / group;
    const struct pq_tensor *packed = pq_checkpoint_find_of(ckpt, name, "weight_packed");
    if (packed->dtype == PQ_I32)
        return need_packed(ckpt, name, n, k, group, err);
    PQ_TRY(need(ckpt, name, "weight_packed", 1 << PQ_U8, 2, n, (k + 1) / 2, err));
    /* A single group needs no multipliers; a writer may have put them down all the same. */
    if (groups > 1 || (ckpt->config.group && pq_checkpoint_find_of(ckpt, name, "weight_group")))
        PQ_TRY(need(ckpt, name, "weight_group", 1 << PQ_U8, 2, n, (groups + 1) / 2, err));
    return need_scale(ckpt, name, 1 << PQ_F32, n, err);
}

/* The weight of a linear or embedding, in `lowest` or a form of more bits. */
static enum pq_status need_weight(struct pq_checkpoint *ckpt, const char *name, int64_t n,
                                  int64_t k, enum pq_scheme lowest, struct pq_err *err) {
    enum pq_scheme scheme = pq_checkpoint_linear_scheme(ckpt, name);
    if (scheme > lowest)
        return pq_fail(
            err, PQ_EFORMAT,
            "%s: tensor %s.weight%s makes this weight %s, but config.json allows %s here",
            ckpt->dir, name, scheme == PQ_SCHEME_W4A8 ? "_packed" : "", pq_scheme_name(scheme),
            pq_scheme_name(lowest));
    if (scheme == PQ_SCHEME_W4A8)
        return need_w4(ckpt, name, n, k, err);
    if (scheme == PQ_SCHEME_FP)
        return need(ckpt, name, "weight", FLOATS, 2, n, k, err);
    PQ_TRY(need(ckpt, name, "weight", 1 << PQ_I8, 2, n, k, err));
    return need_scale(ckpt, name, FLOATS, n, err);
}

/* The panels of n linears, and their schemes.  How long the panels are is for the model to say,
 * which knows its kernels'. */
static enum pq_status need_panels(struct pq_checkpoint *ckpt, const char *name, int n,
                                  enum pq_scheme lowest, struct pq_err *err) {
    PQ_TRY(need(ckpt, name, "schemes", 1 << PQ_U8, 1, n, 0, err));
    const struct pq_tensor *schemes = pq_checkpoint_find_of(ckpt, name, "schemes");
    const struct pq_tensor *panels = pq_checkpoint_find_of(ckpt, name, "panels");
    PQ_TRY(need(ckpt, name, "panels", 1 << PQ_U8, 1, panels ? panels->info.shape[0] : 0, 0, err));
    for (int i = 0; i < n; i++) {
        uint8_t scheme = ((const uint8_t *)schemes->data)[i];
        if (scheme > lowest)
            return pq_fail(err, PQ_EFORMAT,
                           "%s/%s: tensor %s has scheme %d, but config.json allows 0 to %d here",
                           ckpt->dir, schemes->info.file, schemes->info.name, scheme, (int)lowest);
    }
    if ((uintptr_t)panels->data % PANELS_ALIGN != 0)
        return pq_fail(err, PQ_EFORMAT,
                       "%s/%s: tensor %s does not begin at a multiple of %d bytes in the file, as "
                       "panels must",
                       ckpt->dir, panels->info.file, panels->info.name, PANELS_ALIGN);
    return PQ_OK;
}

static enum pq_status need_linears(struct pq_checkpoint *ckpt, int layer, struct pq_err *err) {
    const struct pq_config *c = &ckpt->config;
    if (c->panels != PQ_PANELS_NONE) {
        char name[32];
        snprintf(name, sizeof name, "model.layers.%d", layer);
        return need_panels(ckpt, name, PQ_LINEARS, c->scheme, err);
    }
    for (int i = 0; i < PQ_LINEARS; i++) {
        struct pq_name linear = pq_linear_tensor(layer, (enum pq_linear_name)i, "");
        struct pq_linear_shape shape = pq_linear_shape_of(c, (enum pq_linear_name)i);
        PQ_TRY(need_weight(ckpt, linear.s, shape.n, shape.k, c->scheme, err));
        if (shape.bias)
            PQ_TRY(need(ckpt, linear.s, "bias", FLOATS, 1, shape.n, 0, err));
    }
    return PQ_OK;
}

static enum pq_status need_layer(struct pq_checkpoint *ckpt, int layer, struct pq_err *err) {
    const struct pq_config *c = &ckpt->config;
    char name[MAX_NAME];
    PQ_TRY(need_linears(ckpt, layer, err));
    snprintf(name, sizeof name, "model.layers.%d", layer);
    if (c->qk_norm) {
        PQ_TRY(need(ckpt, name, "self_attn.q_norm.weight", FLOATS, 1, c->head_dim, 0, err));
        PQ_TRY(need(ckpt, name, "self_attn.k_norm.weight", FLOATS, 1, c->head_dim, 0, err));
    }
    PQ_TRY(need(ckpt, name, "input_layernorm.weight", FLOATS, 1, c->hidden, 0, err));
    return need(ckpt, name, "post_attention_layernorm.weight", FLOATS, 1, c->hidden, 0, err);
}

/* A head that is tied needs no tensor; one that is there all the same repeats the embedding, and
 * is left out. */
static enum pq_status need_head(struct pq_checkpoint *ckpt, enum pq_scheme lowest,
                                struct pq_err *err) {
    const struct pq_config *c = &ckpt->config;
    if (c->panels != PQ_PANELS_NONE)
        return need_panels(ckpt, "lm_head", 1, lowest, err);
    if (!c->tied)
        return need_weight(ckpt, "lm_head", c->vocab, c->hidden, lowest, err);
    struct entry *head = find_entry(ckpt, "lm_head.weight");
    if (!head)
        return PQ_OK;
    PQ_TRY(need_weight(ckpt, "lm_head", c->vocab, c->hidden, PQ_SCHEME_FP, err));
    head->use = IGNORED;
    return PQ_OK;
}

static enum pq_status need_all(struct pq_checkpoint *ckpt, struct pq_err *err) {
    const struct pq_config *c = &ckpt->config;
    /* The head is W8 at most: 4 bits cost it more than they save. */
    enum pq_scheme head = c->scheme < PQ_SCHEME_W8A8 ? c->scheme : PQ_SCHEME_W8A8;
    PQ_TRY(need_weight(ckpt, "model.embed_tokens", c->vocab, c->hidden,
                       c->tied ? head : PQ_SCHEME_FP, err));
    for (int layer = 0; layer < c->layers; layer++)
        PQ_TRY(need_layer(ckpt, layer, err));
    PQ_TRY(need(ckpt, "model", "norm.weight", FLOATS, 1, c->hidden, 0, err));
    return need_head(ckpt, head, err);
}

/* Narrow the tensors to those used.  One that nobody knows means that the model computes
 * something that panq does not. */
static enum pq_status keep_used(struct pq_checkpoint *ckpt, struct pq_err *err) {
    int infos = 0, named = 0;
    for (int i = 0; i < ckpt->n_entries; i++) {
        const struct pq_tensor_info *info = &ckpt->entries[i].tensor.info;
        if (ckpt->entries[i].use == UNKNOWN)
            return pq_fail(
                err, PQ_EUNSUPPORTED,
                "%s/%s: tensor %s, %s %s, has no place in a %s model of this config.json",
                ckpt->dir, info->file, info->name, info->dtype,
                show_shape(info->rank, info->shape).s, ckpt->config.family);
        if (ckpt->entries[i].use == USED)
            ckpt->infos[infos++] = *info;
    }
    for (int i = 0; i < ckpt->n; i++)
        if (ckpt->by_name[i]->use == USED)
            ckpt->by_name[named++] = ckpt->by_name[i];
    ckpt->n = named;
    return PQ_OK;
}

/* ---- The public side ------------------------------------------------------------------------- */

static enum pq_status load_configs(struct pq_checkpoint *ckpt, struct pq_err *err) {
    char *config = pq_path_join(ckpt->dir, "config.json");
    char *generation = pq_path_join(ckpt->dir, "generation_config.json");
    enum pq_status status = PQ_OK;
    if (!config || !generation)
        status = no_memory(ckpt, err);
    if (status == PQ_OK)
        status = pq_config_load(&ckpt->config, config, err);
    if (status == PQ_OK)
        status = pq_generation_load(&ckpt->generation, &ckpt->config, generation, err);
    free(config);
    free(generation);
    return status;
}

enum pq_status pq_checkpoint_open(struct pq_checkpoint **out, const char *dir, struct pq_err *err) {
    struct pq_checkpoint *ckpt = calloc(1, sizeof *ckpt);
    if (!ckpt)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", dir);
    enum pq_status status = PQ_OK;
    ckpt->dir = strdup(dir);
    if (!ckpt->dir)
        status = pq_fail(err, PQ_ENOMEM, "%s: out of memory", dir);
    if (status == PQ_OK)
        status = load_configs(ckpt, err);
    if (status == PQ_OK)
        status = open_tensors(ckpt, err);
    if (status == PQ_OK)
        status = need_all(ckpt, err);
    if (status == PQ_OK)
        status = keep_used(ckpt, err);
    if (status == PQ_OK)
        *out = ckpt;
    else
        pq_checkpoint_close(ckpt);
    return status;
}

void pq_checkpoint_close(struct pq_checkpoint *ckpt) {
    if (!ckpt)
        return;
    for (int i = 0; i < ckpt->n_shards; i++)
        pq_safetensors_close(&ckpt->shards[i]);
    free(ckpt->shards);
    free(ckpt->entries);
    free(ckpt->by_name);
    free(ckpt->infos);
    free(ckpt->dir);
    free(ckpt);
}

const struct pq_config *pq_checkpoint_config(const struct pq_checkpoint *ckpt) {
    return &ckpt->config;
}

const struct pq_generation_config *pq_checkpoint_generation(const struct pq_checkpoint *ckpt) {
    return &ckpt->generation;
}

const struct pq_tensor_info *pq_checkpoint_tensors(const struct pq_checkpoint *ckpt, int *n) {
    *n = ckpt->n;
    return ckpt->infos;
}

const char *pq_checkpoint_dir(const struct pq_checkpoint *ckpt) {
    return ckpt->dir;
}

const char *pq_scheme_name(enum pq_scheme scheme) {
    static const char *const names[] = {
        [PQ_SCHEME_FP] = "bf16", [PQ_SCHEME_W8A8] = "w8a8", [PQ_SCHEME_W4A8] = "w4a8"};
    return names[scheme];
}

void pq_tensor_to_f32(const struct pq_tensor *tensor, size_t first, size_t count, float *out) {
    if (tensor->dtype == PQ_F32) {
        memcpy(out, (const char *)tensor->data + 4 * first, 4 * count);
        return;
    }
    const char *data = (const char *)tensor->data + 2 * first;
    for (size_t i = 0; i < count; i++) {
        uint16_t half; /* the data may be unaligned */
        memcpy(&half, data + 2 * i, sizeof half);
        out[i] = tensor->dtype == PQ_BF16 ? pq_bf16_to_f32(half) : pq_f16_to_f32(half);
    }
}
