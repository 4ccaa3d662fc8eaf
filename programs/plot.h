/* plot.h - plots as SVG in a page of html.h. */
#ifndef PQ_PROGRAMS_PLOT_H
#define PQ_PROGRAMS_PLOT_H

#include <stdbool.h>
#include <stdio.h>

/* Values at the places of a chart; NAN leaves a place out. */
struct pq_series {
    const char *name;
    int color;                /* 0, 1, ...; the same for the same thing in every chart of a page */
    const double *y;          /* [n] >= 0 */
    const double *low, *high; /* [n] an interval around y; may be NULL */
};

struct pq_chart {
    const char *title, *note; /* note: what one should know, below the plot; may be NULL */
    const char *x_label, *y_label;
    const char *const *x; /* [n] the names of the places; evenly spaced; "" names none */
    int n;
    const struct pq_series *series; /* [n_series] */
    int n_series;
    bool percent; /* y is a share, 0 .. 1 */
    bool log_y;   /* y > 0 on a logarithmic axis */
};

/* Bars side by side at each place, with whiskers for the intervals. */
void pq_plot_bars(FILE *out, const struct pq_chart *chart);
/* A line for each series. */
void pq_plot_lines(FILE *out, const struct pq_chart *chart);

/* Rows of two counts: one grows to the left, the other to the right. */
struct pq_flips {
    const char *label;
    int lost, gained;
    const char *note; /* right of the bars */
};
void pq_plot_flips(FILE *out, const char *title, const char *note, const struct pq_flips *rows,
                   int n);

#endif
