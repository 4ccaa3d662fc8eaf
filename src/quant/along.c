#include "quant/along.h"

#include "base/map.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SMALL_FILE = 64 << 20 }; /* what goes along with the weights is smaller */

enum pq_status pq_along_config(const struct pq_staging *staging, const char *from, json_t *changes,
                               struct pq_err *err) {
    char *path = pq_path_join(from, "config.json"), *text = NULL;
    json_t *config = NULL;
    enum pq_status status = PQ_ENOMEM;
    if (path)
        status = pq_json_load(&config, path, err);
    if (status == PQ_OK && changes && json_object_update(config, changes) == 0)
        /* 16 digits write 1e-05 as 1e-05, and lose nothing of what was written with as many. */
        text = json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(16));
    if (text)
        status = pq_staging_write(staging, "config.json", text, strlen(text), err);
    else if (status == PQ_OK || !path)
        status = pq_fail(err, PQ_ENOMEM, "%s: out of memory", staging->path);
    free(text);
    json_decref(config);
    json_decref(changes);
    free(path);
    return status;
}

/* Tokenizer, generation settings, licence, model card: not weights, and not what lists them. */
static bool goes_along(const char *name) {
    size_t length = strlen(name), tail = strlen(".index.json");
    bool index = length > tail && strcmp(name + length - tail, ".index.json") == 0;
    return pq_staging_owns(name) && !index && !strstr(name, ".safetensors") &&
           strcmp(name, "config.json") != 0;
}

static enum pq_status copy_file(const struct pq_staging *staging, const char *path,
                                const char *name, struct pq_err *err) {
    struct stat st;
    if (stat(path, &st) != 0)
        return pq_fail(err, PQ_EIO, "%s: cannot stat: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > SMALL_FILE)
        return PQ_OK;
    struct pq_map map;
    PQ_TRY(pq_map_open(&map, path, err));
    enum pq_status status = pq_staging_write(staging, name, map.data, map.size, err);
    pq_map_close(&map);
    return status;
}

enum pq_status pq_along_copy(const struct pq_staging *staging, const char *from,
                             struct pq_err *err) {
    DIR *dir = opendir(from);
    if (!dir)
        return pq_fail(err, PQ_EIO, "%s: cannot read: %s", from, strerror(errno));
    enum pq_status status = PQ_OK;
    const struct dirent *entry;
    while (status == PQ_OK && (entry = readdir(dir))) {
        if (!goes_along(entry->d_name))
            continue;
        char *path = pq_path_join(from, entry->d_name);
        status = path ? copy_file(staging, path, entry->d_name, err)
                      : pq_fail(err, PQ_ENOMEM, "%s: out of memory", from);
        free(path);
    }
    closedir(dir);
    return status;
}
