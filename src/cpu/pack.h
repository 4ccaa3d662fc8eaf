/* pack.h - rows of a checkpoint to panels. */
#ifndef PQ_CPU_PACK_H
#define PQ_CPU_PACK_H

#include "cpu/gemm.h"

/* Set output c (0 .. PQ_NR-1) of a panel of `linear` from one row of k values; padding inputs
 * become weights of zero.  The row is, by kind:
 *   I8    int8 codes [k]
 *   I4    uint8 [ceil(k/2)], code + 8, input 0 in the low nibble
 *   BF16  uint16 [k]
 *   F32   float [k] */
void pq_pack_row(const struct pq_linear *linear, unsigned char *panel, int c, const void *row);

/* Set output c of an I4 panel's multipliers from uint8 [ceil(groups/2)], group 0 in the low
 * nibble; row NULL means 1 everywhere. */
void pq_pack_multipliers(const struct pq_linear *linear, unsigned char *mults, int c,
                         const uint8_t *row);

#endif
