/* input.h - what the fuzz entry points share: their one signature, and bytes as a file. */
#ifndef PQ_TESTS_FUZZ_INPUT_H
#define PQ_TESTS_FUZZ_INPUT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* libFuzzer's entry point, which each fuzz_*.c defines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Put the bytes into a file in memory, the same one at each call, and return its path. */
static inline const char *fuzz_file(const uint8_t *data, size_t size) {
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("input", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    return path;
}

/* A refusal must be one line that names the file. */
static inline void fuzz_check_sentence(const char *text, const char *path) {
    if (strncmp(text, path, strlen(path)) != 0 || strchr(text, '\n'))
        abort();
}

#endif
