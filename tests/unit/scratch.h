/* scratch.h - a directory for a test's files, removed when the program ends. */
#ifndef PQ_TESTS_SCRATCH_H
#define PQ_TESTS_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch_dir[1024];

static int scratch_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void scratch_remove(void) {
    nftw(scratch_dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void scratch_open(void) {
    const char *base = getenv("TMPDIR");
    snprintf(scratch_dir, sizeof scratch_dir, "%s/panq-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(scratch_dir)) {
        perror(scratch_dir);
        exit(1);
    }
    atexit(scratch_remove);
}

/* The path of `name` in the directory; valid until the fourth call after this one. */
static inline const char *scratch_path(const char *name) {
    static char paths[4][sizeof scratch_dir + 256];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", scratch_dir, name);
    return paths[next];
}

/* Write the file and return its path. */
static inline const char *scratch_write(const char *name, const void *data, size_t size) {
    const char *path = scratch_path(name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
    return path;
}

static inline const char *scratch_text(const char *name, const char *text) {
    return scratch_write(name, text, strlen(text));
}

#endif
