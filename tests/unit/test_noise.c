/* Signal to noise of streams, and the list of the worst predictions. */
#include "noise.h"
#include "tap.h"
#include "worst.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 64, ROWS = 4, LAYERS = 1, POINTS = 3 };

static struct pq_err err;

/* Streams of the reference: at each point twice what was before. */
static void fill(float x[POINTS][ROWS * WIDTH]) {
    for (int i = 0; i < ROWS * WIDTH; i++) {
        x[0][i] = (float)((i * 37 + 11) % 101) - 50;
        x[1][i] = 2 * x[0][i];
        x[2][i] = 4 * x[0][i];
    }
}

static void run(struct pq_noise *noise, float x[POINTS][ROWS * WIDTH],
                float y[POINTS][ROWS * WIDTH], int skip) {
    struct pq_noise_watch watch = {noise, 0};
    noise->skip = skip;
    for (int p = 0; p < POINTS; p++)
        pq_noise_reference(noise, p, x[p], ROWS);
    for (int p = 0; p < POINTS; p++)
        pq_noise_compare(&watch, p, y[p], ROWS);
}

static bool near(double a, double b) {
    return fabs(a - b) < 1e-3;
}

/* 1 % too much is added at point 1 and nothing else is wrong. */
static void test_added_noise(void) {
    static float x[POINTS][ROWS * WIDTH], y[POINTS][ROWS * WIDTH];
    struct pq_noise noise;
    fill(x);
    memcpy(y, x, sizeof y);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        y[1][i] += 0.01f * x[0][i];
        y[2][i] += 0.01f * x[0][i];
    }
    CHECK_OK(pq_noise_open(&noise, 1, LAYERS, WIDTH, ROWS, &err));
    run(&noise, x, y, 1);
    run(&noise, x, y, 0);
    CHECK(noise.tokens == 2 * ROWS - 1);
    CHECK(isinf(pq_noise_stream(&noise, 0, 0)));
    CHECK(near(pq_noise_added(&noise, 0, 1), 40));
    CHECK(near(pq_noise_stream(&noise, 0, 1), 40 + 20 * log10(2)));
    CHECK(pq_noise_added(&noise, 0, 2) > 90); /* but for rounding */
    CHECK(near(pq_noise_stream(&noise, 0, 2), 40 + 20 * log10(4)));
    pq_noise_close(&noise);
}

/* A token counts by its own noise, however large it is; a first one not at all. */
static void test_tokens_count_alike(void) {
    static float x[POINTS][ROWS * WIDTH], y[POINTS][ROWS * WIDTH];
    struct pq_noise noise;
    fill(x);
    for (int p = 0; p < POINTS; p++)
        for (int i = 0; i < WIDTH; i++)
            x[p][i] *= 1000, x[p][WIDTH + i] *= 1000;
    memcpy(y, x, sizeof y);
    for (int i = 0; i < WIDTH; i++) {
        y[2][i] = 0;                     /* the first token: all is lost */
        y[2][3 * WIDTH + i] *= 1 + 0.1f; /* a small one: 1 % */
    }
    CHECK_OK(pq_noise_open(&noise, 1, LAYERS, WIDTH, ROWS, &err));
    run(&noise, x, y, 1);
    CHECK(near(pq_noise_stream(&noise, 0, 2), -10 * log10(0.01 / 3)));
    pq_noise_close(&noise);
}

/* Other embeddings: nothing is claimed. */
static void test_unknown_basis(void) {
    static float x[POINTS][ROWS * WIDTH], y[POINTS][ROWS * WIDTH];
    struct pq_noise noise;
    fill(x);
    for (int p = 0; p < POINTS; p++)
        for (int i = 0; i < ROWS * WIDTH; i++)
            y[p][i] = x[p][ROWS * WIDTH - 1 - i] + (float)(i % 7) * 20;
    CHECK_OK(pq_noise_open(&noise, 1, LAYERS, WIDTH, ROWS, &err));
    run(&noise, x, y, 1);
    CHECK(noise.model[0].alien && isnan(pq_noise_stream(&noise, 0, 2)));
    pq_noise_close(&noise);
}

static void test_worst(void) {
    enum { N = 50, VOCAB = 7 };
    static float p[N][VOCAB], q[N][VOCAB];
    struct pq_divergence d[N] = {{0}};
    struct pq_worst worst = {0};
    for (int r = 0; r < N; r++) {
        d[r].kl = r * 17 % N;
        for (int i = 0; i < VOCAB; i++) {
            p[r][i] = (float)(i == 3 ? 2 : 0);
            q[r][i] = (float)i;
        }
    }
    pq_worst_take(&worst, 100, d, p[0], q[0], 20, VOCAB);
    pq_worst_take(&worst, 120, d + 20, p[20], q[20], N - 20, VOCAB);
    CHECK(worst.n == PQ_WORST);
    for (int i = 0; i < worst.n; i++) {
        const struct pq_wrong *w = &worst.wrong[i];
        CHECK(w->kl == N - 1 - i && d[w->place - 100].kl == w->kl);
        CHECK(w->of_p[0].id == 3 && w->of_p[1].id == 0 && w->of_q[0].id == 6 && w->of_q[4].id == 2);
        CHECK(fabs(w->of_p[0].p - exp(2) / (exp(2) + 6)) < 1e-6);
        CHECK(fabs(w->of_q[0].q - (1 - exp(-1)) / (1 - exp(-7))) < 1e-6);
    }
    /* A vocabulary of two. */
    worst.n = 0;
    d[0].kl = 1;
    pq_worst_take(&worst, 0, d, p[0], q[0], 1, 2);
    CHECK(worst.n == 1 && worst.wrong[0].of_p[1].id == 1 && worst.wrong[0].of_p[2].id == -1);
}

int main(void) {
    RUN(test_added_noise);
    RUN(test_tokens_count_alike);
    RUN(test_unknown_basis);
    RUN(test_worst);
    return tap_done();
}
