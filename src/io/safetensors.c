#include "io/safetensors.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100000000, MAX_NAME = 255, MAX_RANK = 4 };

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {{"BF16", 2}, {"F16", 2}, {"F32", 4}, {"I8", 1}, {"U8", 1}, {"I32", 4}, {"I64", 8}};

/* The table's own copy of the name and the size of an element, or NULL. */
static const char *find_dtype(const char *name, size_t *bytes) {
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            *bytes = dtypes[i].bytes;
            return dtypes[i].name;
        }
    return NULL;
}

bool pq_safetensors_skips(const char *name) {
    static const char suffix[] = ".rotary_emb.inv_freq";
    size_t length = strlen(name), end = sizeof suffix - 1;
    return length > end && strcmp(name + length - end, suffix) == 0;
}

/* Printable ASCII, so that a name can stand in a sentence, a table or a terminal as it is. */
static enum pq_status check_name(const char *name, const char *path, struct pq_err *err) {
    size_t length = 0;
    while (length <= MAX_NAME && name[length] > ' ' && name[length] <= '~')
        length++;
    if (length == 0 || length > MAX_NAME || name[length] || strcmp(name, "__metadata__") == 0)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: \"%.80s\" is no tensor name: 1 to %d printable characters", path, name,
                       MAX_NAME);
    return PQ_OK;
}

enum pq_status pq_safetensors_measure(const struct pq_tensor_info *info, const char *path,
                                      size_t *bytes, struct pq_err *err) {
    PQ_TRY(check_name(info->name, path, err));
    if (info->rank < 0 || info->rank > MAX_RANK)
        return pq_fail(err, PQ_EUNSUPPORTED, "%s: tensor %s has rank %d, not 0 to %d", path,
                       info->name, info->rank, MAX_RANK);
    size_t product;
    if (!find_dtype(info->dtype, &product))
        return pq_fail(err, PQ_EUNSUPPORTED, "%s: tensor %s has dtype \"%.40s\"", path, info->name,
                       info->dtype);
    for (int i = 0; i < info->rank; i++) {
        if (info->shape[i] < 0)
            return pq_fail(err, PQ_EFORMAT, "%s: tensor %s has dimension %lld", path, info->name,
                           (long long)info->shape[i]);
        if (__builtin_mul_overflow(product, (size_t)info->shape[i], &product))
            return pq_fail(err, PQ_EFORMAT, "%s: the size of tensor %s overflows at dimension %lld",
                           path, info->name, (long long)info->shape[i]);
    }
    *bytes = product;
    return PQ_OK;
}

static enum pq_status read_shape(const json_t *shape, const char *path, struct pq_tensor_info *info,
                                 struct pq_err *err) {
    bool valid = json_is_array(shape);
    size_t rank = json_array_size(shape);
    for (size_t i = 0; i < rank; i++)
        valid &= json_is_integer(json_array_get(shape, i)) &&
                 json_integer_value(json_array_get(shape, i)) >= 0;
    if (!valid)
        return pq_fail(err, PQ_EFORMAT, "%s: tensor %s has shape %s", path, info->name,
                       shape ? pq_json_show(shape).text : "missing");
    info->rank = rank < INT_MAX ? (int)rank : INT_MAX;
    for (size_t i = 0; i < rank && i < MAX_RANK; i++)
        info->shape[i] = json_integer_value(json_array_get(shape, i));
    return PQ_OK;
}

/* info->bytes and *begin from the offsets, which must lie within the data [data_bytes]. */
static enum pq_status read_offsets(const json_t *offsets, const char *path, size_t data_bytes,
                                   struct pq_tensor_info *info, size_t *begin, struct pq_err *err) {
    const json_t *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to) ||
        json_integer_value(from) < 0 || json_integer_value(to) < json_integer_value(from))
        return pq_fail(err, PQ_EFORMAT, "%s: tensor %s has data_offsets %s", path, info->name,
                       offsets ? pq_json_show(offsets).text : "missing");
    if ((uint64_t)json_integer_value(to) > data_bytes)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: tensor %s ends at byte %lld of the data, but the file holds %zu: "
                       "cut short",
                       path, info->name, (long long)json_integer_value(to), data_bytes);
    *begin = (size_t)json_integer_value(from);
    info->bytes = (size_t)json_integer_value(to) - *begin;
    return PQ_OK;
}

static enum pq_status read_tensor(struct pq_safetensors *st, const char *name, const json_t *entry,
                                  const unsigned char *data, size_t data_bytes,
                                  struct pq_err *err) {
    const char *slash = strrchr(st->path, '/');
    struct pq_safetensors_tensor *out = &st->tensors[st->n];
    *out = (struct pq_safetensors_tensor){
        .info = {.name = name, .file = slash ? slash + 1 : st->path}};
    PQ_TRY(check_name(name, st->path, err));
    if (!json_is_object(entry))
        return pq_fail(err, PQ_EFORMAT, "%s: the entry of tensor %s is %s, not an object", st->path,
                       name, pq_json_show(entry).text);
    const json_t *dtype = json_object_get(entry, "dtype");
    if (!json_is_string(dtype))
        return pq_fail(err, PQ_EFORMAT, "%s: tensor %s has dtype %s", st->path, name,
                       dtype ? pq_json_show(dtype).text : "missing");
    size_t begin = 0, bytes, item;
    out->info.dtype = json_string_value(dtype);
    PQ_TRY(read_shape(json_object_get(entry, "shape"), st->path, &out->info, err));
    PQ_TRY(read_offsets(json_object_get(entry, "data_offsets"), st->path, data_bytes, &out->info,
                        &begin, err));
    out->data = data + begin;
    st->n++;
    if (pq_safetensors_skips(name))
        return PQ_OK;
    PQ_TRY(pq_safetensors_measure(&out->info, st->path, &bytes, err));
    if (bytes != out->info.bytes)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: tensor %s has %zu bytes of data, but %s %s takes %zu bytes", st->path,
                       name, out->info.bytes, out->info.dtype,
                       pq_json_show(json_object_get(entry, "shape")).text, bytes);
    out->info.dtype = find_dtype(out->info.dtype, &item);
    return PQ_OK;
}

static enum pq_status check_metadata(const char *path, json_t *metadata, struct pq_err *err) {
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return pq_fail(err, PQ_EFORMAT, "%s: __metadata__ is %s, not an object", path,
                       pq_json_show(metadata).text);
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return pq_fail(err, PQ_EFORMAT, "%s: __metadata__ key \"%.80s\" is %s, not a string",
                           path, key, pq_json_show(value).text);
    }
    return PQ_OK;
}

static int by_offset(const void *a, const void *b) {
    const struct pq_safetensors_tensor *x = a, *y = b;
    if (x->data != y->data)
        return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    return (x->info.bytes > y->info.bytes) - (x->info.bytes < y->info.bytes);
}

/* The sorted tensors must follow each other without overlap or hole, to the end of the data. */
static enum pq_status check_cover(const struct pq_safetensors *st, const unsigned char *data,
                                  size_t data_bytes, struct pq_err *err) {
    size_t due = 0;
    for (int i = 0; i < st->n; i++) {
        size_t begin = (size_t)((const unsigned char *)st->tensors[i].data - data);
        if (begin != due)
            return pq_fail(err, PQ_EFORMAT,
                           "%s: tensor %s begins at byte %zu of the data where %zu is due: "
                           "tensors %s",
                           st->path, st->tensors[i].info.name, begin, due,
                           begin < due ? "overlap" : "leave a hole");
        due = begin + st->tensors[i].info.bytes;
    }
    if (due != data_bytes)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: the tensors end at byte %zu of the data, but the file holds %zu",
                       st->path, due, data_bytes);
    return PQ_OK;
}

static void drop_skipped(struct pq_safetensors *st) {
    int kept = 0;
    for (int i = 0; i < st->n; i++)
        if (!pq_safetensors_skips(st->tensors[i].info.name))
            st->tensors[kept++] = st->tensors[i];
    st->n = kept;
}

/* Everything after the mapping; on failure the caller closes. */
static enum pq_status read_header(struct pq_safetensors *st, struct pq_err *err) {
    const struct pq_map *map = &st->map;
    uint64_t length = 0;
    if (map->size < 8)
        return pq_fail(err, PQ_EFORMAT, "%s: %zu bytes are too few for a safetensors file",
                       st->path, map->size);
    for (int i = 7; i >= 0; i--)
        length = length << 8 | map->data[i];
    if (length > MAX_HEADER || length > map->size - 8)
        return pq_fail(err, PQ_EFORMAT,
                       "%s: the header claims %llu bytes of a file of %zu: cut short, or not a "
                       "safetensors file",
                       st->path, (unsigned long long)length, map->size);
    const char *text = (const char *)map->data + 8;
    if (length == 0 || text[0] != '{')
        return pq_fail(err, PQ_EFORMAT, "%s: the safetensors header does not begin with {",
                       st->path);
    PQ_TRY(pq_json_parse(&st->header, text, length, st->path, err));

    const unsigned char *data = map->data + 8 + length;
    size_t data_bytes = map->size - 8 - length, count = json_object_size(st->header);
    st->tensors = calloc(count + 1, sizeof *st->tensors);
    if (!st->tensors)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory for %zu tensors", st->path, count);
    const char *key;
    json_t *value;
    json_object_foreach(st->header, key, value) {
        if (strcmp(key, "__metadata__") == 0)
            PQ_TRY(check_metadata(st->path, value, err));
        else
            PQ_TRY(read_tensor(st, key, value, data, data_bytes, err));
    }
    qsort(st->tensors, (size_t)st->n, sizeof *st->tensors, by_offset);
    PQ_TRY(check_cover(st, data, data_bytes, err));
    drop_skipped(st);
    return PQ_OK;
}

enum pq_status pq_safetensors_open(struct pq_safetensors *out, const char *path,
                                   struct pq_err *err) {
    struct pq_safetensors st = {.path = strdup(path)};
    if (!st.path)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", path);
    enum pq_status status = pq_map_open(&st.map, path, err);
    if (status == PQ_OK)
        status = read_header(&st, err);
    if (status == PQ_OK)
        *out = st;
    else
        pq_safetensors_close(&st);
    return status;
}

void pq_safetensors_close(struct pq_safetensors *st) {
    if (!st)
        return;
    free(st->tensors);
    json_decref(st->header);
    free(st->path);
    pq_map_close(&st->map);
    *st = (struct pq_safetensors){0};
}
