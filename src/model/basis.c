/* basis.c - the basis that a quantized checkpoint's residual stream has, told by its embeddings.
 *
 * Rotating the stream (R1 of src/quant/transform.h) changes every element and no model: streams can
 * be compared only in one basis.  The Hadamard matrix follows from the width; the signs show in
 * the embeddings, turned back by it: x and its noisy copy agree in every sign that counts. */
#include "base/status.h"
#include "cpu/ops.h"

#include <stdlib.h>
#include <string.h>

/* Noise of embeddings with 4 bits is 1 % of their power; of other vectors it is about all. */
static const double most_noise = 0.25;

struct pq_basis {
    int width;
    struct pq_hadamard h; /* zeros: the streams have one basis */
    const struct pq_elementwise *e;
    float *signs; /* owned [width] */
};

/* Power of x - y over that of x, both [n]. */
static double noise(const float *x, const float *y, size_t n) {
    double power = 0, difference = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i] - (double)y[i];
        power += (double)x[i] * (double)x[i];
        difference += d * d;
    }
    return power > 0 ? difference / power : 0;
}

void pq_basis_undo(const struct pq_basis *basis, float *y, int m) {
    for (int r = 0; r < m && basis->h.n; r++, y += basis->width) {
        basis->e->hadamard(y, y, &basis->h, true);
        for (int i = 0; i < basis->width; i++)
            y[i] *= basis->signs[i];
    }
}

/* The signs by which x [m][width] agrees with y, turned back by H alone. */
static void find_signs(struct pq_basis *basis, const float *x, const float *y, int m) {
    for (int i = 0; i < basis->width; i++) {
        double product = 0;
        for (int r = 0; r < m; r++) {
            size_t at = (size_t)r * (size_t)basis->width + (size_t)i;
            product += (double)x[at] * (double)y[at];
        }
        basis->signs[i] = product < 0 ? -1 : 1;
    }
}

static enum pq_status find_rotation(struct pq_basis *basis, const float *x, float *y, int m,
                                    struct pq_err *err) {
    size_t n = (size_t)m * (size_t)basis->width;
    if (pq_hadamard_exists(basis->width)) {
        PQ_TRY(pq_hadamard_open(&basis->h, basis->width, err));
        for (int i = 0; i < basis->width; i++)
            basis->signs[i] = 1;
        pq_basis_undo(basis, y, m);
        find_signs(basis, x, y, m);
        for (size_t i = 0; i < n; i++)
            y[i] *= basis->signs[i % (size_t)basis->width];
        if (noise(x, y, n) < most_noise)
            return PQ_OK;
    }
    return pq_fail(err, PQ_EUNSUPPORTED,
                   "the embeddings of the two checkpoints differ by more than noise and a rotation "
                   "that panq makes");
}

enum pq_status pq_basis_find(struct pq_basis **out, const float *x, const float *y, int m,
                             int width, struct pq_err *err) {
    size_t n = (size_t)m * (size_t)width;
    struct pq_basis *basis = calloc(1, sizeof *basis);
    float *copy = malloc(n * sizeof *copy);
    if (basis)
        basis->signs = malloc((size_t)width * sizeof *basis->signs);
    enum pq_status status = PQ_OK;
    if (!basis || !copy || !basis->signs) {
        status = pq_fail(err, PQ_ENOMEM, "out of memory to compare %d embeddings", m);
    } else {
        basis->width = width;
        basis->e = pq_ops_get(PQ_ISA_COUNT - 1)->e;
        memcpy(copy, y, n * sizeof *copy);
        if (!(noise(x, y, n) < most_noise))
            status = find_rotation(basis, x, copy, m, err);
    }
    free(copy);
    if (status == PQ_OK)
        *out = basis;
    else
        pq_basis_close(basis);
    return status;
}

void pq_basis_close(struct pq_basis *basis) {
    if (!basis)
        return;
    pq_hadamard_close(&basis->h);
    free(basis->signs);
    free(basis);
}
