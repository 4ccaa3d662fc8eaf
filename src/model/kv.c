#include "model/kv.h"

#include <string.h>

enum pq_status pq_kv_open(struct pq_kv *out, const struct pq_ops *ops, enum pq_kind kind,
                          int layers, int sequences, int heads, int head_dim, int positions,
                          struct pq_err *err) {
    struct pq_kv kv = {.kind = kind,
                       .pairs = pq_in_pairs(ops, kind),
                       .layers = layers,
                       .sequences = sequences,
                       .heads = heads,
                       .head_dim = head_dim,
                       .blocks = (positions + PQ_KV_BLOCK - 1) / PQ_KV_BLOCK};
    kv.half_bytes = (size_t)PQ_KV_BLOCK * (size_t)head_dim * 4 / (size_t)pq_unit_values(kind);
    kv.block_bytes = 2 * kv.half_bytes;
    if (kind == PQ_KIND_I8)
        kv.block_bytes += 2 * PQ_KV_BLOCK * sizeof(float);
    size_t bytes, streams = (size_t)layers * (size_t)heads;
    if (__builtin_mul_overflow(kv.block_bytes * (size_t)kv.blocks, streams, &bytes) ||
        __builtin_mul_overflow(bytes, (size_t)sequences, &bytes))
        return pq_fail(err, PQ_ENOMEM, "a KV cache of %d sequences of %d positions is too large",
                       sequences, positions);
    if (kind == PQ_KIND_I8 && pq_hadamard_exists(head_dim))
        PQ_TRY(pq_hadamard_open(&kv.hadamard, head_dim, err));
    enum pq_status status = pq_arena_open(&kv.arena, bytes, true, "the KV cache", err);
    if (status != PQ_OK) {
        pq_hadamard_close(&kv.hadamard);
        return status;
    }
    pq_arena_take(&kv.arena, bytes);
    *out = kv;
    return PQ_OK;
}

void pq_kv_close(struct pq_kv *kv) {
    pq_hadamard_close(&kv->hadamard);
    pq_arena_close(&kv->arena);
}

struct pq_kv_block pq_kv_block(const struct pq_kv *kv, int layer, int sequence, int head,
                               int block) {
    size_t stream = ((size_t)layer * (size_t)kv->sequences + (size_t)sequence) * (size_t)kv->heads +
                    (size_t)head;
    unsigned char *at =
        kv->arena.base + (stream * (size_t)kv->blocks + (size_t)block) * kv->block_bytes;
    float *scales = (float *)(at + 2 * kv->half_bytes);
    return (struct pq_kv_block){at, at + kv->half_bytes, scales, scales + PQ_KV_BLOCK};
}

/* keys [n][units], flipped where panels hold code + 128. */
static void put_keys(const struct pq_kv *kv, const struct pq_elementwise *e, unsigned char *keys,
                     int at, int n, uint32_t *from) {
    int units = kv->head_dim / pq_unit_values(kv->kind);
    if (kv->kind == PQ_KIND_I8)
        for (int i = 0; i < n * units; i++)
            from[i] ^= 0x80808080u;
    uint32_t *panel = (uint32_t *)keys + (size_t)(at / PQ_NR) * (size_t)units * PQ_NR;
    if (kv->pairs)
        e->interleave_pairs(panel + at % PQ_NR * 2, PQ_NR, from, n, units);
    else
        e->interleave(panel + at % PQ_NR, PQ_NR, from, n, units);
}

/* The unit of a panel of values that a position belongs to. */
static uint32_t *value_unit(const struct pq_kv *kv, unsigned char *values, int panel, int at) {
    int v = pq_unit_values(kv->kind);
    return (uint32_t *)values + (size_t)(panel * PQ_KV_BLOCK / v + at / v) * PQ_NR;
}

/* values [n][d] as they are */
static void put_values(const struct pq_kv *kv, unsigned char *values, int at, int n,
                       const float *from, size_t ld) {
    for (int i = 0; i < n; i++)
        for (int p = 0; p < kv->head_dim / PQ_NR; p++)
            memcpy(value_unit(kv, values, p, at + i), from + (size_t)i * ld + p * PQ_NR,
                   PQ_NR * sizeof *from);
}

/* Four positions share a unit; what an earlier sequence left of one is a code, which a probability
 * of zero takes out of every sum. */
static void put_value_codes(const struct pq_kv *kv, unsigned char *values, int at, int n,
                            const uint8_t *from) {
    int d = kv->head_dim;
    for (int i = 0, some; i < n; i += some, from += some * d) {
        some = (at + i) % 4 == 0 && n - i >= 4 ? 4 : 1;
        for (int p = 0; p < d / PQ_NR; p++) {
            uint32_t *unit = value_unit(kv, values, p, at + i);
            const uint8_t *code = from + p * PQ_NR;
            for (int c = 0; c < PQ_NR; c++, code++)
                if (some == 4)
                    unit[c] = code[0] | (uint32_t)code[d] << 8 | (uint32_t)code[2 * d] << 16 |
                              (uint32_t)code[3 * d] << 24;
                else
                    ((uint8_t *)(unit + c))[(at + i) % 4] = *code;
        }
    }
}

/* Two BF16 positions share a unit: the first to come sets the other to zero, so that what an
 * earlier sequence left there never enters a sum. */
static void put_value_pairs(const struct pq_kv *kv, unsigned char *values, int at, int n,
                            const uint16_t *from) {
    int d = kv->head_dim;
    for (int i = 0, some; i < n; i += some, from += some * d) {
        some = (at + i) % 2 == 0 && n - i >= 2 ? 2 : 1;
        for (int p = 0; p < d / PQ_NR; p++) {
            uint32_t *unit = value_unit(kv, values, p, at + i);
            const uint16_t *first = from + p * PQ_NR, *second = first + d;
            for (int c = 0; c < PQ_NR; c++)
                if (some == 2)
                    unit[c] = first[c] | (uint32_t)second[c] << 16;
                else if ((at + i) % 2 == 0)
                    unit[c] = first[c];
                else
                    unit[c] = (unit[c] & 0xffff) | (uint32_t)first[c] << 16;
        }
    }
}

/* Four BF16 positions share a pair of units in the same way. */
static void put_value_quads(const struct pq_kv *kv, unsigned char *values, int at, int n,
                            const uint16_t *from) {
    int d = kv->head_dim;
    for (int i = 0; i < n; i++, from += d) {
        int in_pair = (at + i) % 4;
        for (int p = 0; p < d / PQ_NR; p++) {
            uint16_t *pair = (uint16_t *)value_unit(kv, values, p, at + i - in_pair);
            for (int c = 0; c < PQ_NR; c++, pair += 4) {
                /* A sequence that was cut has left others there. */
                memset(pair + in_pair, 0, (size_t)(4 - in_pair) * sizeof *pair);
                pair[in_pair] = from[p * PQ_NR + c];
            }
        }
    }
}

/* rows [n][d], ld apart, as BF16 or as codes and their scales. */
static void narrow(const struct pq_kv *kv, const struct pq_elementwise *e, void *to, float *scales,
                   int n, const float *rows, size_t ld) {
    int d = kv->head_dim;
    for (int i = 0; i < n; i++, rows += ld) {
        int32_t sum; /* wanted by nobody here */
        if (kv->kind == PQ_KIND_I8)
            scales[i] = e->quantize((int8_t *)to + i * d, &sum, NULL, rows, d);
        else
            e->to_bf16((uint16_t *)to + i * d, rows, d);
    }
}

void pq_kv_put(const struct pq_kv *kv, const struct pq_elementwise *e, int layer, int sequence,
               int head, int position, int n, float *keys, const float *values, size_t ldv,
               void *temp) {
    struct pq_kv_block block = pq_kv_block(kv, layer, sequence, head, position / PQ_KV_BLOCK);
    int at = position % PQ_KV_BLOCK;
    size_t d = (size_t)kv->head_dim;
    if (kv->kind == PQ_KIND_F32) {
        put_keys(kv, e, block.keys, at, n, (uint32_t *)keys);
        put_values(kv, block.values, at, n, values, ldv);
        return;
    }
    narrow(kv, e, temp, block.key_scales + at, n, keys, d);
    put_keys(kv, e, block.keys, at, n, temp);
    narrow(kv, e, temp, block.value_scales + at, n, values, ldv);
    if (kv->kind == PQ_KIND_I8)
        put_value_codes(kv, block.values, at, n, temp);
    else if (kv->pairs)
        put_value_quads(kv, block.values, at, n, temp);
    else
        put_value_pairs(kv, block.values, at, n, temp);
}
