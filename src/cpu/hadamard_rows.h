/* hadamard_rows.h - a row times the matrix of hadamard.h, for one type of numbers.
 *
 * elementwise.c includes this twice: HADAMARD is the function's name, REAL its numbers, PASTE_REAL
 * makes the names of the steps.  The order of the additions is fixed, whatever the ISA. */

typedef REAL PASTE_REAL(lanes) __attribute__((vector_size(PQ_HADAMARD_LANES * sizeof(REAL))));
#define VECTOR PASTE_REAL(lanes)

INLINE VECTOR PASTE_REAL(get)(const REAL *p) {
    VECTOR v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void PASTE_REAL(put)(REAL *p, VECTOR v) {
    memcpy(p, &v, sizeof v);
}

/* The four butterflies within a vector, of lanes 1, 2, 4 and 8 apart: a, b to a + b, a - b. */
INLINE VECTOR PASTE_REAL(within)(VECTOR v) {
    v = __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14) +
        v * (VECTOR){1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
    v = __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13) +
        v * (VECTOR){1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1};
    v = __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11) +
        v * (VECTOR){1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1};
    return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7) +
           v * (VECTOR){1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1};
}

/* Sylvester's matrix of order width, on every `width` of x [n], scaled: two butterflies a pass. */
static void PASTE_REAL(butterflies)(REAL *x, int n, int width, REAL scale) {
    for (int i = 0; i < n; i += LANES)
        PASTE_REAL(put)(x + i, PASTE_REAL(within)(PASTE_REAL(get)(x + i) * scale));
    int step = LANES;
    for (; step * 4 <= width; step *= 4)
        for (int i = 0; i < n; i += 4 * step)
            for (REAL *p = x + i; p < x + i + step; p += LANES) {
                VECTOR a = PASTE_REAL(get)(p), b = PASTE_REAL(get)(p + step);
                VECTOR c = PASTE_REAL(get)(p + 2 * step), d = PASTE_REAL(get)(p + 3 * step);
                PASTE_REAL(put)(p, (a + b) + (c + d));
                PASTE_REAL(put)(p + step, (a - b) + (c - d));
                PASTE_REAL(put)(p + 2 * step, (a + b) - (c + d));
                PASTE_REAL(put)(p + 3 * step, (a - b) - (c - d));
            }
    if (step < width)
        for (int i = 0; i < n; i += 2 * step)
            for (REAL *p = x + i; p < x + i + step; p += LANES) {
                VECTOR a = PASTE_REAL(get)(p), b = PASTE_REAL(get)(p + step);
                PASTE_REAL(put)(p, a + b);
                PASTE_REAL(put)(p + step, a - b);
            }
}

/* All signed sums of four vectors, `stride` numbers apart. */
INLINE void PASTE_REAL(tabulate)(VECTOR *sums, const REAL *x, size_t stride) {
    VECTOR a = PASTE_REAL(get)(x), b = PASTE_REAL(get)(x + stride);
    VECTOR c = PASTE_REAL(get)(x + 2 * stride), d = PASTE_REAL(get)(x + 3 * stride);
    VECTOR low[] = {a + b, b - a, a - b, -a - b}, high[] = {c + d, d - c, c - d, -c - d};
    for (int s = 0; s < 16; s++)
        sums[s] = low[s % 4] + high[s / 4];
}

/* One base, on `order` vectors of x that are `stride` numbers apart. */
static void PASTE_REAL(mix)(REAL *x, int order, size_t stride, const uint8_t *signs) {
    VECTOR sums[PQ_HADAMARD_BASE / 4][16];
    int fours = order / 4;
    for (int g = 0; g < fours; g++)
        PASTE_REAL(tabulate)(sums[g], x + (size_t)g * 4 * stride, stride);
    for (int out = 0; out < fours; out++, x += 4 * stride) {
        VECTOR y[4] = {sums[0][signs[0]], sums[0][signs[1]], sums[0][signs[2]], sums[0][signs[3]]};
        signs += 4;
        for (int g = 1; g < fours; g++, signs += 4)
            for (int i = 0; i < 4; i++)
                y[i] += sums[g][signs[i]];
        for (size_t i = 0; i < 4; i++)
            PASTE_REAL(put)(x + i * stride, y[i]);
    }
}

static void HADAMARD(REAL *x, const struct pq_hadamard *h, bool transposed) {
    size_t stride = (size_t)h->width, n = (size_t)h->n;
    PASTE_REAL(butterflies)(x, h->n, h->width, (REAL)(1 / sqrt((double)h->n)));
    for (int b = h->bases - 1; b >= 0; b--) {
        const uint8_t *signs = transposed ? h->signs_t[b] : h->signs[b];
        size_t block = stride * (size_t)h->base[b];
        for (size_t first = 0; first < n; first += block)
            for (size_t i = 0; i < stride; i += LANES)
                PASTE_REAL(mix)(x + first + i, h->base[b], stride, signs);
        stride = block;
    }
}

#undef VECTOR
