/* added.h - added tokens: strings that are found in a text before anything else is done to it. */
#ifndef PQ_TOK_ADDED_H
#define PQ_TOK_ADDED_H

#include "base/status.h"

enum {
    PQ_MAX_VOCAB = 1 << 20,
    PQ_MAX_PIECE = 1024, /* bytes of an added token, or of a piece of tokenizer.model */
};

struct pq_added {
    char *text; /* owned, NUL-terminated */
    int len;    /* 1 .. PQ_MAX_PIECE */
    int32_t id;
};

/* All zero is an empty set. */
struct pq_added_set {
    struct pq_added *added; /* [n], owned; sorted by their bytes once the set is complete */
    int n, room;
    int first[257]; /* added[first[b] .. first[b + 1]) begin with byte b */
};

/* text [len] is copied.  PQ_EFORMAT: len is out of range, for which `file` and `key` are named. */
enum pq_status pq_added_put(struct pq_added_set *set, const char *text, size_t len, int32_t id,
                            const char *file, const char *key, struct pq_err *err);
/* The set is complete.  PQ_EFORMAT: two tokens have the same text. */
enum pq_status pq_added_sort(struct pq_added_set *set, const char *file, struct pq_err *err);
void pq_added_close(struct pq_added_set *set);

/* The longest that text [len], len >= 1, begins with; NULL: none. */
const struct pq_added *pq_added_match(const struct pq_added_set *set, const char *text, size_t len);
/* The id of the one that is this text; -1: there is none. */
int32_t pq_added_find(const struct pq_added_set *set, const char *text);

/* Takes a stretch of text between added tokens. */
typedef enum pq_status pq_gap_fn(void *user, const char *text, size_t len, struct pq_err *err);
/* Takes the id of an added token. */
typedef enum pq_status pq_id_fn(void *user, int32_t id, struct pq_err *err);

/* Cut text [len] at every added token, the leftmost first and then the longest, and hand what lies
 * between them to `gap` and their ids to `id`, in the order of the text.  No gap is empty. */
enum pq_status pq_added_split(const struct pq_added_set *set, const char *text, size_t len,
                              pq_gap_fn *gap, pq_id_fn *id, void *user, struct pq_err *err);

#endif
