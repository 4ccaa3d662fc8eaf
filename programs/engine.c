#include "engine.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum pq_status pq_isa_option(const char *name, enum pq_isa *isa, struct pq_err *err) {
    char names[128] = "";
    *isa = PQ_ISA_COUNT - 1;
    if (!name || pq_isa_parse(name, isa))
        return PQ_OK;
    for (enum pq_isa i = PQ_ISA_C; i < PQ_ISA_COUNT; i++)
        if (pq_isa_parse(pq_isa_name(i), &(enum pq_isa){0})) /* one of this architecture's */
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                     pq_isa_name(i));
    return pq_refuse(err, PQ_EINVAL, "--isa takes one of %s, not '%s'", names, name);
}

enum pq_status pq_engine_open(struct pq_engine *out, const char *dir,
                              const struct pq_engine_options *options, struct pq_pool *pool,
                              struct pq_err *err) {
    struct pq_engine engine = {0};
    struct pq_model_options model = {.precision = (enum pq_precision)options->precision};
    double start = pq_seconds();
    enum pq_status status = pq_isa_option(options->isa, &model.isa, err);
    if (status == PQ_OK)
        status = pq_checkpoint_open(&engine.ckpt, dir, err);
    if (status == PQ_OK && !options->without_text)
        status = pq_tokenizer_open(&engine.tok, dir, err);
    engine.open_s = pq_seconds() - start;
    if (status == PQ_OK)
        status = pq_model_open(&engine.model, engine.ckpt, &model, pool, err);
    if (status != PQ_OK) {
        pq_engine_close(&engine);
        return status;
    }
    engine.config = pq_checkpoint_config(engine.ckpt);
    engine.kv = (enum pq_kv_format)options->kv;
    engine.load_s = pq_seconds() - start;
    *out = engine;
    return PQ_OK;
}

void pq_engine_close(struct pq_engine *engine) {
    pq_model_close(engine->model);
    pq_tokenizer_close(engine->tok);
    pq_checkpoint_close(engine->ckpt);
    *engine = (struct pq_engine){0};
}

float *pq_logits_open(size_t rows, int vocab) {
    size_t bytes = rows * (size_t)vocab * sizeof(float);
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

bool pq_is_checkpoint(const char *arg) {
    char *path = NULL;
    bool found = asprintf(&path, "%s/config.json", arg) >= 0 && access(path, F_OK) == 0;
    free(path);
    return found;
}

char *pq_builtin_checkpoint(struct pq_err *err) {
    /* In the build tree, and where `make install` puts it. */
    static const char *const places[] = {"../models/pangu-mini", "../share/panq/pangu-mini"};
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = 0;
    char *slash = strrchr(self, '/');
    for (int i = 0; i < 2 && slash; i++) {
        char *path = NULL;
        if (asprintf(&path, "%.*s/%s", (int)(slash - self), self, places[i]) < 0)
            break;
        char *clean = pq_is_checkpoint(path) ? realpath(path, NULL) : NULL;
        free(path);
        if (clean) {
            fprintf(stderr, "panq: no checkpoint given: using the built-in pangu-mini, %s\n",
                    clean);
            return clean;
        }
    }
    pq_refuse(err, PQ_EIO,
              "no checkpoint given, and the built-in pangu-mini is not beside the program (%s)",
              slash ? self : "/proc is not mounted");
    return NULL;
}
