/* Residual streams in another basis: found from embeddings, undone, and told from other vectors. */
#include "cpu/ops.h"
#include "panq.h"
#include "tap.h"

#include <math.h>
#include <string.h>

enum { M = 40, MOST = 896 };

static struct pq_err err;
static float x[M * MOST], y[M * MOST];

/* About normal. */
static float draw(uint64_t *state) {
    float sum = 0;
    for (int i = 0; i < 6; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(*state >> 40) / (1 << 24) - 0.5f;
    }
    return sum;
}

/* x anew, and y = x diag(signs) H + noise. */
static void make(int width, bool rotated, float noise) {
    uint64_t state = 7;
    struct pq_hadamard h = {0};
    float signs[MOST];
    for (int i = 0; i < M * width; i++)
        x[i] = y[i] = draw(&state);
    for (int i = 0; i < width; i++)
        signs[i] = draw(&state) < 0 ? -1 : 1;
    if (rotated && pq_hadamard_open(&h, width, &err) == PQ_OK) {
        for (int r = 0; r < M; r++) {
            for (int i = 0; i < width; i++)
                y[r * width + i] *= signs[i];
            pq_ops_get(PQ_ISA_C)->e->hadamard(y + r * width, y + r * width, &h, false);
        }
    }
    pq_hadamard_close(&h);
    for (int i = 0; i < M * width; i++)
        y[i] += noise * draw(&state);
}

static double distance(int width) {
    double sum = 0, power = 0;
    for (int i = 0; i < M * width; i++) {
        sum += pow(x[i] - y[i], 2);
        power += pow(x[i], 2);
    }
    return sum / power;
}

static void test_finds(void) {
    const int widths[] = {64, 576, 896}; /* a power of two, 36 x 16, 28 x 32 */
    for (int i = 0; i < 6; i++) {
        struct pq_basis *basis = NULL;
        int width = widths[i / 2];
        make(width, i % 2, 0.1f);
        CHECK_OK(pq_basis_find(&basis, x, y, M, width, &err));
        pq_basis_undo(basis, y, M);
        pq_basis_close(basis);
        CHECK(fabs(distance(width) - 0.01) < 0.001);
    }
}

static void test_one_basis_is_left_alone(void) {
    struct pq_basis *basis = NULL;
    static float before[M * MOST];
    make(65, false, 0.1f); /* no Hadamard matrix has this order */
    memcpy(before, y, sizeof before);
    CHECK_OK(pq_basis_find(&basis, x, y, M, 65, &err));
    pq_basis_undo(basis, y, M);
    pq_basis_close(basis);
    CHECK(memcmp(before, y, sizeof before) == 0);
}

/* Unrelated vectors, and a rotation of another kind: channels that moved. */
static void test_refuses(void) {
    struct pq_basis *basis = NULL;
    make(64, false, 3);
    CHECK(pq_basis_find(&basis, x, y, M, 64, &err) == PQ_EUNSUPPORTED && !basis);
    make(65, false, 3);
    CHECK(pq_basis_find(&basis, x, y, M, 65, &err) == PQ_EUNSUPPORTED && !basis);
    make(64, true, 0);
    for (int r = 0; r < M; r++) {
        float *row = y + r * 64, first = row[0];
        memmove(row, row + 1, 63 * sizeof *row);
        row[63] = first;
    }
    CHECK(pq_basis_find(&basis, x, y, M, 64, &err) == PQ_EUNSUPPORTED && !basis);
}

int main(void) {
    RUN(test_finds);
    RUN(test_one_basis_is_left_alone);
    RUN(test_refuses);
    return tap_done();
}
