/* The second moments of inputs against their definition, on pangu-mini. */
#include "quant/moments.h"

#include "tap.h"

#include <math.h>
#include <string.h>

enum { SEQUENCES = 5, TOKENS = 61 };

static const int lengths[SEQUENCES] = {20, 9, 1, 30, 1};
static struct pq_err err;
static struct pq_pool *pool;
static struct pq_checkpoint *ckpt;
static struct pq_model *model;
static struct pq_stream *stream;
static float rows[TOKENS][256];

static void keep(void *user, enum pq_input input, int r, const float *x, int width) {
    (void)user, (void)input;
    memcpy(rows[r], x, (size_t)width * sizeof *x);
}

/* sum over a mode's tokens of x_i x_j, x rounded as the engine rounds it. */
static double sum_of(struct pq_range range, const bool *skip, int i, int j) {
    double sum = 0;
    for (int t = stream->first[range.first]; t < stream->first[range.first + range.n]; t++) {
        float absmax = 0;
        for (int k = 0; k < 256; k++)
            absmax = fmaxf(absmax, fabsf(rows[t][k]));
        double scale = absmax / 127.0, inverse = 127.0f / absmax;
        double a = rint(rows[t][i] * inverse) * scale, b = rint(rows[t][j] * inverse) * scale;
        sum += skip[t] ? 0 : a * b;
    }
    return sum;
}

/* The part of the rows' squares that is left out. */
static void check_share(const struct pq_moments *m, const bool *skip) {
    double all = 0, left_out = 0;
    for (int t = 0; t < TOKENS; t++)
        for (int k = 0; k < 256; k++) {
            double square = (double)rows[t][k] * rows[t][k];
            all += square;
            left_out += skip[t] ? square : 0;
        }
    CHECK(left_out > 0 && fabs(m->masked_share - left_out / all) < 1e-6);
}

static void test_definition(void) {
    const struct pq_moments_mode modes[] = {{{0, 2}, 1.0f}, {{2, 3}, 0.25f}};
    bool skip[TOKENS] = {[0] = true, [7] = true, [20] = true};
    struct pq_observer observer = {keep, NULL};
    struct pq_moments m;
    CHECK_OK(pq_moments_open(&m, stream, modes, 2, skip, NULL, 768, pool, &err));
    pq_stream_look(stream, (struct pq_range){0, SEQUENCES}, &model->layers[0], PQ_INPUT_QKV,
                   &observer);
    CHECK_OK(pq_moments_gather(&m, &model->layers[0], PQ_INPUT_QKV, NULL, &err));
    CHECK(m.seen == TOKENS && m.massive == 0);
    check_share(&m, skip);
    double mean[2] = {0, 0};
    for (int i = 0; i < 256; i++)
        for (int k = 0; k < 2; k++)
            mean[k] += sum_of(modes[k].range, skip, i, i) / 256;
    for (int i = 0; i < 256; i += 5)
        for (int j = 0; j < 256; j += 3) {
            double want = 0;
            for (int k = 0; k < 2; k++)
                want += modes[k].weight / mean[k] * sum_of(modes[k].range, skip, i, j);
            double got = m.h[i * 256 + j];
            if (!(fabs(want - got) < 2e-3 * (1 + fabs(want))))
                FAIL("H[%d][%d] is %g, not %g", i, j, got, want);
        }
    pq_moments_close(&m);
}

/* A row a thousand times as long as the others counts nothing, whatever mode it is in. */
static void test_massive(void) {
    const struct pq_moments_mode all = {{0, SEQUENCES}, 1};
    static const bool skip[TOKENS];
    struct pq_moments m;
    CHECK_OK(pq_moments_open(&m, stream, &all, 1, skip, NULL, 768, pool, &err));
    float *attention = stream->attention + 40 * 256;
    for (int i = 0; i < TOKENS * 256; i++)
        stream->attention[i] = (float)(i % 13 - 6);
    CHECK_OK(pq_moments_gather(&m, &model->layers[0], PQ_INPUT_O, NULL, &err));
    CHECK(m.massive == 0 && m.masked_share == 0);
    for (int i = 0; i < 256; i++)
        attention[i] *= 40;
    CHECK_OK(pq_moments_gather(&m, &model->layers[0], PQ_INPUT_O, NULL, &err));
    CHECK(m.massive == 1 && fabs(m.masked_share - 1600.0 / (TOKENS - 1 + 1600)) < 0.001);
    attention[3] = NAN;
    CHECK(pq_moments_gather(&m, &model->layers[0], PQ_INPUT_O, NULL, &err) == PQ_EFORMAT);
    CHECK(strstr(err.text, "token 10 of sequence 3"));
    attention[3] = 0;
    pq_moments_close(&m);
}

/* x as the engine rounds it. */
static double rounded(const float *x, int j) {
    float absmax = 0;
    for (int k = 0; k < 256; k++)
        absmax = fmaxf(absmax, fabsf(x[k]));
    return rint((double)x[j] * 127 / absmax) * absmax / 127;
}

/* C = sum of (x~ - x) x^T over rows that count, x~ the other stream's; a sample has none. */
static void test_cross(void) {
    const struct pq_moments_mode all = {{0, SEQUENCES}, 1};
    const bool skip[TOKENS] = {[3] = true};
    struct pq_exact exact = {0};
    struct pq_moments m;
    double trace = 0;
    CHECK_OK(
        pq_stream_open(&exact.stream, &model->config, model->fp, lengths, SEQUENCES, pool, &err));
    CHECK_OK(pq_moments_open(&m, stream, &all, 1, skip, &exact, 768, pool, &err));
    for (int i = 0; i < TOKENS * 256; i++) {
        stream->attention[i] = (float)(i % 13 - 6);
        exact.stream->attention[i] = stream->attention[i] + (float)(i % 7 - 3);
    }
    CHECK_OK(pq_moments_gather(&m, &model->layers[0], PQ_INPUT_O, NULL, &err));
    for (int t = 0; t < TOKENS; t++)
        for (int k = 0; k < 256 && !skip[t]; k++)
            trace += pow(rounded(stream->attention + t * 256, k), 2);
    for (int i = 0; i < 256; i += 5)
        for (int j = 0; j < 256; j += 3) {
            double want = 0, got = m.cross[i * 256 + j];
            for (int t = 0; t < TOKENS; t++) {
                const float *x = stream->attention + t * 256,
                            *y = exact.stream->attention + t * 256;
                want += skip[t] ? 0 : (y[i] - rounded(x, i)) * rounded(x, j) / (trace / 256);
            }
            if (!(fabs(want - got) < 1e-3))
                FAIL("C[%d][%d] is %g, not %g", i, j, got, want);
        }
    pq_moments_close(&m);
    pq_stream_close(exact.stream);
}

int main(void) {
    struct pq_model_options o = {.precision = PQ_PRECISION_NATIVE, .isa = PQ_ISA_COUNT - 1};
    if (pq_pool_open(&pool, 2, &err) != PQ_OK ||
        pq_checkpoint_open(&ckpt, "models/pangu-mini", &err) != PQ_OK ||
        pq_model_open(&model, ckpt, &o, pool, &err) != PQ_OK ||
        pq_stream_open(&stream, &model->config, model->fp, lengths, SEQUENCES, pool, &err) !=
            PQ_OK) {
        printf("# %s\n", err.text);
        return 1;
    }
    for (int t = 0; t < TOKENS; t++)
        pq_model_embed(model, 40 + t * 19 % 900, stream->x + t * 256);
    RUN(test_definition);
    RUN(test_massive);
    RUN(test_cross);
    pq_stream_close(stream);
    pq_model_close(model);
    pq_checkpoint_close(ckpt);
    pq_pool_close(pool);
    return tap_done();
}
