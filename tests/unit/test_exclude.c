/* Tasks that must not be in calibration data: what is found, where, and what is not looked for. */
#include "exclude.h"
#include "scratch.h"
#include "tap.h"

static struct pq_err err;
static struct pq_exclusion tasks;

static const char file[] =
    "{\"task_id\": \"T/0\", \"entry_point\": \"near\", \"prompt\": \"from typing import List\\n"
    "def helper(a):\\n    \\\"\\\"\\\"Some help for it all.\\\"\\\"\\\"\\n"
    "def near(numbers: List[float], by: float):\\n    '''Are any two numbers nearer?\\n"
    "    >>> near([1, 2], 3)\\n    True'''\\n\"}\n"
    "{\"task_id\": \"T/1\", \"entry_point\": \"add\", \"prompt\": \"def add(x, y):\\n"
    "    \\\"\\\"\\\"Add two numbers x and y\\\"\\\"\\\"\\n\"}\n"
    "{\"task_id\": 3, \"text\": \"Short one.\"}\n"
    "{\"task_id\": 4, \"prompt\": \"Write a function to z\\u00e4hlen.\"}\n";

/* Whether the text is refused with this in the sentence; NULL: it is not refused. */
static bool gives(const char *text, const char *sentence) {
    err.text[0] = 0;
    enum pq_status status = pq_exclude_check(&tasks, text, strlen(text), "a text", &err);
    if (sentence ? status == PQ_EINVAL && strstr(err.text, sentence) : status == PQ_OK)
        return true;
    printf("# %s: %d, %s\n", text, status, err.text);
    return false;
}

static void test_found(void) {
    CHECK(gives("are ANY two\tnum-bers\n\nnearer", "a text: line 1 contains task T/0 of "));
    CHECK(gives("\n\nx = 1\ndef  near(numbers:List[float],\n by:float): pass",
                "line 4 contains task T/0"));
    CHECK(gives("# Add two\n# numbers x\n# and y\n", "line 1 contains task T/1"));
    CHECK(gives("Please: write a function to z\xc3\xa4hlen", "contains task 4"));
}

static void test_not_found(void) {
    CHECK(gives("", NULL));
    CHECK(gives("Are any two numbers near?", NULL));
    CHECK(gives("near([1, 2], 3)", NULL));       /* an example is no description */
    CHECK(gives("Some help for it all.", NULL)); /* nor is another function */
    CHECK(gives("def add(x, y): return x", NULL));
    CHECK(gives("Short one.", NULL));
    CHECK(gives("write a function to z\xc3\xb6hlen", NULL));
}

static void test_bad_files(void) {
    struct pq_exclusion x = {0};
    CHECK(pq_exclude_read(&x, scratch_path("absent"), &err) == PQ_EIO);
    CHECK(pq_exclude_read(&x, scratch_text("none", "\n"), &err) == PQ_EFORMAT);
    CHECK(pq_exclude_read(&x, scratch_text("other", "{\"code\": \"x\"}\n"), &err) == PQ_EFORMAT);
    CHECK(strstr(err.text, "task 1 has no \"prompt\" and no \"text\""));
    CHECK(pq_exclude_read(
              &x, scratch_text("entry", "{\"prompt\": \"def f():\", \"entry_point\": \"g\"}\n"),
              &err) == PQ_EFORMAT);
    CHECK(strstr(err.text, "does not define g"));
    CHECK(x.n == 0);
    pq_exclusion_free(&x);
}

int main(void) {
    scratch_open();
    if (pq_exclude_read(&tasks, scratch_text("tasks", file), &err) != PQ_OK) {
        printf("# %s\n", err.text);
        return 1;
    }
    RUN(test_found);
    RUN(test_not_found);
    RUN(test_bad_files);
    pq_exclusion_free(&tasks);
    return tap_done();
}
