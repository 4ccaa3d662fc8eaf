#include "base/arena.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static const size_t HUGE_PAGE = (size_t)2 << 20;

enum pq_status pq_arena_open(struct pq_arena *out, size_t size, bool sparse, const char *what,
                             struct pq_err *err) {
    struct pq_arena arena = {.size = (size + HUGE_PAGE) / HUGE_PAGE * HUGE_PAGE};
    void *base = mmap(NULL, arena.size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | (sparse ? MAP_NORESERVE : 0), -1, 0);
    if (base == MAP_FAILED)
        return pq_fail(err, PQ_ENOMEM, "out of memory: %s needs %zu MB: %s", what, size >> 20,
                       strerror(errno));
    arena.base = base;
    madvise(base, arena.size, sparse ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
    *out = arena;
    return PQ_OK;
}

void pq_arena_close(struct pq_arena *arena) {
    if (arena->base)
        munmap(arena->base, arena->size);
    *arena = (struct pq_arena){0};
}

void *pq_arena_take(struct pq_arena *arena, size_t bytes) {
    assert(pq_arena_piece(bytes) <= arena->size - arena->used);
    void *at = arena->base + arena->used;
    arena->used += pq_arena_piece(bytes);
    return at;
}
