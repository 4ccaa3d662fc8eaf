/* ops.c - what the processor and the operating system can run, and the kernels for it. */
#include "cpu/kernels.h"

#include <string.h>

static const char *const names[PQ_ISA_COUNT] = {"c", "avx2", "avx512vnni", "avx512bf16"};

const char *pq_isa_name(enum pq_isa isa) {
    return names[isa];
}

bool pq_isa_parse(const char *name, enum pq_isa *isa) {
    for (int i = 0; i < PQ_ISA_COUNT; i++)
        if (strcmp(name, names[i]) == 0) {
            *isa = (enum pq_isa)i;
            return true;
        }
    return false;
}

static const struct pq_ops ops_c = {
    .isa = PQ_ISA_C,
    .tile_i8 = pq_tile_i8_c,
    .tile_i4 = pq_tile_i4_c,
    .unpack_i4 = pq_unpack_i4_c,
    .tile_bf16 = pq_tile_bf16_c,
    .tile_f32 = pq_tile_f32_c,
    .e = &pq_elementwise_c,
    .peak_i8 = pq_peak_i8_c,
    .peak_bf16 = pq_peak_bf16_c,
};

#if defined(__x86_64__)
#include <cpuid.h>

static const struct pq_ops ops_avx2 = {
    .isa = PQ_ISA_AVX2,
    .tile_i8 = pq_tile_i8_avx2,
    .tile_i4 = pq_tile_i4_avx2,
    .unpack_i4 = pq_unpack_i4_avx2,
    .tile_bf16 = pq_tile_bf16_avx2,
    .tile_f32 = pq_tile_f32_avx2,
    .e = &pq_elementwise_avx2,
    .peak_i8 = pq_peak_i8_avx2,
    .peak_bf16 = pq_peak_bf16_avx2,
};

static const struct pq_ops ops_avx512vnni = {
    .isa = PQ_ISA_AVX512VNNI,
    .tile_i8 = pq_tile_i8_avx512vnni,
    .tile_i4 = pq_tile_i4_avx512vnni,
    .unpack_i4 = pq_unpack_i4_avx512vnni,
    .tile_bf16 = pq_tile_bf16_avx512vnni,
    .tile_f32 = pq_tile_f32_avx512vnni,
    .e = &pq_elementwise_avx512vnni,
    .peak_i8 = pq_peak_i8_avx512vnni,
    .peak_bf16 = pq_peak_bf16_avx512vnni,
};

static const struct pq_ops ops_avx512bf16 = {
    .isa = PQ_ISA_AVX512BF16,
    .tile_i8 = pq_tile_i8_avx512vnni,
    .tile_i4 = pq_tile_i4_avx512vnni,
    .unpack_i4 = pq_unpack_i4_avx512vnni,
    .tile_bf16 = pq_tile_bf16_avx512bf16,
    .tile_f32 = pq_tile_f32_avx512vnni,
    .e = &pq_elementwise_avx512vnni,
    .peak_i8 = pq_peak_i8_avx512vnni,
    .peak_bf16 = pq_peak_bf16_avx512bf16,
};

/* The register state that the operating system saves: bit 1 SSE, 2 AVX, 5..7 AVX-512. */
static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

enum pq_isa pq_isa_best(void) {
    uint32_t a, b, c, d, b7, c7, d7, a71, x;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return PQ_ISA_C;
    uint32_t need1 = bit_AVX | bit_FMA | bit_F16C;
    uint64_t state = saved_state();
    if ((c & need1) != need1 || (state & 0x6) != 0x6 ||
        !__get_cpuid_count(7, 0, &x, &b7, &c7, &d7) || !(b7 & bit_AVX2))
        return PQ_ISA_C;
    uint32_t need7 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((state & 0xe6) != 0xe6 || (b7 & need7) != need7 || !(c7 & bit_AVX512VNNI))
        return PQ_ISA_AVX2;
    if (!__get_cpuid_count(7, 1, &a71, &b, &c, &d) || !(a71 & bit_AVX512BF16))
        return PQ_ISA_AVX512VNNI;
    return PQ_ISA_AVX512BF16;
}

static const struct pq_ops *const table[PQ_ISA_COUNT] = {&ops_c, &ops_avx2, &ops_avx512vnni,
                                                         &ops_avx512bf16};
#else
enum pq_isa pq_isa_best(void) {
    return PQ_ISA_C;
}

static const struct pq_ops *const table[PQ_ISA_COUNT] = {&ops_c};
#endif

const struct pq_ops *pq_ops_get(enum pq_isa isa) {
    enum pq_isa best = pq_isa_best();
    return table[isa < best ? isa : best];
}
