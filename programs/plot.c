#include "plot.h"
#include "html.h"

#include <math.h>
#include <string.h>

/* Of the drawing, in its own units: the page scales it. */
enum { WIDTH = 640, HEIGHT = 300, LEFT = 62, RIGHT = 16, TOP = 30, BOTTOM = 50, COLORS = 6 };

struct axis {
    double low, high, step; /* of the ticks; logarithmic: low and high are powers */
    bool log_y;
};

/* ---- The axis -------------------------------------------------------------------------------- */

/* A step of 1, 2 or 5 times a power of ten that gives at most `most` of them. */
static double nice_step(double range, int most) {
    double unit = pow(10, floor(log10(range / most)));
    for (int i = 0; i < 3; i++) {
        double step = unit * (double[]){1, 2, 5}[i];
        if (range / step <= most)
            return step;
    }
    return 10 * unit;
}

static struct axis choose_axis(const struct pq_chart *chart) {
    double least = INFINITY, most = 0;
    for (int s = 0; s < chart->n_series; s++) {
        for (int i = 0; i < chart->n; i++) {
            const struct pq_series *series = &chart->series[s];
            double high = series->high ? series->high[i] : series->y[i];
            if (!isfinite(series->y[i]))
                continue;
            most = fmax(most, high);
            least = fmin(least, series->y[i]);
        }
    }
    if (most <= 0 || !isfinite(least))
        most = least = 1;
    if (chart->log_y) {
        double low = floor(log10(fmax(least, 1e-12))), high = ceil(log10(most));
        return (struct axis){.low = low, .high = high > low ? high : low + 1, .log_y = true};
    }
    double step = nice_step(most, 5);
    double top = chart->percent && most <= 1 && most > 0.8 ? 1 : step * ceil(most / step - 1e-9);
    return (struct axis){.high = top, .step = step};
}

static double place_y(const struct axis *axis, double y) {
    double value = axis->log_y ? log10(fmax(y, 1e-300)) : y;
    double share = (value - axis->low) / (axis->high - axis->low);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);
}

static void draw_tick(FILE *out, const struct pq_chart *chart, const struct axis *axis, double y) {
    double at = place_y(axis, y);
    pq_html(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT,
            WIDTH - RIGHT, at, at);
    pq_html(out, "<text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 8, at + 4);
    if (chart->percent)
        pq_html(out, "%.0f %%</text>\n", 100 * y);
    else
        pq_html(out, "%g</text>\n", y);
}

static void draw_axis(FILE *out, const struct pq_chart *chart, const struct axis *axis) {
    if (axis->log_y) {
        for (double power = axis->low; power <= axis->high; power++)
            for (int i = 0; i < (power < axis->high && axis->high - axis->low < 3 ? 3 : 1); i++)
                draw_tick(out, chart, axis, pow(10, power) * (double[]){1, 2, 5}[i]);
    } else {
        for (int i = 0; i * axis->step <= axis->high * (1 + 1e-9); i++)
            draw_tick(out, chart, axis, i * axis->step);
    }
    double slot = (double)(WIDTH - LEFT - RIGHT) / chart->n;
    for (int i = 0; i < chart->n; i++)
        pq_html(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                LEFT + slot * (i + 0.5), HEIGHT - BOTTOM + 18, chart->x[i]);
    pq_html(out, "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
            WIDTH - RIGHT, HEIGHT - 6, chart->x_label);
}

/* ---- The frame ------------------------------------------------------------------------------- */

static void begin_svg(FILE *out, const char *title, int height) {
    pq_html(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", WIDTH, height,
            title);
}

/* The title, and which color is which, as text that wraps. */
static void begin(FILE *out, const struct pq_chart *chart) {
    pq_html(out, "<figure class=\"plot\"><h3>%s</h3>\n<p class=\"legend\">", chart->title);
    for (int s = 0; s < chart->n_series; s++)
        pq_html(out, "<span><i style=\"background:var(--c%d)\"></i>%s</span> ",
                chart->series[s].color % COLORS, chart->series[s].name);
    pq_html(out, "</p>\n");
    begin_svg(out, chart->title, HEIGHT);
    pq_html(out, "<text class=\"soft\" x=\"4\" y=\"14\">%s</text>\n", chart->y_label);
}

static void end(FILE *out, const char *note) {
    pq_html(out, "</svg>\n");
    if (note)
        pq_html(out, "<figcaption>%s</figcaption>\n", note);
    pq_html(out, "</figure>\n");
}

/* What a pointer that rests there is told. */
static void draw_title(FILE *out, const struct pq_chart *chart, int s, int i) {
    const struct pq_series *series = &chart->series[s];
    double unit = chart->percent ? 100 : 1;
    pq_html(out, "<title>%s, %s: %.4g", series->name, chart->x[i], unit * series->y[i]);
    if (series->low)
        pq_html(out, " (%.4g to %.4g)", unit * series->low[i], unit * series->high[i]);
    pq_html(out, "%s</title>", chart->percent ? " %" : "");
}

/* ---- Bars ------------------------------------------------------------------------------------ */

static void draw_bar(FILE *out, const struct pq_chart *chart, const struct axis *axis, int s, int i,
                     double x, double width) {
    const struct pq_series *series = &chart->series[s];
    double top = place_y(axis, series->y[i]), middle = x + width / 2;
    pq_html(out,
            "<g><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\" "
            "fill=\"var(--c%d)\"/>",
            x, top, width, HEIGHT - BOTTOM - top, series->color % COLORS);
    if (series->low) {
        double from = place_y(axis, series->low[i]), to = place_y(axis, series->high[i]);
        double ends[3][4] = {{middle, from, middle, to},
                             {middle - 4, from, middle + 4, from},
                             {middle - 4, to, middle + 4, to}};
        for (int e = 0; e < 3; e++)
            pq_html(out,
                    "<line class=\"whisker\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                    ends[e][0], ends[e][1], ends[e][2], ends[e][3]);
    }
    draw_title(out, chart, s, i);
    pq_html(out, "</g>\n");
}

void pq_plot_bars(FILE *out, const struct pq_chart *chart) {
    struct axis axis = choose_axis(chart);
    double slot = (double)(WIDTH - LEFT - RIGHT) / chart->n;
    double width = fmin(0.8 * slot / chart->n_series, 46);
    begin(out, chart);
    draw_axis(out, chart, &axis);
    for (int i = 0; i < chart->n; i++) {
        double x = LEFT + slot * (i + 0.5) - width * chart->n_series / 2;
        for (int s = 0; s < chart->n_series; s++)
            if (isfinite(chart->series[s].y[i]))
                draw_bar(out, chart, &axis, s, i, x + width * s + 1, width - 2);
    }
    end(out, chart->note);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

void pq_plot_lines(FILE *out, const struct pq_chart *chart) {
    struct axis axis = choose_axis(chart);
    double slot = (double)(WIDTH - LEFT - RIGHT) / chart->n;
    begin(out, chart);
    draw_axis(out, chart, &axis);
    for (int s = 0; s < chart->n_series; s++) {
        const double *y = chart->series[s].y;
        int color = chart->series[s].color % COLORS;
        /* Equal lines show as well: the later lies thinner on the earlier. */
        pq_html(out, "<path fill=\"none\" stroke-width=\"%.1f\" stroke=\"var(--c%d)\" d=\"",
                2 + 2.5 * (chart->n_series - 1 - s) / chart->n_series, color);
        for (int i = 0; i < chart->n; i++)
            if (isfinite(y[i]))
                pq_html(out, "%s%.1f %.1f", i == 0 || !isfinite(y[i - 1]) ? "M" : "L",
                        LEFT + slot * (i + 0.5), place_y(&axis, y[i]));
        pq_html(out, "\"/>\n");
        for (int i = 0; i < chart->n; i++) {
            if (!isfinite(y[i]))
                continue;
            pq_html(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"var(--c%d)\">",
                    LEFT + slot * (i + 0.5), place_y(&axis, y[i]),
                    3 + 2.0 * (chart->n_series - 1 - s) / chart->n_series, color);
            draw_title(out, chart, s, i);
            pq_html(out, "</circle>\n");
        }
    }
    end(out, chart->note);
}

/* ---- Flips ----------------------------------------------------------------------------------- */

void pq_plot_flips(FILE *out, const char *title, const char *note, const struct pq_flips *rows,
                   int n) {
    enum { ROW = 26, LABEL = 220, NOTE = 110, MIDDLE = LABEL + (WIDTH - LABEL - NOTE) / 2 };
    int most = 1;
    for (int i = 0; i < n; i++) {
        most = rows[i].lost > most ? rows[i].lost : most;
        most = rows[i].gained > most ? rows[i].gained : most;
    }
    double unit = (double)(MIDDLE - LABEL - 30) / most;
    pq_html(out, "<figure class=\"plot\"><h3>%s</h3>\n", title);
    begin_svg(out, title, 28 + ROW * n);
    pq_html(out,
            "<text x=\"%d\" y=\"14\" text-anchor=\"end\" fill=\"var(--bad)\">lost</text>"
            "<text x=\"%d\" y=\"14\">gained</text>\n",
            MIDDLE - 6, MIDDLE + 6);
    for (int i = 0; i < n; i++) {
        int y = 22 + ROW * i;
        double lost = unit * rows[i].lost, gained = unit * rows[i].gained;
        pq_html(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LABEL - 8, y + 16,
                rows[i].label);
        pq_html(out,
                "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"18\" rx=\"2\" "
                "fill=\"var(--c4)\"/><rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"18\" rx=\"2\" "
                "fill=\"var(--c2)\"/>\n",
                MIDDLE - lost, y + 2, lost, MIDDLE, y + 2, gained);
        pq_html(out,
                "<text x=\"%.1f\" y=\"%d\" text-anchor=\"end\">%d</text>"
                "<text x=\"%.1f\" y=\"%d\">%d</text>"
                "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n",
                MIDDLE - lost - 5, y + 16, rows[i].lost, MIDDLE + gained + 5, y + 16,
                rows[i].gained, WIDTH - 2, y + 16, rows[i].note);
    }
    pq_html(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"20\" y2=\"%d\"/>\n", MIDDLE, MIDDLE,
            24 + ROW * n);
    end(out, note);
}
