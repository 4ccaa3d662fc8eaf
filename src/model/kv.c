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
    size_t bytes, streams = (size_t)layers * (size_t)heads;
    if (__builtin_mul_overflow(2 * kv.half_bytes * (size_t)kv.blocks, streams, &bytes) ||
        __builtin_mul_overflow(bytes, (size_t)sequences, &bytes))
        return pq_fail(err, PQ_ENOMEM, "a KV cache of %d sequences of %d positions is too large",
                       sequences, positions);
    PQ_TRY(pq_arena_open(&kv.arena, bytes, true, "the KV cache", err));
    pq_arena_take(&kv.arena, bytes);
    *out = kv;
    return PQ_OK;
}

void pq_kv_close(struct pq_kv *kv) {
    pq_arena_close(&kv->arena);
}

unsigned char *pq_kv_keys(const struct pq_kv *kv, int layer, int sequence, int head, int block) {
    size_t stream = ((size_t)layer * (size_t)kv->sequences + (size_t)sequence) * (size_t)kv->heads +
                    (size_t)head;
    return kv->arena.base + (stream * (size_t)kv->blocks + (size_t)block) * 2 * kv->half_bytes;
}

unsigned char *pq_kv_values(const struct pq_kv *kv, int layer, int sequence, int head, int block) {
    return pq_kv_keys(kv, layer, sequence, head, block) + kv->half_bytes;
}

static void put_key(const struct pq_kv *kv, unsigned char *keys, int at, const void *key) {
    int units = kv->head_dim / pq_unit_values(kv->kind);
    uint32_t *to = (uint32_t *)keys + (size_t)(at / PQ_NR) * (size_t)units * PQ_NR + at % PQ_NR;
    const uint32_t *from = key;
    for (int i = 0; i < units; i++)
        to[(size_t)i * PQ_NR] = from[i];
}

/* Two BF16 positions share a unit: the first to come sets the other to zero, so that what an
 * earlier sequence left there never enters a sum. */
static void put_value(const struct pq_kv *kv, unsigned char *values, int at, const void *value) {
    int v = pq_unit_values(kv->kind), units = PQ_KV_BLOCK / v;
    for (int d = 0; d < kv->head_dim; d += PQ_NR) {
        uint32_t *to = (uint32_t *)values + (size_t)(d / PQ_NR * units + at / v) * PQ_NR;
        const uint16_t *half = (const uint16_t *)value + d;
        if (v == 1)
            memcpy(to, (const uint32_t *)value + d, PQ_NR * sizeof *to);
        else
            for (int c = 0; c < PQ_NR; c++)
                to[c] = at % 2 == 0 ? half[c] : (to[c] & 0xffff) | (uint32_t)half[c] << 16;
    }
}

void pq_kv_put(const struct pq_kv *kv, const struct pq_elementwise *e, int layer, int sequence,
               int head, int position, const float *key, const float *value, void *temp) {
    int block = position / PQ_KV_BLOCK, at = position % PQ_KV_BLOCK;
    unsigned char *keys = pq_kv_keys(kv, layer, sequence, head, block);
    unsigned char *values = pq_kv_values(kv, layer, sequence, head, block);
    if (kv->kind == PQ_KIND_F32) {
        put_key(kv, keys, at, key);
        put_value(kv, values, at, value);
        return;
    }
    e->to_bf16(temp, key, kv->head_dim);
    put_key(kv, keys, at, temp);
    e->to_bf16(temp, value, kv->head_dim);
    put_value(kv, values, at, temp);
}
