/* hadamard_rows.h - a row times the matrix of hadamard.h, for one type of numbers.
 *
 * elementwise.c includes this twice: HADAMARD is the function's name, REAL its numbers, REAL_LANES
 * of them a vector and REAL_APART its shuffle, PASTE_REAL makes the names of the steps. Butterflies
 * come in the order of their distance, so that additions have one order, whatever the ISA. */

typedef REAL PASTE_REAL(lanes) __attribute__((vector_size(REAL_LANES * sizeof(REAL))));
#define VECTOR PASTE_REAL(lanes)

INLINE VECTOR PASTE_REAL(get)(const REAL *p) {
    VECTOR v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void PASTE_REAL(put)(REAL *p, VECTOR v) {
    memcpy(p, &v, sizeof v);
}

/* The butterflies within a vector, of lanes 1, 2, 4 and 8 apart: a, b to a + b, a - b. */
INLINE VECTOR PASTE_REAL(within)(VECTOR v) {
    static const REAL signs[][16] = {
        {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
        {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1},
        {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1},
        {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1},
    };
    v = REAL_APART(v, 1) + v * PASTE_REAL(get)(signs[0]);
#if REAL_LANES > 2
    v = REAL_APART(v, 2) + v * PASTE_REAL(get)(signs[1]);
#endif
#if REAL_LANES > 4
    v = REAL_APART(v, 4) + v * PASTE_REAL(get)(signs[2]);
#endif
#if REAL_LANES > 8
    v = REAL_APART(v, 8) + v * PASTE_REAL(get)(signs[3]);
#endif
    return v;
}

/* Butterflies of 2, 4 and 8 vectors. */
INLINE void PASTE_REAL(two)(VECTOR *a, VECTOR *b) {
    VECTOR difference = *a - *b;
    *a += *b;
    *b = difference;
}

INLINE void PASTE_REAL(four)(VECTOR *v) {
    PASTE_REAL(two)(v, v + 1);
    PASTE_REAL(two)(v + 2, v + 3);
    PASTE_REAL(two)(v, v + 2);
    PASTE_REAL(two)(v + 1, v + 3);
}

INLINE void PASTE_REAL(eight)(VECTOR *v) {
    PASTE_REAL(four)(v);
    PASTE_REAL(four)(v + 4);
    for (int i = 0; i < 4; i++)
        PASTE_REAL(two)(v + i, v + i + 4);
}

/* Butterflies of `points` vectors that are `step` numbers apart, all over x [n]. */
INLINE void PASTE_REAL(pass)(REAL *x, int n, int step, int points) {
    for (int i = 0; i < n; i += points * step)
        for (REAL *p = x + i; p < x + i + step; p += REAL_LANES) {
            VECTOR v[8];
            for (int j = 0; j < points; j++)
                v[j] = PASTE_REAL(get)(p + j * step);
            if (points == 8)
                PASTE_REAL(eight)(v);
            else if (points == 4)
                PASTE_REAL(four)(v);
            else
                PASTE_REAL(two)(v, v + 1);
            for (int j = 0; j < points; j++)
                PASTE_REAL(put)(p + j * step, v[j]);
        }
}

/* y = x [n] times Sylvester's matrix of order width, on every `width` of them, scaled.  Rows follow
 * each other and come from a cache that threads share, or from memory: x is fetched ahead, past its
 * end what is likely the next one. */
static void PASTE_REAL(butterflies)(REAL *y, const REAL *x, int n, int width, REAL scale) {
    int step = width < 4 * REAL_LANES ? REAL_LANES : 4 * REAL_LANES;
    for (int i = 0; i < n; i += step) {
        VECTOR v[4];
        for (int j = 0; j < step / REAL_LANES; j++)
            __builtin_prefetch((const char *)(x + i + j * REAL_LANES) + FETCH_AHEAD);
        for (int j = 0; j < step / REAL_LANES; j++)
            v[j] = PASTE_REAL(within)(PASTE_REAL(get)(x + i + j * REAL_LANES) * scale);
        if (step > REAL_LANES)
            PASTE_REAL(four)(v);
        for (int j = 0; j < step / REAL_LANES; j++)
            PASTE_REAL(put)(y + i + j * REAL_LANES, v[j]);
    }
    for (; step * 8 <= width; step *= 8)
        PASTE_REAL(pass)(y, n, step, 8);
    if (step * 4 <= width)
        PASTE_REAL(pass)(y, n, step, 4);
    else if (step < width)
        PASTE_REAL(pass)(y, n, step, 2);
}

/* The signed sums of four vectors, `stride` numbers apart, that begin with the first one added. */
INLINE void PASTE_REAL(tabulate)(VECTOR *sums, const REAL *x, size_t stride) {
    VECTOR a = PASTE_REAL(get)(x), b = PASTE_REAL(get)(x + stride);
    VECTOR c = PASTE_REAL(get)(x + 2 * stride), d = PASTE_REAL(get)(x + 3 * stride);
    VECTOR low[] = {a + b, a - b}, high[] = {c + d, d - c};
    for (int s = 0; s < 4; s++) {
        sums[s] = low[s % 2] + high[s / 2];
        sums[s + 4] = low[s % 2] - high[1 - s / 2];
    }
}

INLINE VECTOR PASTE_REAL(signed_sum)(const VECTOR *sums, int signs) {
    static const REAL unit[] = {1, -1};
    return sums[signs >> 1] * unit[signs & 1];
}

/* One base, on `order` vectors of x that are `stride` numbers apart. */
static void PASTE_REAL(mix)(REAL *x, int order, size_t stride, const uint8_t *signs) {
    VECTOR sums[PQ_HADAMARD_BASE / 4][8];
    int fours = order / 4;
    for (int g = 0; g < fours; g++)
        PASTE_REAL(tabulate)(sums[g], x + (size_t)g * 4 * stride, stride);
    for (int out = 0; out < fours; out++, x += 4 * stride) {
        VECTOR y[4];
        for (int i = 0; i < 4; i++)
            y[i] = PASTE_REAL(signed_sum)(sums[0], *signs++);
        for (int g = 1; g < fours; g++)
            for (int i = 0; i < 4; i++)
                y[i] += PASTE_REAL(signed_sum)(sums[g], *signs++);
        for (size_t i = 0; i < 4; i++)
            PASTE_REAL(put)(x + i * stride, y[i]);
    }
}

static void HADAMARD(REAL *y, const REAL *x, const struct pq_hadamard *h, bool transposed) {
    size_t stride = (size_t)h->width, n = (size_t)h->n;
    PASTE_REAL(butterflies)(y, x, h->n, h->width, (REAL)(1 / sqrt((double)h->n)));
    for (int b = h->bases - 1; b >= 0; b--) {
        const uint8_t *signs = transposed ? h->signs_t[b] : h->signs[b];
        size_t block = stride * (size_t)h->base[b];
        for (size_t first = 0; first < n; first += block)
            for (size_t i = 0; i < stride; i += REAL_LANES)
                PASTE_REAL(mix)(y + first + i, h->base[b], stride, signs);
        stride = block;
    }
}

#undef VECTOR
