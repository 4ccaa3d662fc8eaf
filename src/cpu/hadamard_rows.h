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

/* a * sign + b, sign +-1: the product is exact, so one instruction gives the bits of two. */
INLINE VECTOR PASTE_REAL(signed_add)(VECTOR a, VECTOR sign, VECTOR b) {
#if defined(__AVX512F__)
    if (sizeof(REAL) == 4)
        return (VECTOR)_mm512_fmadd_ps((__m512)a, (__m512)sign, (__m512)b);
    return (VECTOR)_mm512_fmadd_pd((__m512d)a, (__m512d)sign, (__m512d)b);
#elif defined(__FMA__)
    if (sizeof(REAL) == 4)
        return (VECTOR)_mm256_fmadd_ps((__m256)a, (__m256)sign, (__m256)b);
    return (VECTOR)_mm256_fmadd_pd((__m256d)a, (__m256d)sign, (__m256d)b);
#else
    return a * sign + b;
#endif
}

/* The butterflies within a vector, of lanes 1, 2, 4 and 8 apart: a, b to a + b, a - b. */
INLINE VECTOR PASTE_REAL(within)(VECTOR v) {
    static const REAL signs[][16] = {
        {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1},
        {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1},
        {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1},
        {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1},
    };
    v = PASTE_REAL(signed_add)(v, PASTE_REAL(get)(signs[0]), REAL_APART(v, 1));
#if REAL_LANES > 2
    v = PASTE_REAL(signed_add)(v, PASTE_REAL(get)(signs[1]), REAL_APART(v, 2));
#endif
#if REAL_LANES > 4
    v = PASTE_REAL(signed_add)(v, PASTE_REAL(get)(signs[2]), REAL_APART(v, 4));
#endif
#if REAL_LANES > 8
    v = PASTE_REAL(signed_add)(v, PASTE_REAL(get)(signs[3]), REAL_APART(v, 8));
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

/* y = x [n] times Sylvester's matrix of order `vectors` vectors, one or four, on every so many of
 * them, scaled.  Rows follow each other and come from a cache that threads share, or from memory: x
 * is fetched ahead, past its end what is likely the next one. */
INLINE void PASTE_REAL(first_pass)(const int vectors, REAL *y, const REAL *x, int n, REAL scale) {
    for (int i = 0; i < n; i += vectors * REAL_LANES) {
        VECTOR v[4];
        UNROLL
        for (int j = 0; j < vectors; j++) {
            const REAL *from = x + i + j * REAL_LANES;
            __builtin_prefetch((const char *)from + FETCH_AHEAD);
            v[j] = PASTE_REAL(within)(PASTE_REAL(get)(from) * scale);
        }
        if (vectors == 4)
            PASTE_REAL(four)(v);
        UNROLL
        for (int j = 0; j < vectors; j++)
            PASTE_REAL(put)(y + i + j * REAL_LANES, v[j]);
    }
}

/* The same for order `width`. */
static void PASTE_REAL(butterflies)(REAL *y, const REAL *x, int n, int width, REAL scale) {
    int step = width < 4 * REAL_LANES ? REAL_LANES : 4 * REAL_LANES;
    if (step > REAL_LANES)
        PASTE_REAL(first_pass)(4, y, x, n, scale);
    else
        PASTE_REAL(first_pass)(1, y, x, n, scale);
    for (; step * 8 <= width; step *= 8)
        PASTE_REAL(pass)(y, n, step, 8);
    if (step * 4 <= width)
        PASTE_REAL(pass)(y, n, step, 4);
    else if (step < width)
        PASTE_REAL(pass)(y, n, step, 2);
}

/* A base is met by one or two columns of vectors, which share what is read of its signs. */
#define EACH_COLUMN UNROLL for (int j = 0; j < columns; j++)

/* The signed sums of four vectors, `stride` numbers apart, that begin with the first one added. */
INLINE void PASTE_REAL(tabulate)(const int columns, VECTOR (*sums)[2], const REAL *x,
                                 size_t stride) {
    EACH_COLUMN {
        const REAL *p = x + j * REAL_LANES;
        VECTOR a = PASTE_REAL(get)(p), b = PASTE_REAL(get)(p + stride);
        VECTOR c = PASTE_REAL(get)(p + 2 * stride), d = PASTE_REAL(get)(p + 3 * stride);
        VECTOR low[] = {a + b, a - b}, high[] = {c + d, d - c};
        UNROLL
        for (int s = 0; s < 4; s++) {
            sums[s][j] = low[s % 2] + high[s / 2];
            sums[s + 4][j] = low[s % 2] - high[1 - s / 2];
        }
    }
}

/* One base, on `order` vectors of x that are `stride` numbers apart. */
INLINE void PASTE_REAL(mix)(const int columns, REAL *x, int order, size_t stride,
                            const uint8_t *signs) {
    static const REAL unit[] = {1, -1};
    VECTOR sums[PQ_HADAMARD_BASE / 4][8][2];
    int fours = order / 4;
    for (int g = 0; g < fours; g++)
        PASTE_REAL(tabulate)(columns, sums[g], x + (size_t)g * 4 * stride, stride);
    for (int out = 0; out < fours; out++, x += 4 * stride) {
        VECTOR y[4][2];
        for (int i = 0; i < 4; i++) {
            size_t s = *signs++;
            EACH_COLUMN y[i][j] = sums[0][s / 2][j] * unit[s % 2];
        }
        for (int g = 1; g < fours; g++)
            for (int i = 0; i < 4; i++) {
                size_t s = *signs++;
                VECTOR sign = unit[s % 2] - (VECTOR){0};
                EACH_COLUMN y[i][j] = PASTE_REAL(signed_add)(sums[g][s / 2][j], sign, y[i][j]);
            }
        for (size_t i = 0; i < 4; i++)
            EACH_COLUMN PASTE_REAL(put)(x + i * stride + j * REAL_LANES, y[i][j]);
    }
}

/* The same for a base that the compiler knows: nothing is looked up, and with 32 registers the
 * sums of order 12 stay in them. */
INLINE void PASTE_REAL(mix_known)(const struct known base, REAL *x, size_t stride) {
    const VECTOR plus = (REAL)1 - (VECTOR){0}, minus = (REAL)-1 - (VECTOR){0};
    VECTOR sums[KNOWN_BASE / 4][8][2];
    UNROLL
    for (int g = 0; g < base.order / 4; g++)
        PASTE_REAL(tabulate)(1, sums[g], x + (size_t)g * 4 * stride, stride);
    UNROLL
    for (int out = 0; out < base.order; out++) {
        int s = known_signs(base, 0, out);
        VECTOR y = s % 2 ? -sums[0][s / 2][0] : sums[0][s / 2][0];
        UNROLL
        for (int g = 1; g < base.order / 4; g++) {
            s = known_signs(base, g, out);
            y = PASTE_REAL(signed_add)(sums[g][s / 2][0], s % 2 ? minus : plus, y);
        }
        PASTE_REAL(put)(x + (size_t)out * stride, y);
    }
}

/* A base on all of y, block by block of its columns; known.order 0: by its signs. */
INLINE void PASTE_REAL(mix_all)(const struct known known, REAL *y, size_t n, int order,
                                size_t stride, const uint8_t *signs) {
    size_t block = stride * (size_t)order;
    size_t columns = !known.order && stride % (2 * REAL_LANES) == 0 ? 2 : 1;
    for (size_t first = 0; first < n; first += block)
        for (size_t i = 0; i < stride; i += columns * REAL_LANES) {
            if (known.order)
                PASTE_REAL(mix_known)(known, y + first + i, stride);
            else if (columns == 2)
                PASTE_REAL(mix)(2, y + first + i, order, stride, signs);
            else
                PASTE_REAL(mix)(1, y + first + i, order, stride, signs);
        }
}

#define KNOWN_CASE(order, symbols)                                                                 \
    case order:                                                                                    \
        if (transposed)                                                                            \
            PASTE_REAL(mix_all)((struct known){order, symbols, true}, y, n, order, stride, NULL);  \
        else                                                                                       \
            PASTE_REAL(mix_all)((struct known){order, symbols, false}, y, n, order, stride, NULL); \
        break;

static void HADAMARD(REAL *y, const REAL *x, const struct pq_hadamard *h, bool transposed) {
    size_t stride = (size_t)h->width, n = (size_t)h->n;
    PASTE_REAL(butterflies)(y, x, h->n, h->width, (REAL)(1 / sqrt((double)h->n)));
    for (int b = h->bases - 1; b >= 0; b--) {
        const uint8_t *signs = transposed ? h->signs_t[b] : h->signs[b];
        switch (h->base[b]) {
            KNOWN_CASE(12, symbols_11)
            KNOWN_CASE(20, symbols_19)
        default:
            PASTE_REAL(mix_all)((struct known){0}, y, n, h->base[b], stride, signs);
        }
        stride *= (size_t)h->base[b];
    }
}

#undef KNOWN_CASE
#undef EACH_COLUMN
#undef VECTOR
