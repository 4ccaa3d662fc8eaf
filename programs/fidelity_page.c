#include "fidelity_page.h"
#include "html.h"
#include "plot.h"
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODELS = PQ_FIDELITY_MODELS, BUCKETS = 16, NAME = 32 };

/* The last part of a directory's name. */
static const char *base_name(const char *dir) {
    const char *slash = strrchr(dir, '/');
    return slash && slash[1] ? slash + 1 : dir;
}

/* ---- The table ------------------------------------------------------------------------------- */

static void write_row(FILE *out, const char *name, const struct pq_fidelity_row *row, int model,
                      bool first) {
    const struct pq_fidelity_summary *f = &row->model[model];
    pq_html(out, first ? "<tr class=\"first\">" : "<tr>");
    pq_html(out, "<td>%s</td><td>%s</td><td>%s</td>", first ? name : "", row->mode, row->part);
    pq_html(out, "<td class=\"n\"><b>%.4g</b> <small>&plusmn; %.1g</small></td>", f->kl_mean,
            f->kl_error);
    pq_html(out, "<td class=\"n\">%.3g</td><td class=\"n\">%.3g</td>", f->kl_p99, f->kl_max);
    pq_html(out, "<td class=\"n\">%.2f %%</td><td class=\"n\">%d</td><td class=\"n\">%.4f</td>",
            100 * f->agreement, f->flips, f->top_drop);
    pq_html(out, "<td class=\"n\">%.3f <small>%+.3f</small></td><td class=\"n\">%d</td></tr>\n",
            f->ppl, f->ppl - f->reference_ppl, f->n);
}

static void write_table(FILE *out, const struct pq_fidelity_page *page) {
    pq_html(out,
            "<div class=\"scroll\"><table class=\"grid\"><thead><tr><th>checkpoint</th>"
            "<th>mode</th><th>part</th><th class=\"n\">mean KL</th>"
            "<th class=\"n\">p99</th><th class=\"n\">max</th><th class=\"n\">top-1</th>"
            "<th class=\"n\">flips</th><th class=\"n\">drop</th><th class=\"n\">perplexity</th>"
            "<th class=\"n\">tokens</th></tr></thead><tbody>\n");
    for (int m = 0; m < page->fidelity->models; m++)
        for (int i = 0; i < page->n_rows; i++)
            write_row(out, base_name(page->dirs[m + 1]), &page->rows[i], m, i == 0);
    pq_html(out,
            "</tbody></table></div>\n<p class=\"note\">KL(%s &#8214; checkpoint) in nats, with the "
            "standard error of the mean. top-1: how often the likeliest token is the same; flips: "
            "how often it is not. drop: mean fall of the probability of the reference's likeliest "
            "token. perplexity, and what it is above the reference's.</p>\n",
            base_name(page->dirs[0]));
}

/* ---- KL by size and by place ----------------------------------------------------------------- */

/* The share of predictions whose KL is more than x, for growing x. */
static void write_sizes(FILE *out, const struct pq_fidelity_page *page) {
    enum { LOW = -8, BINS = 20 }; /* two a decade, from 1e-8 on */
    const struct pq_fidelity *f = page->fidelity;
    double shares[MODELS][BINS] = {{0}};
    struct pq_series series[MODELS];
    char names[BINS][NAME];
    const char *x[BINS];
    for (int b = 0; b < BINS; b++) {
        names[b][0] = 0;
        if (!(b % 2))
            snprintf(names[b], NAME, "1e%d", LOW + b / 2);
        x[b] = names[b];
    }
    for (int m = 0; m < f->models; m++) {
        for (int i = 0; i < f->n; i++)
            for (int b = 0; b < BINS && f->divergence[m][i].kl > pow(10, LOW + b / 2.0); b++)
                shares[m][b] += 1.0 / f->n;
        for (int b = 0; b < BINS; b++)
            shares[m][b] = shares[m][b] > 0 ? shares[m][b] : NAN;
        series[m] = (struct pq_series){.name = base_name(page->dirs[m + 1]), .y = shares[m]};
    }
    pq_plot_lines(out, &(struct pq_chart){
                           .title = "How many predictions move by more",
                           .note = "Share of the predictions whose KL is above this; the mean is "
                                   "made by the few at the right.",
                           .x_label = "KL, nats",
                           .y_label = "share of predictions",
                           .x = x,
                           .n = BINS,
                           .series = series,
                           .n_series = f->models,
                           .log_y = true});
}

/* The longest sequence, in tokens. */
static int longest(const struct pq_traces *traces) {
    int most = 1;
    for (int i = 0; i < traces->n; i++)
        most = traces->trace[i].n > most ? traces->trace[i].n : most;
    return most;
}

static void write_places(FILE *out, const struct pq_fidelity_page *page) {
    const struct pq_fidelity *f = page->fidelity;
    int width = (longest(f->traces) + BUCKETS - 1) / BUCKETS;
    double kl[MODELS][BUCKETS] = {{0}}, n[BUCKETS] = {0};
    struct pq_series series[MODELS];
    char names[BUCKETS][NAME];
    const char *x[BUCKETS];
    for (int i = 0; i < f->n; i++) {
        int bucket = f->place[i].at / width;
        n[bucket]++;
        for (int m = 0; m < f->models; m++)
            kl[m][bucket] += f->divergence[m][i].kl;
    }
    for (int b = 0; b < BUCKETS; b++) {
        names[b][0] = 0;
        if (!(b % 2))
            snprintf(names[b], NAME, "%d", b * width);
        x[b] = names[b];
        for (int m = 0; m < f->models; m++)
            kl[m][b] = n[b] > 0 && kl[m][b] > 0 ? kl[m][b] / n[b] : NAN;
    }
    for (int m = 0; m < f->models; m++)
        series[m] = (struct pq_series){.name = base_name(page->dirs[m + 1]), .y = kl[m]};
    pq_plot_lines(out, &(struct pq_chart){.title = "KL along a sequence",
                                          .note = "Mean KL of the predictions that begin here.",
                                          .x_label = "position in the sequence",
                                          .y_label = "mean KL, nats",
                                          .x = x,
                                          .n = BUCKETS,
                                          .series = series,
                                          .n_series = f->models,
                                          .log_y = true});
}

/* ---- Layers and channels --------------------------------------------------------------------- */

typedef double decibels_fn(const struct pq_noise *noise, int model, int point);

static double at_least_0(double y) {
    return y < 0 ? 0 : y; /* NAN stays */
}

/* Points first, first + 2, ... as a line over the layers. */
static enum pq_status write_layers(FILE *out, const struct pq_fidelity_page *page,
                                   const char *title, const char *note, decibels_fn *decibels,
                                   int first, struct pq_err *err) {
    const struct pq_noise *noise = &page->fidelity->noise;
    int layers = noise->points / 2, models = page->fidelity->models;
    struct pq_series series[MODELS];
    double *y = calloc((size_t)models * (size_t)layers, sizeof *y);
    char(*names)[NAME] = calloc((size_t)layers, sizeof *names);
    const char **x = calloc((size_t)layers, sizeof *x);
    enum pq_status status = PQ_OK;
    if (!y || !names || !x)
        status = pq_refuse(err, PQ_ENOMEM, "no memory for a plot of %d layers", layers);
    for (int i = 0; i < layers && status == PQ_OK; i++) {
        names[i][0] = 0;
        if (!(i % (1 + layers / 12)))
            snprintf(names[i], NAME, "%d", i);
        x[i] = names[i];
        for (int m = 0; m < models; m++)
            y[m * layers + i] = at_least_0(decibels(noise, m, first + 2 * i));
    }
    for (int m = 0; m < models && status == PQ_OK; m++)
        series[m] = (struct pq_series){.name = base_name(page->dirs[m + 1]), .y = y + m * layers};
    if (status == PQ_OK)
        pq_plot_lines(out, &(struct pq_chart){.title = title,
                                              .note = note,
                                              .x_label = "layer",
                                              .y_label = "signal to noise, dB",
                                              .x = x,
                                              .n = layers,
                                              .series = series,
                                              .n_series = models});
    free(y);
    free(names);
    free(x);
    return status;
}

/* The channels with the largest shares of the noise of what a point adds. */
struct channel {
    int point, channel;
    double share;
};
enum { CHANNELS = 8 };

static int find_channels(struct channel found[CHANNELS], const struct pq_noise *noise, int model) {
    int n = 0;
    for (int point = 1; point < noise->points; point++) {
        const double *error = noise->model[model].point[point].channel;
        double sum = 0;
        for (int i = 0; i < noise->width; i++)
            sum += error[i];
        for (int i = 0; i < noise->width && sum > 0; i++) {
            struct channel c = {point, i, error[i] / sum};
            int at = n < CHANNELS ? n++ : CHANNELS;
            for (; at > 0 && c.share > found[at - 1].share; at--)
                if (at < CHANNELS)
                    found[at] = found[at - 1];
            if (at < CHANNELS)
                found[at] = c;
        }
    }
    return n;
}

static void write_channels(FILE *out, const struct pq_fidelity_page *page) {
    const struct pq_noise *noise = &page->fidelity->noise;
    pq_html(out, "<h3>Channels</h3>\n<div class=\"scroll\"><table class=\"grid\"><thead><tr><th>"
                 "checkpoint</th><th class=\"n\">layer</th><th>after</th><th class=\"n\">channel"
                 "</th><th class=\"n\">of its noise</th></tr></thead><tbody>\n");
    for (int m = 0; m < page->fidelity->models; m++) {
        struct channel found[CHANNELS] = {{0}};
        int n = find_channels(found, noise, m);
        for (int i = 0; i < n; i++) {
            pq_html(out, i ? "<tr>" : "<tr class=\"first\">");
            pq_html(out,
                    "<td>%s</td><td class=\"n\">%d</td><td>%s</td><td class=\"n\">%d</td>"
                    "<td class=\"n\">%.1f %%</td></tr>\n",
                    i ? "" : base_name(page->dirs[m + 1]), (found[i].point - 1) / 2,
                    found[i].point % 2 ? "attention" : "MLP", found[i].channel,
                    100 * found[i].share);
        }
    }
    pq_html(out,
            "</tbody></table></div>\n<p class=\"note\">The channels of the residual stream that "
            "hold most of the noise in what one attention or MLP adds; an even share would be %.2f "
            "%%.</p>\n",
            100.0 / noise->width);
}

static enum pq_status write_inside(FILE *out, const struct pq_fidelity_page *page,
                                   struct pq_err *err) {
    pq_html(out, "<section><h2>Where the noise is</h2>\n");
    if (page->fidelity->noise.points == 0) {
        pq_html(out, "<p class=\"note\">The checkpoints have other shapes.</p></section>\n");
        return PQ_OK;
    }
    pq_html(out, "<p class=\"note\">Residual streams against the reference's, turned back where a "
                 "checkpoint has rotated its own; a checkpoint whose basis is unknown has no line."
                 "</p>\n<div class=\"cards\">\n");
    enum pq_status status =
        write_layers(out, page, "The stream after a layer", NULL, pq_noise_stream, 2, err);
    if (status == PQ_OK)
        status = write_layers(out, page, "What attention adds", NULL, pq_noise_added, 1, err);
    if (status == PQ_OK)
        status = write_layers(out, page, "What the MLP adds", NULL, pq_noise_added, 2, err);
    pq_html(out, "</div>\n");
    write_channels(out, page);
    pq_html(out, "</section>\n");
    return status;
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

/* ids [n] as text, malloc'd; NULL: no memory. */
static char *text_of(const struct pq_tokenizer *tok, const int32_t *ids, int n) {
    char *text = NULL;
    size_t size;
    return pq_decode(tok, ids, n, false, &text, &size, NULL) == PQ_OK ? text : NULL;
}

/* One id, in a frame in which spaces and newlines can be seen. */
static void write_token(FILE *out, const struct pq_tokenizer *tok, int32_t id) {
    char *text = text_of(tok, &id, 1);
    pq_html(out, "<code>");
    for (const char *c = text ? text : "?"; *c; c++) {
        char one[] = {*c, 0};
        pq_html(out, "%s", *c == ' ' ? "\xe2\x90\xa3" : *c == '\n' ? "\xe2\x8f\x8e" : one);
    }
    pq_html(out, "</code>");
    free(text);
}

static void write_candidates(FILE *out, const struct pq_fidelity_page *page, const char *head,
                             const struct pq_candidate *c, int target) {
    pq_html(out,
            "<div class=\"scroll\"><table class=\"grid\"><thead><tr><th>%s</th><th "
            "class=\"n\">reference</th><th class=\"n\">checkpoint</th></tr></thead><tbody>\n",
            head);
    for (int i = 0; i < PQ_WORST_TOP && c[i].id >= 0; i++) {
        pq_html(out, "<tr><td>");
        write_token(out, page->tok, c[i].id);
        pq_html(out, "%s</td><td class=\"n\">%.2f %%</td><td class=\"n\">%.2f %%</td></tr>\n",
                c[i].id == target ? " \xe2\x86\x90 the text" : "", 100 * c[i].p, 100 * c[i].q);
    }
    pq_html(out, "</tbody></table></div>\n");
}

static void write_wrong(FILE *out, const struct pq_fidelity_page *page, const struct pq_wrong *w) {
    enum { BEFORE = 48 };
    const struct pq_place *place = &page->fidelity->place[w->place];
    const struct pq_trace *t = &page->fidelity->traces->trace[place->trace];
    int from = place->at > BEFORE ? place->at - BEFORE : 0;
    int32_t target = t->ids[place->at];
    char *before = text_of(page->tok, t->ids + from, place->at - from);
    pq_html(out, "<details><summary><b>%.3g</b> nats: ", w->kl);
    write_token(out, page->tok, w->of_p[0].id);
    pq_html(out, " from %.1f %% to %.1f %%", 100 * w->of_p[0].p, 100 * w->of_p[0].q);
    if (w->of_q[0].id != w->of_p[0].id) {
        pq_html(out, ", likeliest now ");
        write_token(out, page->tok, w->of_q[0].id);
    }
    pq_html(out,
            " <span class=\"tag\">%s, token %d of sequence %d</span></summary><div>\n"
            "<pre>%s</pre><div class=\"cards\">\n",
            pq_trace_mode_name(place->mode), place->at, place->trace + 1, before ? before : "?");
    write_candidates(out, page, "likeliest in the reference", w->of_p, target);
    write_candidates(out, page, "likeliest in the checkpoint", w->of_q, target);
    pq_html(out, "</div></div></details>\n");
    free(before);
}

static void write_tokens(FILE *out, const struct pq_fidelity_page *page) {
    const struct pq_fidelity *f = page->fidelity;
    pq_html(out, "<section><h2>Tokens that hurt most</h2>\n");
    for (int m = 0; m < f->models; m++) {
        double all = 0, worst = 0;
        for (int i = 0; i < f->n; i++)
            all += f->divergence[m][i].kl;
        for (int i = 0; i < f->worst[m].n; i++)
            worst += f->worst[m].wrong[i].kl;
        pq_html(out, "<h3>%s</h3>\n<p class=\"note\">", base_name(page->dirs[m + 1]));
        if (all > 0)
            pq_html(out, "These %d of %d predictions make %.1f %% of all KL.", f->worst[m].n, f->n,
                    100 * worst / all);
        else
            pq_html(out, "No prediction differs.");
        pq_html(out, "</p>\n");
        for (int i = 0; i < f->worst[m].n; i++)
            write_wrong(out, page, &f->worst[m].wrong[i]);
    }
    pq_html(out, "</section>\n");
}

/* ---- The page -------------------------------------------------------------------------------- */

enum pq_status pq_fidelity_write_page(FILE *out, const struct pq_fidelity_page *page,
                                      struct pq_err *err) {
    char subtitle[512];
    snprintf(subtitle, sizeof subtitle, "%d predictions in %d sequences of %s", page->fidelity->n,
             page->fidelity->traces->n, base_name(page->source));
    char title[256];
    snprintf(title, sizeof title, "Fidelity to %s", base_name(page->dirs[0]));
    pq_html_begin(out, title, subtitle);
    write_table(out, page);
    pq_html(out, "<section><h2>Where predictions move</h2>\n<div class=\"cards\">\n");
    write_sizes(out, page);
    write_places(out, page);
    pq_html(out, "</div></section>\n");
    enum pq_status status = write_inside(out, page, err);
    write_tokens(out, page);
    pq_html_end(out);
    return status;
}
