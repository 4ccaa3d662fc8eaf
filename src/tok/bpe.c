#include "tok/bpe.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* What a pair becomes.  Tables are open addressed: a slot's successor is the next one. */
struct slot {
    int32_t left, right; /* left -1: empty */
    int32_t rank, made;
};

struct pq_bpe {
    int32_t bytes[256];
    struct slot *slots; /* [mask + 1], owned */
    uint32_t mask;
    int32_t *words; /* [word_mask + 1], owned; -1: empty; NULL: no word is taken whole */
    uint32_t word_mask;
    const char *text; /* borrowed, as ends is */
    const size_t *ends;
};

/* ---- Tables ---------------------------------------------------------------------------------- */

/* The least 2^k - 1 that leaves half of the slots empty. */
static uint32_t table_mask(int n) {
    uint32_t mask = 15;
    while (mask < 2 * (uint32_t)n)
        mask = 2 * mask + 1;
    return mask;
}

static uint32_t hash_pair(int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32) ^ (uint32_t)h;
}

/* The slot of the pair, or the empty one where it belongs. */
static struct slot *find_pair(const struct pq_bpe *bpe, int32_t left, int32_t right) {
    uint32_t i = hash_pair(left, right) & bpe->mask;
    while (bpe->slots[i].left >= 0 && (bpe->slots[i].left != left || bpe->slots[i].right != right))
        i = (i + 1) & bpe->mask;
    return &bpe->slots[i];
}

enum pq_status pq_bpe_open(struct pq_bpe **out, const int32_t bytes[256],
                           const struct pq_merge *merges, int n, struct pq_err *err) {
    struct pq_bpe *bpe = calloc(1, sizeof *bpe);
    if (bpe) {
        bpe->mask = table_mask(n);
        bpe->slots = malloc(((size_t)bpe->mask + 1) * sizeof *bpe->slots);
    }
    if (!bpe || !bpe->slots) {
        pq_bpe_close(bpe);
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d merges", n);
    }
    memcpy(bpe->bytes, bytes, sizeof bpe->bytes);
    for (uint32_t i = 0; i <= bpe->mask; i++)
        bpe->slots[i].left = -1;
    for (int i = 0; i < n; i++)
        *find_pair(bpe, merges[i].left, merges[i].right) =
            (struct slot){merges[i].left, merges[i].right, i, merges[i].made};
    *out = bpe;
    return PQ_OK;
}

void pq_bpe_close(struct pq_bpe *bpe) {
    if (!bpe)
        return;
    free(bpe->slots);
    free(bpe->words);
    free(bpe);
}

/* FNV-1a, Fowler, Noll and Vo. */
static uint32_t hash_word(const char *word, size_t len) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)word[i]) * 16777619u;
    return h;
}

/* The slot of the word, or the empty one where it belongs. */
static int32_t *find_word(const struct pq_bpe *bpe, const char *word, size_t len) {
    uint32_t i = hash_word(word, len) & bpe->word_mask;
    for (int32_t id; (id = bpe->words[i]) >= 0; i = (i + 1) & bpe->word_mask)
        if (bpe->ends[id + 1] - bpe->ends[id] == len &&
            memcmp(bpe->text + bpe->ends[id], word, len) == 0)
            break;
    return &bpe->words[i];
}

enum pq_status pq_bpe_whole_words(struct pq_bpe *bpe, const char *text, const size_t *ends,
                                  const bool *whole, int vocab, struct pq_err *err) {
    bpe->text = text;
    bpe->ends = ends;
    bpe->word_mask = table_mask(vocab);
    bpe->words = malloc(((size_t)bpe->word_mask + 1) * sizeof *bpe->words);
    if (!bpe->words)
        return pq_fail(err, PQ_ENOMEM, "out of memory for %d words", vocab);
    for (uint32_t i = 0; i <= bpe->word_mask; i++)
        bpe->words[i] = -1;
    for (int32_t id = 0; id < vocab; id++)
        if (whole[id])
            *find_word(bpe, text + ends[id], ends[id + 1] - ends[id]) = id;
    return PQ_OK;
}

/* ---- Candidates ------------------------------------------------------------------------------ */

/* Tokens in a row, linked: what a merge takes away keeps its place in the array. */
struct symbol {
    int32_t id; /* -1: merged into the one before */
    int32_t before, after;
};

/* A merge of symbols[at] with its successor, unless they have changed meanwhile. */
struct candidate {
    int32_t rank, at, made;
};

static bool is_before(const struct candidate *a, const struct candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

/* heap has the room. */
static void push(struct candidate *heap, size_t n, struct candidate new) {
    size_t i = n;
    for (; i > 0 && is_before(&new, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = new;
}

/* Take the first of n >= 1 candidates. */
static struct candidate pop(struct candidate *heap, size_t n) {
    struct candidate first = heap[0], last = heap[n - 1];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < n - 1; i = child) {
        child += child + 1 < n - 1 && is_before(&heap[child + 1], &heap[child]);
        if (!is_before(&heap[child], &last))
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return first;
}

/* ---- Merging --------------------------------------------------------------------------------- */

void pq_bpe_scratch_close(struct pq_bpe_scratch *scratch) {
    free(scratch->symbols.data);
    free(scratch->heap.data);
    *scratch = (struct pq_bpe_scratch){0};
}

struct word {
    const struct pq_bpe *bpe;
    struct symbol *symbols;
    struct candidate *heap;
    size_t n_heap;
};

/* If a merge joins symbols[at] and its successor, it becomes a candidate. */
static void consider(struct word *w, int32_t at) {
    const struct symbol *left = &w->symbols[at];
    if (left->after < 0)
        return;
    const struct slot *slot = find_pair(w->bpe, left->id, w->symbols[left->after].id);
    if (slot->left >= 0)
        push(w->heap, w->n_heap++, (struct candidate){slot->rank, at, slot->made});
}

/* Do the merge, if what it joins is still there.  As in Hugging Face's library a pair that has
 * changed meanwhile counts as still there when it makes the same token. */
static void merge(struct word *w, struct candidate c) {
    struct symbol *left = &w->symbols[c.at];
    if (left->id < 0 || left->after < 0)
        return;
    struct symbol *right = &w->symbols[left->after];
    const struct slot *slot = find_pair(w->bpe, left->id, right->id);
    if (slot->left < 0 || slot->made != c.made)
        return;
    left->id = c.made;
    left->after = right->after;
    right->id = -1;
    if (left->after >= 0)
        w->symbols[left->after].before = c.at;
    if (left->before >= 0)
        consider(w, left->before);
    consider(w, c.at);
}

/* The bytes of the word as symbols; returns how many there are. */
static int32_t lay_out(struct word *w, const char *word, size_t len) {
    int32_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int32_t id = w->bpe->bytes[(unsigned char)word[i]];
        if (id < 0)
            continue;
        w->symbols[n] = (struct symbol){id, n - 1, n + 1};
        n++;
    }
    if (n > 0)
        w->symbols[n - 1].after = -1;
    return n;
}

enum pq_status pq_bpe_encode(const struct pq_bpe *bpe, const char *word, size_t len,
                             struct pq_bpe_scratch *scratch, struct pq_buffer *ids,
                             struct pq_err *err) {
    if (len >= INT32_MAX)
        return pq_fail(err, PQ_EINVAL, "a word of %zu bytes cannot be encoded", len);
    int32_t whole = bpe->words ? *find_word(bpe, word, len) : -1;
    if (whole >= 0)
        return pq_buffer_append(ids, &whole, sizeof whole, err);
    /* Each merge takes one symbol away and adds at most two candidates. */
    PQ_TRY(pq_buffer_reserve(&scratch->symbols, len * sizeof(struct symbol), err));
    PQ_TRY(pq_buffer_reserve(&scratch->heap, 3 * len * sizeof(struct candidate), err));
    PQ_TRY(pq_buffer_reserve(ids, len * sizeof(int32_t), err));
    struct word w = {.bpe = bpe,
                     .symbols = (struct symbol *)(void *)scratch->symbols.data,
                     .heap = (struct candidate *)(void *)scratch->heap.data};
    int32_t n = lay_out(&w, word, len);
    for (int32_t i = 0; i < n; i++)
        consider(&w, i);
    while (w.n_heap > 0)
        merge(&w, pop(w.heap, w.n_heap--));
    for (int32_t i = 0; i < n; i = w.symbols[i].after < 0 ? n : w.symbols[i].after)
        PQ_TRY(pq_buffer_append(ids, &w.symbols[i].id, sizeof(int32_t), err));
    return PQ_OK;
}
