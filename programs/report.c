#include "report.h"
#include "options.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int pq_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs("panq: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return PQ_EXIT_FAILURE;
}

enum pq_status pq_refuse(struct pq_err *err, enum pq_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (err)
        vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return status;
}

double pq_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

char *pq_human_bytes(double bytes, char buf[24]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(buf, 24, "%.*f %s",
             unit == 0 || bytes >= 100 ? 0
             : bytes >= 10             ? 1
                                       : 2,
             bytes, units[unit]);
    return buf;
}

char *pq_human_time(double seconds, char buf[24]) {
    long s = seconds < 0 ? 0 : seconds > 1e8 ? 100000000 : (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buf, 24, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buf, 24, "%ld:%02ld", s / 60, s % 60);
    return buf;
}

int pq_print_json(json_t *json) {
    int failed = !json || json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(7)) != 0 ||
                 putchar('\n') == EOF || fflush(stdout) != 0;
    json_decref(json);
    return failed ? pq_error("cannot write the JSON to standard output") : PQ_EXIT_OK;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

void pq_table_add(struct pq_table *table, const char *format, ...) {
    char *text = NULL, **cells;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    cells = realloc(table->cells, (size_t)(table->n + 1) * sizeof *cells);
    assert(length >= 0 && cells);
    table->cells = cells;
    table->cells[table->n++] = text;
}

/* Characters, not bytes: UTF-8's continuation bytes take no room. */
static int width(const char *text) {
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void pq_table_print(struct pq_table *table) {
    int rows = table->n / table->columns;
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < table->columns; c++) {
            const char *cell = table->cells[r * table->columns + c];
            int widest = 0, last = c == table->columns - 1;
            for (int i = c; i < table->n; i += table->columns)
                widest = width(table->cells[i]) > widest ? width(table->cells[i]) : widest;
            int pad = widest - width(cell);
            if (c < table->left)
                printf("%s%*s%s", cell, last ? 0 : pad, "", last ? "\n" : "  ");
            else
                printf("%*s%s%s", pad, "", cell, last ? "\n" : "  ");
        }
    }
    for (int i = 0; i < table->n; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct pq_table){.columns = table->columns, .left = table->left};
}

/* ---- Progress -------------------------------------------------------------------------------- */

void pq_progress_show(struct pq_progress *progress, const char *what, double done, double total) {
    enum { BAR = 24 };
    double now = pq_seconds(), share = total > 0 ? done / total : 1;
    bool terminal = isatty(STDERR_FILENO);
    if (progress->start == 0)
        progress->start = progress->last = now;
    if (now - progress->last < (terminal ? 0.1 : 10))
        return;
    progress->last = now;
    char left[24], bar[BAR + 1];
    double remaining = share > 0 ? (now - progress->start) * (1 - share) / share : 0;
    pq_human_time(remaining, left);
    for (int i = 0; i < BAR; i++)
        bar[i] = (i + 0.5) / BAR < share ? '#' : '.';
    bar[BAR] = 0;
    if (terminal)
        fprintf(stderr, "\r\033[K[%s] %3.0f%%  %s left  %s", bar, 100 * share, left, what);
    else
        fprintf(stderr, "%3.0f%%, %s left: %s\n", 100 * share, left, what);
    fflush(stderr);
    progress->shown = terminal;
}

/* Set by Ctrl-C; a signal handler can reach nothing else. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal) {
    (void)signal;
    interrupted = 1;
}

void pq_progress_catch_interrupt(void) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART | SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
}

bool pq_progress_step(void *progress, const char *what, uint64_t done, uint64_t total) {
    pq_progress_show(progress, what, (double)done, (double)total);
    return !interrupted;
}

void pq_progress_clear(struct pq_progress *progress) {
    if (progress->shown)
        fputs("\r\033[K", stderr);
    *progress = (struct pq_progress){0};
}
