/* kv.h - keys and values of past tokens, laid out as the panels that attention multiplies with.
 *
 * A block holds PQ_KV_BLOCK positions of one KV head of one layer of one sequence:
 *   keys    [PQ_KV_BLOCK / PQ_NR] panels [d / v units][PQ_NR positions]
 *   values  [d / PQ_NR] panels [PQ_KV_BLOCK / v units][PQ_NR of d]
 * with v values a unit (2 in BF16, 1 in FP32).  Scores are then a product of a query tile with key
 * panels, and outputs one of a probability tile with value panels: the GEMM's own kernels. */
#ifndef PQ_MODEL_KV_H
#define PQ_MODEL_KV_H

#include "base/arena.h"
#include "cpu/gemm.h"

enum { PQ_KV_BLOCK = 128 };

struct pq_kv {
    enum pq_kind kind; /* BF16 or F32 */
    int layers, sequences, heads, head_dim, blocks;
    size_t half_bytes; /* of the keys, or of the values, of a block */
    struct pq_arena arena;
};

enum pq_status pq_kv_open(struct pq_kv *out, enum pq_kind kind, int layers, int sequences,
                          int heads, int head_dim, int positions, struct pq_err *err);
void pq_kv_close(struct pq_kv *kv);

/* The block that holds positions PQ_KV_BLOCK * block and on. */
unsigned char *pq_kv_keys(const struct pq_kv *kv, int layer, int sequence, int head, int block);
unsigned char *pq_kv_values(const struct pq_kv *kv, int layer, int sequence, int head, int block);

/* Write key and value [head_dim] of one position; temp holds 2 * head_dim bytes.  Positions of one
 * (layer, sequence, head) are written in ascending order by one thread. */
void pq_kv_put(const struct pq_kv *kv, const struct pq_elementwise *e, int layer, int sequence,
               int head, int position, const float *key, const float *value, void *temp);

#endif
