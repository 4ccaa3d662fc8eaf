#include "fingerprint.h"
#include "report.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PIECE = 4096, PIECES = 256 };

static uint64_t mix(uint64_t h, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3;
    return h;
}

/* The size and the content; sparse: of a long file, PIECES only. */
static enum pq_status mix_file(uint64_t *h, const char *path, bool sparse, struct pq_err *err) {
    unsigned char piece[PIECE];
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (!file || fstat(fileno(file), &info) != 0) {
        if (file)
            fclose(file);
        return pq_refuse(err, PQ_EIO, "%s: %s", path, strerror(errno));
    }
    int64_t size = info.st_size, every = PIECE;
    if (sparse && size > (int64_t)PIECE * PIECES)
        every = size / PIECES;
    *h = mix(*h, &size, sizeof size);
    bool good = true;
    for (int64_t at = 0; at < size && good; at += every) {
        size_t want = size - at < PIECE ? (size_t)(size - at) : PIECE;
        good = fseeko(file, at, SEEK_SET) == 0 && fread(piece, 1, want, file) == want;
        *h = mix(*h, piece, want);
    }
    fclose(file);
    return good ? PQ_OK : pq_refuse(err, PQ_EIO, "%s: %s", path, strerror(errno));
}

enum pq_status pq_fingerprint_file(char out[PQ_FINGERPRINT], const char *path, struct pq_err *err) {
    uint64_t h = 0xcbf29ce484222325;
    enum pq_status status = mix_file(&h, path, false, err);
    if (status == PQ_OK)
        snprintf(out, PQ_FINGERPRINT, "%016llx", (unsigned long long)h);
    return status;
}

static int is_content(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return dot && (strcmp(dot, ".json") == 0 || strcmp(dot, ".safetensors") == 0 ||
                   strcmp(dot, ".model") == 0);
}

enum pq_status pq_fingerprint_checkpoint(char out[PQ_FINGERPRINT], const char *dir,
                                         struct pq_err *err) {
    struct dirent **entries = NULL;
    uint64_t h = 0xcbf29ce484222325;
    int n = scandir(dir, &entries, is_content, alphasort);
    enum pq_status status = n < 0 ? pq_refuse(err, PQ_EIO, "%s: %s", dir, strerror(errno)) : PQ_OK;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        h = mix(h, name, strlen(name) + 1);
        if (status == PQ_OK)
            status = mix_file(&h, path, true, err);
        free(entries[i]);
    }
    free(entries);
    if (status == PQ_OK)
        snprintf(out, PQ_FINGERPRINT, "%016llx", (unsigned long long)h);
    return status;
}
