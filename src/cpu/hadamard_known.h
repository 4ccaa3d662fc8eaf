/* hadamard_known.h - bases whose signs the compiler knows: of order 12 and 20, which openPangu's
 * 6144 = 12 x 512 and 12800 = 20 x 20 x 32 are made of.
 *
 * They are Paley's of the first kind, as hadamard.c makes them.  With constant arguments all of
 * this is gone once loops are unrolled. */
#ifndef PQ_CPU_HADAMARD_KNOWN_H
#define PQ_CPU_HADAMARD_KNOWN_H

#include "cpu/rows.h"

enum { KNOWN_BASE = 20 }; /* the largest order */

struct known {
    int order;
    const int8_t *symbols; /* Legendre's, of 0 .. order - 2 modulo the prime order - 1 */
    bool transposed;
};

static const int8_t symbols_11[] = {0, 1, -1, 1, 1, 1, -1, -1, -1, 1, -1};
static const int8_t symbols_19[] = {0,  1, -1, -1, 1,  1,  1, 1, -1, 1,
                                    -1, 1, -1, -1, -1, -1, 1, 1, -1};

INLINE int known_sign(const struct known base, int in, int out) {
    int i = base.transposed ? out : in, j = base.transposed ? in : out, q = base.order - 1;
    if (i == j || i == 0)
        return 1;
    return j == 0 ? -1 : base.symbols[(i - j + q) % q];
}

/* Of inputs 4 g .. 4 g + 3, as struct pq_hadamard keeps them. */
INLINE int known_signs(const struct known base, int g, int out) {
    int first = known_sign(base, 4 * g, out), signs = first < 0;
    UNROLL
    for (int i = 1; i < 4; i++)
        signs |= (known_sign(base, 4 * g + i, out) != first) << i;
    return signs;
}

#endif
