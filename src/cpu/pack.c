#include "cpu/pack.h"

#include <string.h>

/* A row of so many bytes, transformed, to lane c of a panel in which `each` units of a lane, 1 or
 * 2, lie side by side; what is left of the panel is padding. */
static inline __attribute__((always_inline)) void put_units(unsigned char *panel, int c,
                                                            const unsigned char *row, size_t bytes,
                                                            size_t units, uint32_t flip,
                                                            const size_t each) {
    uint32_t *to = (uint32_t *)panel + (size_t)c * each, unit;
    size_t i = 0;
    for (; i < bytes / 4; i++) {
        memcpy(&unit, row + 4 * i, sizeof unit);
        to[i / each * each * PQ_NR + i % each] = unit ^ flip;
    }
    unit = 0;
    memcpy(&unit, row + 4 * i, bytes % 4);
    for (; i < units; i++, unit = 0)
        to[i / each * each * PQ_NR + i % each] = unit ^ flip;
}

/* The four bytes of eight consecutive codes n0 .. n7, two a byte, to bytes n0|n4<<4 .. n3|n7<<4. */
static uint32_t split_nibbles(uint32_t packed) {
    uint32_t low = packed & 0xffff, high = packed >> 16;
    low = (low | low << 8) & 0x00ff00ff;
    low = (low | low << 4) & 0x0f0f0f0f;
    high = (high | high << 8) & 0x00ff00ff;
    high = (high | high << 4) & 0x0f0f0f0f;
    return low | high << 4;
}

static void put_nibbles(const struct pq_linear *linear, unsigned char *panel, int c,
                        const unsigned char *row) {
    uint32_t *to = (uint32_t *)panel + c;
    int n = linear->units / 2, k = linear->k;
    for (int i = 0; i < n; i++) {
        uint32_t packed = 0x88888888; /* code 0 */
        if (8 * i + 8 <= k)
            memcpy(&packed, row + 4 * i, 4);
        else
            for (int j = 8 * i; j < k; j++) {
                uint32_t code = row[j / 2] >> (j % 2 * 4) & 15;
                packed = (packed & ~(15u << (j % 8 * 4))) | code << (j % 8 * 4);
            }
        to[i * PQ_NR] = split_nibbles(packed);
    }
}

void pq_pack_row(const struct pq_linear *linear, unsigned char *panel, int c, const void *row) {
    if (linear->kind == PQ_KIND_I4) {
        put_nibbles(linear, panel, c, row);
        return;
    }
    uint32_t flip = linear->kind == PQ_KIND_I8 ? 0x80808080u : 0;
    size_t value = 4 / (size_t)pq_unit_values(linear->kind), bytes = (size_t)linear->k * value;
    size_t units = (size_t)linear->units;
    if (linear->pairs)
        put_units(panel, c, row, bytes, units, flip, 2);
    else
        put_units(panel, c, row, bytes, units, flip, 1);
}

void pq_pack_multipliers(const struct pq_linear *linear, unsigned char *mults, int c,
                         const uint8_t *row) {
    size_t groups = linear->mult_bytes / 16;
    int shift = c < 16 ? 0 : 4;
    for (size_t g = 0; g < groups; g++) {
        unsigned char *at = mults + g * 16 + c % 16;
        uint8_t mult = row ? row[g / 2] >> (g % 2 * 4) & 15 : 1;
        *at = (unsigned char)((*at & ~(15 << shift)) | mult << shift);
    }
}
