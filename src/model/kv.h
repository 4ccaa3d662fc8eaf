/* kv.h - keys and values of past tokens, laid out as the panels that attention multiplies with.
 *
 * A block holds PQ_KV_BLOCK positions of one KV head of one layer of one sequence.  In BF16 and
 * FP32, with v values a unit (2 and 1):
 *   keys    [PQ_KV_BLOCK / PQ_NR] panels [d / v units][PQ_NR positions]
 *   values  [d / PQ_NR] panels [PQ_KV_BLOCK / v units][PQ_NR of d]
 * or, where kernels take pairs of units, pairs in their place (cpu/ops.h).  Scores are then a
 * product of a query tile with key panels, and outputs one of a probability tile with value panels:
 * the GEMM's own kernels.
 *
 * In int8, a key and a value have one scale each (absmax / 127):
 *   keys    as above, v = 4, codes + 128 as panels of weights have them
 *   values  as above, v = 4, in single units, codes: attention widens a panel to BF16 or FP32
 *           before it multiplies, and puts the scales into the probabilities
 *   scales  [PQ_KV_BLOCK] of the keys, [PQ_KV_BLOCK] of the values
 * Keys have channels that are far larger than the rest, at the others' cost.  They are therefore
 * multiplied by a Hadamard matrix, which evens them out, and so are queries: q H (k H)^T = q k^T
 * (Ashkboos et al., arXiv:2404.00456 section 4). */
#ifndef PQ_MODEL_KV_H
#define PQ_MODEL_KV_H

#include "base/arena.h"
#include "cpu/gemm.h"

enum { PQ_KV_BLOCK = 256 };

struct pq_kv {
    enum pq_kind kind; /* BF16, F32 or I8 */
    bool pairs;        /* of units, see cpu/ops.h: in all panels but of values in int8 */
    int layers, sequences, heads, head_dim, blocks;
    struct pq_hadamard hadamard; /* I8: of order head_dim; zeros where there is none */
    size_t half_bytes;           /* of the keys, or of the values, of a block */
    size_t block_bytes;          /* of both and their scales */
    struct pq_arena arena;
};

/* The parts of one block. */
struct pq_kv_block {
    unsigned char *keys, *values;
    float *key_scales, *value_scales; /* [PQ_KV_BLOCK]; I8 only */
};

enum pq_status pq_kv_open(struct pq_kv *out, const struct pq_ops *ops, enum pq_kind kind,
                          int layers, int sequences, int heads, int head_dim, int positions,
                          struct pq_err *err);
void pq_kv_close(struct pq_kv *kv);

/* The block that holds positions PQ_KV_BLOCK * block and on. */
struct pq_kv_block pq_kv_block(const struct pq_kv *kv, int layer, int sequence, int head,
                               int block);

/* Write keys [n][head_dim] and values [n][..], ldv apart, of positions from `position` on, which
 * are of one panel of keys: by one thread, in ascending order.  temp, n * head_dim floats, is
 * changed, and so are keys. */
void pq_kv_put(const struct pq_kv *kv, const struct pq_elementwise *e, int layer, int sequence,
               int head, int position, int n, float *keys, const float *values, size_t ldv,
               void *temp);

#endif
