/* Pages: that no text can leave its place, and that plots are drawn where they should be. */
#include "html.h"
#include "plot.h"
#include "tap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static char *text;
static size_t size;
static FILE *out;

static void open_text(void) {
    out = open_memstream(&text, &size);
}

/* Whether what was printed is `want`, or has it. */
static int is(const char *want, int whole) {
    fclose(out);
    int same = whole ? strcmp(text, want) == 0 : strstr(text, want) != NULL;
    if (!same)
        printf("# got: %.2000s\n", text);
    free(text);
    return same;
}

static void test_escapes(void) {
    open_text();
    pq_html(out, "<p title=\"%s\">%s</p>", "\" onclick='x()", "</p><script>a&&b</script>");
    CHECK(is("<p title=\"&quot; onclick=&#39;x()\">&lt;/p&gt;&lt;script&gt;a&amp;&amp;b"
             "&lt;/script&gt;</p>",
             1));
    open_text();
    pq_html(out, "%s", "a\tb\n\x1b[31m\x7f\x01 Ünï");
    CHECK(is("a\tb\n&#x241b;[31m&#x2421;&#x2401; Ünï", 1));
}

static void test_formats(void) {
    open_text();
    pq_html(out, "<b>%d</b> %05.1f %g %%: %s%%", -3, 2.25, 1e-9, "%d%s");
    CHECK(is("<b>-3</b> 002.2 1e-09 %: %d%s%", 1));
}

static void test_page(void) {
    open_text();
    pq_html_begin(out, "</title><script>", "<b>");
    pq_html_end(out);
    fflush(out);
    CHECK(strstr(text, "<script") == NULL);
    CHECK(strstr(text, "default-src 'none'") != NULL);
    CHECK(strstr(text, "http:") == NULL && strstr(text, "https:") == NULL);
    CHECK(is("<h1>&lt;/title&gt;&lt;script&gt;</h1>", 0));
}

static const char *const places[] = {"a", "<b>"};
static const double halves[] = {0.5, NAN}, lows[] = {0.25, NAN}, highs[] = {1, NAN};
static const struct pq_series one = {.name = "s<", .y = halves, .low = lows, .high = highs};
static const struct pq_chart chart = {.title = "T&",
                                      .x_label = "x",
                                      .y_label = "y",
                                      .x = places,
                                      .n = 2,
                                      .series = &one,
                                      .n_series = 1,
                                      .percent = true};

static void test_bars(void) {
    open_text();
    pq_plot_bars(out, &chart);
    fflush(out);
    /* One bar half as high as the plot of 220 units; the missing one is not drawn. */
    CHECK(strstr(text, "height=\"110.0\"") != NULL);
    CHECK(strstr(text, "nan") == NULL);
    CHECK(strstr(text, "<b>") == NULL && strstr(text, "s<,") == NULL);
    CHECK(is("<title>s&lt;, a: 50 (25 to 100) %</title>", 0));
}

static void test_lines(void) {
    struct pq_chart logarithmic = chart;
    const double y[] = {10, 1000};
    const struct pq_series series = {.name = "s", .y = y};
    logarithmic.series = &series;
    logarithmic.percent = false;
    logarithmic.log_y = true;
    open_text();
    pq_plot_lines(out, &logarithmic);
    CHECK(is("M202.5 250.0L483.5 30.0", 0));
}

static void test_flips(void) {
    const struct pq_flips rows[] = {{"w8a8 <slow>", 4, 2, "p = 0.7"}, {"w4a8", 0, 0, ""}};
    open_text();
    pq_plot_flips(out, "F", "n", rows, 2);
    fflush(out);
    CHECK(strstr(text, "w8a8 &lt;slow&gt;") != NULL);
    CHECK(strstr(text, "width=\"125.0\"") != NULL); /* lost */
    CHECK(is("width=\"62.5\"", 0));                 /* gained, half of that */
}

int main(void) {
    RUN(test_escapes);
    RUN(test_formats);
    RUN(test_page);
    RUN(test_bars);
    RUN(test_lines);
    RUN(test_flips);
    return tap_done();
}
