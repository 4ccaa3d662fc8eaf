#include "noise.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void pq_noise_close(struct pq_noise *noise) {
    for (int i = 0; noise->model && i < noise->models; i++) {
        pq_basis_close(noise->model[i].basis);
        free(noise->model[i].point);
        free(noise->model[i].channels);
    }
    free(noise->model);
    free(noise->reference);
    free(noise->turned);
    *noise = (struct pq_noise){0};
}

static bool open_model(struct pq_noise_model *model, int points, int width) {
    model->point = calloc((size_t)points, sizeof *model->point);
    model->channels = calloc((size_t)points, (size_t)width * sizeof *model->channels);
    for (int i = 0; model->point && model->channels && i < points; i++)
        model->point[i].channel = model->channels + (size_t)i * (size_t)width;
    return model->point && model->channels;
}

enum pq_status pq_noise_open(struct pq_noise *out, int models, int layers, int width, int rows,
                             struct pq_err *err) {
    struct pq_noise n = {.points = 2 * layers + 1, .width = width, .rows = rows, .models = models};
    size_t row = (size_t)rows * (size_t)width * sizeof(float);
    n.reference = malloc((size_t)n.points * row);
    n.turned = malloc(2 * row);
    n.model = calloc((size_t)models, sizeof *n.model);
    bool good = n.reference && n.turned && n.model;
    for (int i = 0; i < models && good; i++)
        good = open_model(&n.model[i], n.points, width);
    if (!good) {
        pq_noise_close(&n);
        return pq_refuse(err, PQ_ENOMEM, "no memory for the streams of %d layers", layers);
    }
    *out = n;
    return PQ_OK;
}

static float *reference_at(const struct pq_noise *n, int point) {
    return n->reference + (size_t)point * (size_t)n->rows * (size_t)n->width;
}

static float *turned_at(const struct pq_noise *n, int point) {
    return n->turned + (size_t)(point % 2) * (size_t)n->rows * (size_t)n->width;
}

void pq_noise_reference(void *user, int point, const float *x, int m) {
    struct pq_noise *n = user;
    memcpy(reference_at(n, point), x, (size_t)m * (size_t)n->width * sizeof *x);
    if (point == 0)
        n->tokens += m > n->skip ? m - n->skip : 0;
}

/* ---- Comparing ------------------------------------------------------------------------------- */

/* The noise of one token.  before_x, before_y: what the stream was; NULL: nothing. */
static double token_noise(const float *x, const float *y, const float *before_x,
                          const float *before_y, int width, double *channel) {
    double power = 0, error = 0;
    for (int i = 0; i < width; i++) {
        double a = (double)x[i] - (before_x ? (double)before_x[i] : 0);
        double b = (double)y[i] - (before_y ? (double)before_y[i] : 0);
        double square = (b - a) * (b - a);
        power += a * a;
        error += square;
        if (channel)
            channel[i] += square;
    }
    return power > 0 ? error / power : 0;
}

void pq_noise_compare(void *user, int point, const float *x, int m) {
    const struct pq_noise_watch *watch = user;
    struct pq_noise *n = watch->noise;
    struct pq_noise_model *model = &n->model[watch->model];
    size_t width = (size_t)n->width;
    float *y = turned_at(n, point);
    if (point == 0 && !model->basis && !model->alien)
        model->alien =
            pq_basis_find(&model->basis, reference_at(n, 0), x, m, n->width, NULL) != PQ_OK;
    if (model->alien)
        return;
    memcpy(y, x, (size_t)m * width * sizeof *y);
    pq_basis_undo(model->basis, y, m);
    struct pq_noise_point *p = &model->point[point];
    for (int r = n->skip; r < m; r++) {
        size_t at = (size_t)r * width;
        const float *reference = reference_at(n, point) + at;
        p->stream += token_noise(reference, y + at, NULL, NULL, n->width, NULL);
        p->added += token_noise(reference, y + at, point ? reference_at(n, point - 1) + at : NULL,
                                point ? turned_at(n, point - 1) + at : NULL, n->width, p->channel);
    }
}

static double decibels(const struct pq_noise *n, int model, double sum) {
    if (n->model[model].alien || n->tokens == 0)
        return NAN;
    return sum > 0 ? -10 * log10(sum / (double)n->tokens) : INFINITY;
}

double pq_noise_stream(const struct pq_noise *noise, int model, int point) {
    return decibels(noise, model, noise->model[model].point[point].stream);
}

double pq_noise_added(const struct pq_noise *noise, int model, int point) {
    return decibels(noise, model, noise->model[model].point[point].added);
}
