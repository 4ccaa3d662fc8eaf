#include "fidelity.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sums over traces of s = a trace's KL, n = its predictions. */
struct spread {
    int traces;
    double s, n; /* of the trace that is being added */
    double ss, sn, nn, all;
};

static void end_trace(struct spread *v) {
    v->traces += v->n > 0;
    v->ss += v->s * v->s;
    v->sn += v->s * v->n;
    v->nn += v->n * v->n;
    v->all += v->n;
    v->s = v->n = 0;
}

/* Of the mean, a ratio of sums over traces: predictions of one trace are not independent. */
static double standard_error(const struct spread *v, double mean) {
    double squares = v->ss - 2 * mean * v->sn + mean * mean * v->nn;
    if (v->traces < 2 || squares <= 0)
        return 0;
    return sqrt(squares * v->traces / (v->traces - 1)) / v->all;
}

/* Add up what is asked for; kls [n] receives every KL. */
static void add_up(struct pq_fidelity_summary *s, struct spread *v, double *kls,
                   const struct pq_fidelity *f, int model, int mode, int part) {
    for (int i = 0; i < f->n; i++) {
        const struct pq_place *p = &f->place[i];
        const struct pq_divergence *d = &f->divergence[model][i];
        if (i > 0 && p->trace != f->place[i - 1].trace)
            end_trace(v);
        if ((mode >= 0 && (int)p->mode != mode) || (part >= 0 && (int)p->part != part))
            continue;
        kls[s->n++] = d->kl;
        s->kl_mean += d->kl;
        v->s += d->kl;
        v->n++;
        s->top_drop += d->p_best - d->q_best;
        s->reference_ppl += d->p_loss;
        s->ppl += d->q_loss;
        s->flips += d->p_top != d->q_top;
    }
    end_trace(v);
}

static enum pq_status summarize(struct pq_fidelity_summary *out, const struct pq_fidelity *fidelity,
                                int model, int mode, int part, struct pq_err *err) {
    struct pq_fidelity_summary s = {0};
    struct spread spread = {0};
    double *kls = malloc((size_t)fidelity->n * sizeof *kls);
    if (!kls)
        return pq_refuse(err, PQ_ENOMEM, "no memory to sum up %d predictions", fidelity->n);
    add_up(&s, &spread, kls, fidelity, model, mode, part);
    if (s.n) {
        qsort(kls, (size_t)s.n, sizeof *kls, by_size);
        s.kl_p99 = kls[(int)ceil(0.99 * s.n) - 1];
        s.kl_max = kls[s.n - 1];
        s.kl_mean /= s.n;
        s.kl_error = standard_error(&spread, s.kl_mean);
        s.top_drop /= s.n;
        s.agreement = 1 - (double)s.flips / s.n;
        s.reference_ppl = exp(s.reference_ppl / s.n);
        s.ppl = exp(s.ppl / s.n);
    }
    free(kls);
    *out = s;
    return PQ_OK;
}

/* Every mode's parts that there are. */
static void find_parts(bool found[PQ_TRACE_MODES][PQ_FIDELITY_PARTS], const struct pq_fidelity *f) {
    for (int i = 0; i < f->n; i++)
        found[f->place[i].mode][f->place[i].part] = true;
}

enum pq_status pq_fidelity_rows(struct pq_fidelity_row rows[PQ_FIDELITY_ROWS], int *n,
                                const struct pq_fidelity *fidelity, struct pq_err *err) {
    static const char *const parts[] = {"text", "thinking", "answer"};
    bool found[PQ_TRACE_MODES][PQ_FIDELITY_PARTS] = {{false}};
    enum pq_status status = PQ_OK;
    int count = 1;
    find_parts(found, fidelity);
    rows[0] = (struct pq_fidelity_row){.mode = "all", .part = "all"};
    for (int m = 0; m < fidelity->models && status == PQ_OK; m++)
        status = summarize(&rows[0].model[m], fidelity, m, -1, -1, err);
    for (int mode = 0; mode < PQ_TRACE_MODES; mode++) {
        for (int part = 0; part < PQ_FIDELITY_PARTS; part++) {
            if (!found[mode][part])
                continue;
            struct pq_fidelity_row *row = &rows[count++];
            *row = (struct pq_fidelity_row){.mode = pq_trace_mode_name((enum pq_trace_mode)mode),
                                            .part = parts[part]};
            for (int m = 0; m < fidelity->models && status == PQ_OK; m++)
                status = summarize(&row->model[m], fidelity, m, mode, part, err);
        }
    }
    *n = count == 2 ? 1 : count; /* a single part is all there is */
    return status;
}
