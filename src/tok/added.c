#include "tok/added.h"

#include <stdlib.h>
#include <string.h>

enum pq_status pq_added_put(struct pq_added_set *set, const char *text, size_t len, int32_t id,
                            const char *file, const char *key, struct pq_err *err) {
    if (len == 0 || len > PQ_MAX_PIECE)
        return pq_fail(err, PQ_EFORMAT, "%s: key \"%scontent\" has %zu bytes, not 1 to %d", file,
                       key, len, PQ_MAX_PIECE);
    if (set->n == set->room) {
        int room = set->room ? 2 * set->room : 64;
        struct pq_added *added = realloc(set->added, (size_t)room * sizeof *added);
        if (!added)
            return pq_fail(err, PQ_ENOMEM, "%s: out of memory for %d added tokens", file, room);
        set->added = added;
        set->room = room;
    }
    char *copy = strndup(text, len);
    if (!copy)
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory for an added token", file);
    set->added[set->n++] = (struct pq_added){copy, (int)len, id};
    return PQ_OK;
}

void pq_added_close(struct pq_added_set *set) {
    for (int i = 0; i < set->n; i++)
        free(set->added[i].text);
    free(set->added);
    *set = (struct pq_added_set){0};
}

static int compare(const void *pa, const void *pb) {
    const struct pq_added *a = pa, *b = pb;
    return strcmp(a->text, b->text);
}

enum pq_status pq_added_sort(struct pq_added_set *set, const char *file, struct pq_err *err) {
    if (set->n > 0)
        qsort(set->added, (size_t)set->n, sizeof *set->added, compare);
    for (int i = 1; i < set->n; i++)
        if (compare(&set->added[i - 1], &set->added[i]) == 0)
            return pq_fail(err, PQ_EFORMAT, "%s: added tokens %d and %d are both \"%.64s\"", file,
                           set->added[i - 1].id, set->added[i].id, set->added[i].text);
    for (int i = 0, byte = 0; byte <= 256; byte++) {
        while (i < set->n && (unsigned char)set->added[i].text[0] < byte)
            i++;
        set->first[byte] = i;
    }
    return PQ_OK;
}

/* The first of added[lo .. hi), which are longer than `depth` and share all bytes before it, whose
 * byte there is not below `byte`. */
static int below(const struct pq_added *added, int lo, int hi, int depth, int byte) {
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        if ((unsigned char)added[mid].text[depth] < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct pq_added *pq_added_match(const struct pq_added_set *set, const char *text,
                                      size_t len) {
    unsigned char byte = (unsigned char)text[0];
    int lo = set->first[byte], hi = set->first[byte + 1];
    const struct pq_added *longest = NULL;
    for (int depth = 1; lo < hi; depth++) {
        if (set->added[lo].len == depth) /* sorted: what ends here comes first */
            longest = &set->added[lo++];
        if ((size_t)depth == len)
            break;
        byte = (unsigned char)text[depth];
        int start = below(set->added, lo, hi, depth, byte);
        hi = below(set->added, start, hi, depth, byte + 1);
        lo = start;
    }
    return longest;
}

int32_t pq_added_find(const struct pq_added_set *set, const char *text) {
    size_t len = strlen(text);
    const struct pq_added *added = len ? pq_added_match(set, text, len) : NULL;
    return added && (size_t)added->len == len ? added->id : -1;
}

enum pq_status pq_added_split(const struct pq_added_set *set, const char *text, size_t len,
                              pq_gap_fn *gap, pq_id_fn *id, void *user, struct pq_err *err) {
    size_t start = 0, at = 0; /* text[start .. at) has no added token and waits */
    while (at < len) {
        const struct pq_added *added = pq_added_match(set, text + at, len - at);
        if (!added) {
            at++;
            continue;
        }
        if (at > start)
            PQ_TRY(gap(user, text + start, at - start, err));
        PQ_TRY(id(user, added->id, err));
        start = at += (size_t)added->len;
    }
    return at > start ? gap(user, text + start, at - start, err) : PQ_OK;
}
