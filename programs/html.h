/* html.h - pages that open from disk: one file, no script, nothing fetched, light and dark.
 *
 * The page's own policy forbids scripts and every request, and every text that is printed into it
 * is escaped, so a hostile text can do nothing but be read. */
#ifndef PQ_PROGRAMS_HTML_H
#define PQ_PROGRAMS_HTML_H

#include <stdio.h>

/* The head and the style; title also as the heading, with `subtitle` below it (may be ""). */
void pq_html_begin(FILE *out, const char *title, const char *subtitle);
void pq_html_end(FILE *out);

/* printf for HTML: the format is HTML as it stands, and what %s prints is text, escaped.  It knows
 * %s, %d, %f, %g (with flags, width and precision) and %%. */
void pq_html(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The class names that the style has, beyond plain elements:
 *   <main>, <section>, <figure class="plot">, <table class="grid"> in <div class="scroll">,
 *   <p class="note">, <p class="warn">, <details>, <pre>, <span class="good|bad|mark">,
 *   <td class="n"> (a number), <tr class="first"> (of a group), <div class="cards"> of figures,
 *   <div class="facts"><div class="card"><b>the number</b> */

#endif
