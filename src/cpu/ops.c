/* ops.c - the kernels by ISA: plain C here, the others in the folder of their architecture. */
#include "cpu/kernels.h"

#include <string.h>

static const char *const names[PQ_ISA_COUNT] = {
    [PQ_ISA_C] = "c",
    [PQ_ISA_AVX2] = "avx2",
    [PQ_ISA_AVX512] = "avx512",
    [PQ_ISA_AVXVNNI] = "avxvnni",
    [PQ_ISA_AVX512VNNI] = "avx512vnni",
    [PQ_ISA_AVX512BF16] = "avx512bf16",
    [PQ_ISA_NEON] = "neon",
    [PQ_ISA_DOTPROD] = "dotprod",
    [PQ_ISA_I8MM] = "i8mm",
};

PQ_TILE_UNPACK(tile_unpack_c, pq_unpack_i4_c, pq_tile_i8_c)

static const struct pq_ops ops_c = {
    .isa = PQ_ISA_C,
    .tile_i8 = pq_tile_i8_c,
    .start = pq_start_shifted,
    .tile_i4 = pq_tile_i4_c,
    .block_start = -8,
    .direct_rows = PQ_MR,
    .tile_unpack = tile_unpack_c,
    .tile_bf16 = pq_tile_bf16_c,
    .tile_f32 = pq_tile_f32_c,
    .e = &pq_elementwise_c,
    .rounding = &pq_rounding_c,
    .attend = &pq_attend_c,
    .peak_i8 = pq_peak_i8_c,
    .peak_bf16 = pq_peak_bf16_c,
};

#if !defined(__x86_64__) && !defined(__aarch64__) /* an architecture without kernels of its own */
const struct pq_ops *const pq_native_ops[PQ_ISA_COUNT];

bool pq_native_runs(enum pq_isa isa) {
    (void)isa;
    return false;
}

int pq_native_second_rows(void) {
    return 0;
}
#endif

static const struct pq_ops *ops_of(enum pq_isa isa) {
    return isa == PQ_ISA_C ? &ops_c : pq_native_ops[isa];
}

bool pq_isa_runs(enum pq_isa isa) {
    return isa == PQ_ISA_C || pq_native_runs(isa);
}

enum pq_isa pq_isa_best(void) {
    return pq_ops_get(PQ_ISA_COUNT - 1)->isa;
}

const char *pq_isa_name(enum pq_isa isa) {
    return names[isa];
}

bool pq_isa_parse(const char *name, enum pq_isa *isa) {
    for (enum pq_isa i = 0; i < PQ_ISA_COUNT; i++)
        if (ops_of(i) && strcmp(name, names[i]) == 0) {
            *isa = i;
            return true;
        }
    return false;
}

const struct pq_ops *pq_ops_get(enum pq_isa isa) {
    while (!pq_isa_runs(isa))
        isa--;
    return ops_of(isa);
}
