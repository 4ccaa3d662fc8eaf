/* The report's page: every reply, task by task. */
#include "html.h"
#include "results.h"

#include <stdlib.h>
#include <string.h>

static void put_verdict(FILE *out, const json_t *row, const char *label) {
    bool passed = pq_row_true(row, "passed");
    pq_html(out, "<span class=\"tag ");
    pq_html(out, passed ? "good\">%s &#10003;" : "bad\">%s &#10007;", label);
    pq_html(out, "</span>");
}

/* How many bytes two texts have in common at their beginnings, in whole characters. */
static size_t common_bytes(const char *a, const char *b) {
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    while (n > 0 && ((unsigned char)a[n] & 0xc0) == 0x80)
        n--;
    return n;
}

/* A part of a reply; the place where it leaves the baseline's, if it does, is marked. */
static void put_part(FILE *out, const char *class, const char *text, const char *other,
                     const char *baseline) {
    size_t common = other ? common_bytes(text, other) : 0;
    bool leaves = other && strcmp(text, other) != 0;
    char *same = strndup(text, leaves ? common : strlen(text));
    pq_html(out, "<pre class=\"%s\">%s", class, same ? same : "");
    if (leaves)
        pq_html(out, "<span class=\"tag mark\">not as %s from here</span>%s", baseline,
                text + common);
    pq_html(out, "</pre>\n");
    free(same);
}

/* other: the baseline's reply to the same; NULL: there is none, or this is the baseline. */
static void put_reply(FILE *out, const struct pq_results *r, int run, const json_t *row,
                      const json_t *other) {
    const char *thinking = pq_row_text(row, "thinking"), *content = pq_row_text(row, "content");
    const char *thought = other ? pq_row_text(other, "thinking") : NULL;
    const char *answer = other ? pq_row_text(other, "content") : NULL;
    const char *baseline = r->labels[r->baselines[run]];
    bool same = other && strcmp(thinking, thought) == 0;
    pq_html(out, "<details><summary>");
    put_verdict(out, row, r->labels[run]);
    pq_html(out, " %s <small>sample %d, %d + %d tokens%s</small> %s", pq_row_text(row, "mode"),
            (int)pq_row_number(row, "sample"), (int)pq_row_number(row, "thinking_tokens"),
            (int)(pq_row_number(row, "tokens") - pq_row_number(row, "thinking_tokens")),
            strcmp(pq_row_text(row, "finish_reason"), "length") == 0 ? ", cut" : "",
            pq_row_text(row, "reason"));
    if (pq_row_true(row, "loops"))
        pq_html(out, " <span class=\"tag mark\">loop</span>");
    if (same && strcmp(content, answer) == 0)
        pq_html(out, " <small>word for word as %s</small>", baseline);
    pq_html(out, "</summary><div>\n");
    if (thinking[strspn(thinking, " \t\r\n")] || (other && !same))
        put_part(out, "thinking", thinking, thought, baseline);
    /* After another thinking, the answer is another anyway. */
    put_part(out, "", content, same ? answer : NULL, baseline);
    pq_html(out, "</div></details>\n");
}

/* Every reply to the task in the mode, or with `brief` their verdicts only. */
static void put_replies(FILE *out, const struct pq_results *r, const struct pq_result_set *set,
                        const char *task, const char *mode, bool brief) {
    bool more = true;
    for (int sample = 0; more; sample++) {
        more = false;
        for (int k = 0; k < set->n_runs; k++) {
            int run = set->runs[k], baseline = r->baselines[run];
            const json_t *row = pq_run_row(&r->runs[run], task, mode, sample);
            const json_t *other =
                baseline == run ? NULL : pq_run_row(&r->runs[baseline], task, mode, sample);
            more |= row != NULL;
            if (row && brief)
                put_verdict(out, row, r->labels[run]);
            else if (row)
                put_reply(out, r, run, row, other);
        }
    }
}

static const char *prompt_of(const struct pq_results *r, const struct pq_result_set *set,
                             const char *task, const char *mode) {
    for (int k = 0; k < set->n_runs; k++) {
        const json_t *row = pq_run_row(&r->runs[set->runs[k]], task, mode, 0);
        if (row)
            return pq_row_text(row, "prompt");
    }
    return "";
}

static void put_task(FILE *out, const struct pq_results *r, const struct pq_result_set *set,
                     const char *task) {
    const char *modes[PQ_RUN_MODES], *prompt = "";
    int n = pq_result_modes(r, set, modes);
    bool differs = pq_result_differs(r, set, task);
    pq_html(out, differs ? "<details class=\"flip\"><summary><b>%s</b> " : "<details><summary>%s ",
            task);
    if (differs)
        pq_html(out, "<span class=\"tag mark\">differs</span> ");
    for (int m = 0; m < n; m++) {
        pq_html(out, "<small>%s</small> ", modes[m]);
        put_replies(out, r, set, task, modes[m], true);
        prompt = *prompt ? prompt : prompt_of(r, set, task, modes[m]);
    }
    pq_html(out, "</summary><div>\n<pre>%s</pre>\n", prompt);
    for (int m = 0; m < n; m++)
        put_replies(out, r, set, task, modes[m], false);
    pq_html(out, "</div></details>\n");
}

void pq_results_html_tasks(FILE *out, const struct pq_results *r, const struct pq_result_set *set,
                           int number) {
    int differ = 0;
    for (int t = 0; t < set->n_tasks; t++)
        differ += pq_result_differs(r, set, set->tasks[t]);
    pq_html(out,
            "<section class=\"replies\"><h2>Task by task: %s</h2>\n<input type=\"checkbox\" "
            "class=\"only filter\" "
            "id=\"only%d\"> <label class=\"filter\" for=\"only%d\">only the %d on which the runs "
            "differ</label>\n<div class=\"tasks\">\n",
            set->name, number, number, differ);
    for (int t = 0; t < set->n_tasks; t++)
        put_task(out, r, set, set->tasks[t]);
    pq_html(out, "</div></section>\n");
}
