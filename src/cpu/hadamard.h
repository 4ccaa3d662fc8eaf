/* hadamard.h - orthogonal matrices of +-1 / sqrt(n), and how a row is multiplied by one quickly.
 *
 *   H = H_base[0] (x) H_base[1] (x) H_width        n = base[0] * base[1] * width
 *
 * (x) is Kronecker's product.  H_width is Sylvester's, width a power of two: butterflies.  The
 * bases are Paley's, of order q + 1 (I) or 2 (q + 1) (II) for a prime q (Paley, "On orthogonal
 * matrices", J. Math. Phys. 12, 1933).  Those of the first kind are not symmetric, so that x H and
 * x H^T differ.
 *
 * A base's signs are kept by fours: the sum over four inputs is one of 8 or its negative, which are
 * made once and looked up for every output, so that an output costs base / 4 additions (Arlazarov
 * et al., "On economical construction of the transitive closure of a directed graph", 1970). Orders
 * 12 and 20 look nothing up: hadamard_known.h. */
#ifndef PQ_CPU_HADAMARD_H
#define PQ_CPU_HADAMARD_H

#include "base/status.h"

enum {
    PQ_HADAMARD_LANES = 16, /* width is a multiple */
    PQ_HADAMARD_BASES = 2,  /* at most */
    PQ_HADAMARD_BASE = 256, /* the largest order of a base */
};

/* A plan, immutable once made; all zeros: none. */
struct pq_hadamard {
    int n, width;
    int bases, base[PQ_HADAMARD_BASES];
    /* owned [base / 4 outputs][base / 4 inputs][4 outputs] of H and of H^T: bit 0 is set where the
     * first of four inputs is subtracted, bit i where input i's sign is not the first one's */
    uint8_t *signs[PQ_HADAMARD_BASES], *signs_t[PQ_HADAMARD_BASES];
};

/* The plan of order n with the smallest bases.  PQ_EUNSUPPORTED: there is none. */
enum pq_status pq_hadamard_open(struct pq_hadamard *out, int n, struct pq_err *err);
void pq_hadamard_close(struct pq_hadamard *plan);
/* Whether there is a plan of order n. */
bool pq_hadamard_exists(int n);

/* +1 or -1: the sign of H[i][j]. */
int pq_hadamard_sign(const struct pq_hadamard *plan, int i, int j);

#endif
