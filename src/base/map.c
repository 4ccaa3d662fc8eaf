#include "base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum pq_status pq_map_open(struct pq_map *out, const char *path, struct pq_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is not waited for */
    if (fd < 0)
        return pq_fail(err, PQ_EIO, "%s: cannot open: %s", path, strerror(errno));
    struct stat st;
    struct pq_map map = {0};
    enum pq_status status = PQ_OK;
    if (fstat(fd, &st) != 0) {
        status = pq_fail(err, PQ_EIO, "%s: cannot stat: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        status = pq_fail(err, PQ_EIO, "%s: not a regular file", path);
    } else if (st.st_size > 0) {
        map.size = (size_t)st.st_size;
        void *data = mmap(NULL, map.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = pq_fail(err, PQ_EIO, "%s: cannot map %zu bytes: %s", path, map.size,
                             strerror(errno));
        else
            map.data = data;
    }
    close(fd);
    if (status == PQ_OK)
        *out = map;
    return status;
}

void pq_map_close(struct pq_map *map) {
    if (map && map->data)
        munmap((void *)map->data, map->size);
    if (map)
        *map = (struct pq_map){0};
}

/* Of data [bytes], the pages that lie in it wholly or, with `outside`, at all. */
static void advise(const struct pq_map *map, const void *data, size_t bytes, bool outside,
                   int advice) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = (size_t)((const unsigned char *)data - map->data), to = from + bytes;
    from = (outside ? from : from + page - 1) / page * page;
    to = (outside ? to + page - 1 : to) / page * page;
    if (from < to)
        madvise((void *)(map->data + from), to - from, advice);
}

void pq_map_forget(const struct pq_map *map, const void *data, size_t bytes) {
    advise(map, data, bytes, false, MADV_DONTNEED);
}

void pq_map_expect(const struct pq_map *map, const void *data, size_t bytes) {
    advise(map, data, bytes, true, MADV_HUGEPAGE);
    advise(map, data, bytes, true, MADV_WILLNEED);
}

char *pq_path_join(const char *dir, const char *name) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return NULL;
    return path;
}
