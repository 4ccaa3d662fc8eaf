#include "model/kv.h"

#include <string.h>

enum pq_status pq_kv_open(struct pq_kv *out, enum pq_kind kind, int layers, int sequences,
                          int heads, int head_dim, int positions, struct pq_err *err) {
    struct pq_kv kv = {.kind = kind,
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

/* The units of a key, flipped where panels hold code + 128. */
static void put_key(const struct pq_kv *kv, unsigned char *keys, int at, const void *key) {
    int units = kv->head_dim / pq_unit_values(kv->kind);
    uint32_t *to = (uint32_t *)keys + (size_t)(at / PQ_NR) * (size_t)units * PQ_NR + at % PQ_NR;
    uint32_t flip = kv->kind == PQ_KIND_I8 ? 0x80808080u : 0;
    const uint32_t *from = key;
    for (int i = 0; i < units; i++)
        to[(size_t)i * PQ_NR] = from[i] ^ flip;
}

static void put_value(const struct pq_kv *kv, float *values, int at, const float *value) {
    for (int p = 0; p < kv->head_dim / PQ_NR; p++)
        memcpy(values + (p * PQ_KV_BLOCK + at) * PQ_NR, value + p * PQ_NR, PQ_NR * sizeof *value);
}

/* Four positions share a unit; what an earlier sequence left of one is a code, which a probability
 * of zero takes out of every sum. */
static void put_value_codes(const struct pq_kv *kv, int8_t *values, int at, const int8_t *value) {
    for (int p = 0; p < kv->head_dim / PQ_NR; p++, value += PQ_NR) {
        int8_t *to = values + (p * PQ_KV_BLOCK + at / 4 * 4) * PQ_NR + at % 4;
        for (int c = 0; c < PQ_NR; c++)
            to[4 * c] = value[c];
    }
}

/* Two BF16 positions share a unit: the first to come sets the other to zero, so that what an
 * earlier sequence left there never enters a sum. */
static void put_value_pairs(const struct pq_kv *kv, unsigned char *values, int at,
                            const uint16_t *value) {
    for (int p = 0; p < kv->head_dim / PQ_NR; p++, value += PQ_NR) {
        uint32_t *to = (uint32_t *)values + (size_t)(p * PQ_KV_BLOCK / 2 + at / 2) * PQ_NR;
        for (int c = 0; c < PQ_NR; c++)
            to[c] = at % 2 == 0 ? value[c] : (to[c] & 0xffff) | (uint32_t)value[c] << 16;
    }
}

void pq_kv_put(const struct pq_kv *kv, const struct pq_elementwise *e, int layer, int sequence,
               int head, int position, const float *key, const float *value, void *temp) {
    struct pq_kv_block block = pq_kv_block(kv, layer, sequence, head, position / PQ_KV_BLOCK);
    int at = position % PQ_KV_BLOCK, d = kv->head_dim;
    switch (kv->kind) {
    case PQ_KIND_BF16:
        e->to_bf16(temp, key, d);
        put_key(kv, block.keys, at, temp);
        e->to_bf16(temp, value, d);
        put_value_pairs(kv, block.values, at, temp);
        break;
    case PQ_KIND_I8: {
        int32_t sum; /* wanted by nobody here */
        block.key_scales[at] = e->quantize(temp, &sum, NULL, key, d);
        put_key(kv, block.keys, at, temp);
        block.value_scales[at] = e->quantize(temp, &sum, NULL, value, d);
        put_value_codes(kv, (int8_t *)block.values, at, temp);
        break;
    }
    default:
        put_key(kv, block.keys, at, key);
        put_value(kv, (float *)block.values, at, value);
    }
}
