/* tokenizer_open.c - a tokenizer from the files of a checkpoint. */
#include "base/map.h"
#include "tok/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The default among several templates, each an object with a name. */
static const char *default_template(const json_t *list) {
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && strcmp(name, "default") == 0)
            return json_string_value(json_object_get(entry, "template"));
    }
    return NULL;
}

static void find_template(struct pq_tokenizer *tok, const struct pq_tokenizer_files *files,
                          const struct pq_json *config) {
    const struct pq_tokenizer_file *jinja = &files->jinja;
    const json_t *value = pq_json_find(config, "chat_template");
    const char *text = json_is_array(value) ? default_template(value) : json_string_value(value);
    if (jinja->data)
        pq_template_find(tok, jinja->data, jinja->size, jinja->name);
    else
        pq_template_find(tok, text, text ? strlen(text) : 0, config->file);
}

static enum pq_status fill(struct pq_tokenizer *tok, const struct pq_tokenizer_files *files,
                           json_t *root, struct pq_err *err) {
    struct pq_json config = pq_json_root(root, files->config.name);
    PQ_TRY(files->model.data ? pq_tokenizer_read_model(tok, files, &config, err)
                             : pq_tokenizer_read_json(tok, files, &config, err));
    find_template(tok, files, &config);
    return PQ_OK;
}

enum pq_status pq_tokenizer_parse(struct pq_tokenizer **out, const struct pq_tokenizer_files *files,
                                  struct pq_err *err) {
    const struct pq_tokenizer_file *config = &files->config;
    struct pq_tokenizer *tok = calloc(1, sizeof *tok);
    json_t *root = config->data || files->model.data ? NULL : json_object();
    enum pq_status status = tok ? PQ_OK : pq_fail(err, PQ_ENOMEM, "out of memory for a tokenizer");
    if (status == PQ_OK && !root)
        status = pq_json_parse(&root, config->data, config->size, config->name, err);
    if (status == PQ_OK)
        status = fill(tok, files, root, err);
    json_decref(root);
    if (status != PQ_OK) {
        pq_tokenizer_close(tok);
        return status;
    }
    *out = tok;
    return PQ_OK;
}

enum { MODEL, JSON, CONFIG, JINJA, FILES };

/* The file at path, mapped if it is there.  An empty one has no mapping, but it is there. */
static enum pq_status map_file(struct pq_map *map, struct pq_tokenizer_file *file, const char *path,
                               struct pq_err *err) {
    *file = (struct pq_tokenizer_file){.name = path};
    if (access(path, F_OK) != 0)
        return PQ_OK;
    PQ_TRY(pq_map_open(map, path, err));
    file->data = map->data ? (const char *)map->data : "";
    file->size = map->size;
    return PQ_OK;
}

static enum pq_status map_files(struct pq_map maps[FILES], struct pq_tokenizer_file files[FILES],
                                char *const paths[FILES], const char *dir, struct pq_err *err) {
    for (int i = 0; i < FILES; i++)
        if (!paths[i])
            return pq_fail(err, PQ_ENOMEM, "%s: out of memory", dir);
    for (int i = 0; i < FILES; i++)
        PQ_TRY(map_file(&maps[i], &files[i], paths[i], err));
    if (!files[MODEL].data && !files[JSON].data)
        return pq_fail(err, PQ_EIO, "%s: there is neither tokenizer.model nor tokenizer.json", dir);
    if (files[MODEL].data && !files[CONFIG].data)
        return pq_fail(err, PQ_EIO, "%s is not there", paths[CONFIG]);
    return PQ_OK;
}

enum pq_status pq_tokenizer_open(struct pq_tokenizer **out, const char *dir, struct pq_err *err) {
    static const char *const names[FILES] = {"tokenizer.model", "tokenizer.json",
                                             "tokenizer_config.json", "chat_template.jinja"};
    struct pq_map maps[FILES] = {0};
    struct pq_tokenizer_file found[FILES];
    char *paths[FILES];
    for (int i = 0; i < FILES; i++)
        paths[i] = pq_path_join(dir, names[i]);
    enum pq_status status = map_files(maps, found, paths, dir, err);
    if (status == PQ_OK) {
        struct pq_tokenizer_files files = {found[MODEL], found[JSON], found[CONFIG], found[JINJA]};
        status = pq_tokenizer_parse(out, &files, err);
    }
    for (int i = 0; i < FILES; i++) {
        pq_map_close(&maps[i]);
        free(paths[i]);
    }
    return status;
}
