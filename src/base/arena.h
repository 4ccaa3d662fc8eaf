/* arena.h - one block of memory from the system, handed out in 64-byte aligned pieces and freed
 * at once.  Pages come into being when they are first touched, zeroed. */
#ifndef PQ_BASE_ARENA_H
#define PQ_BASE_ARENA_H

#include "base/status.h"

struct pq_arena {
    unsigned char *base; /* owned */
    size_t size, used;
};

/* what: names the memory in the error sentence ("weights", "KV cache").  Large arenas ask for huge
 * pages; `sparse` ones do not, so that only what is used becomes resident. */
enum pq_status pq_arena_open(struct pq_arena *out, size_t size, bool sparse, const char *what,
                             struct pq_err *err);
void pq_arena_close(struct pq_arena *arena);
/* The next `bytes`; the arena was opened large enough (asserted). */
void *pq_arena_take(struct pq_arena *arena, size_t bytes);
/* What pq_arena_take uses up for `bytes`. */
static inline size_t pq_arena_piece(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}
/* The next `bytes` at base, of which *used are taken; NULL where base is, to add up what is needed.
 */
static inline void *pq_arena_cut(unsigned char *base, size_t *used, size_t bytes) {
    void *piece = base ? base + *used : NULL;
    *used += pq_arena_piece(bytes);
    return piece;
}

#endif
