/* Files of traces: what is read, and what is refused with its line. */
#include "panq.h"
#include "scratch.h"
#include "tap.h"

static struct pq_err err;

static void test_reads(void) {
    struct pq_traces t = {0};
    const char *path = scratch_text(
        "traces",
        "{\"mode\": \"slow\", \"ids\": [1, 7, 8, 9, 2], \"prompt\": 2, \"answer\": 4}\n"
        "{\"answer\": 0, \"prompt\": 0, \"ids\": [3], \"mode\": \"text\", \"of\": \"x\"}\n"
        "{\"mode\": \"no\", \"ids\": [1, 9], \"prompt\": 1, \"answer\": 1}");
    CHECK_OK(pq_traces_read(&t, path, 10, &err));
    CHECK(t.n == 3);
    CHECK(t.trace[0].mode == PQ_TRACE_SLOW && t.trace[0].n == 5 && t.trace[0].prompt == 2 &&
          t.trace[0].answer == 4 && t.trace[0].ids[4] == 2);
    CHECK(t.trace[1].mode == PQ_TRACE_TEXT && t.trace[1].n == 1 && t.trace[1].ids[0] == 3);
    CHECK(t.trace[2].mode == PQ_TRACE_NO && t.trace[2].ids[1] == 9 && t.trace[2].answer == 1);
    pq_traces_free(&t);
    CHECK(!t.trace && !t.ids);
    pq_traces_free(&t);
}

/* Many traces: the arrays grow, and the ids stay where their traces say. */
static void test_many(void) {
    enum { N = 5000 };
    struct pq_traces t = {0};
    char *text = malloc(N * 64);
    size_t used = 0;
    CHECK(text);
    for (int i = 0; i < N; i++)
        used += (size_t)sprintf(
            text + used,
            "{\"mode\": \"auto\", \"ids\": [%d, 5, 6], \"prompt\": 1, \"answer\": 3}\n", i);
    CHECK_OK(pq_traces_read(&t, scratch_write("many", text, used), N, &err));
    free(text);
    CHECK(t.n == N);
    for (int i = 0; i < N; i++)
        CHECK(t.trace[i].ids[0] == i && t.trace[i].ids[2] == 6);
    pq_traces_free(&t);
}

/* The file is refused with this in the sentence, and nothing comes out. */
static bool refused(const char *text, const char *sentence) {
    struct pq_traces t = {.n = 77};
    enum pq_status status = pq_traces_read(&t, scratch_text("bad", text), 10, &err);
    if (status == PQ_EFORMAT && strstr(err.text, sentence) && t.n == 77 && !t.trace)
        return true;
    printf("# %s gave %d, %s\n", text, status, err.text);
    return false;
}

#define GOOD "{\"mode\": \"text\", \"ids\": [1, 2], \"prompt\": 0, \"answer\": 0}\n"
static void test_hostile(void) {
    CHECK(refused("", "there are no traces in it"));
    CHECK(refused(GOOD "\n", "line 2"));
    CHECK(refused(GOOD "{", "line 2"));
    CHECK(refused("[1]\n", "line 1: the outermost JSON value is not an object"));
    CHECK(refused(GOOD GOOD "{\"mode\": \"fast\", \"ids\": [1], \"prompt\": 0, \"answer\": 0}\n",
                  "line 3: \"mode\" is slow, auto, no or text, not \"fast\""));
    CHECK(refused("{\"ids\": [1], \"prompt\": 0, \"answer\": 0}\n", "key \"mode\" is missing"));
    CHECK(refused("{\"mode\": \"text\", \"ids\": [], \"prompt\": 0, \"answer\": 0}\n",
                  "line 1: \"ids\" is not a list of ids"));
    CHECK(refused("{\"mode\": \"text\", \"ids\": 3, \"prompt\": 0, \"answer\": 0}\n",
                  "line 1: \"ids\" is not a list of ids"));
    CHECK(refused("{\"mode\": \"text\", \"ids\": [1, 10], \"prompt\": 0, \"answer\": 0}\n",
                  "line 1: id 1 is 10, outside 0 to 9"));
    CHECK(refused("{\"mode\": \"text\", \"ids\": [-1], \"prompt\": 0, \"answer\": 0}\n",
                  "id 0 is -1"));
    CHECK(refused("{\"mode\": \"text\", \"ids\": [1.0], \"prompt\": 0, \"answer\": 0}\n",
                  "id 0 is 1.0"));
    CHECK(refused("{\"mode\": \"text\", \"ids\": [18446744073709551617], \"prompt\": 0}\n",
                  "line 1"));
    CHECK(refused("{\"mode\": \"text\", \"ids\": [1, 2], \"prompt\": 1, \"answer\": 1}\n",
                  "plain text has no prompt"));
    CHECK(refused("{\"mode\": \"no\", \"ids\": [1, 2], \"prompt\": 0, \"answer\": 0}\n",
                  "a reply needs a prompt"));
    CHECK(refused("{\"mode\": \"no\", \"ids\": [1, 2], \"prompt\": 2, \"answer\": 2}\n",
                  "at least one token"));
    CHECK(refused("{\"mode\": \"no\", \"ids\": [1, 2, 3], \"prompt\": 2, \"answer\": 1}\n",
                  "key \"answer\" is 1, not an integer from 2 to 3"));
    CHECK(refused("{\"mode\": \"no\", \"ids\": [1, 2], \"prompt\": 1, \"answer\": 3}\n",
                  "key \"answer\" is 3"));
    CHECK(refused("{\"mode\": \"no\", \"ids\": [1, 2], \"prompt\": 1}\n",
                  "key \"answer\" is missing"));
}

static void test_no_file(void) {
    struct pq_traces t = {0};
    CHECK(pq_traces_read(&t, scratch_path("absent"), 10, &err) == PQ_EIO);
    CHECK(pq_traces_read(&t, scratch_dir, 10, &err) == PQ_EIO);
}

int main(void) {
    scratch_open();
    RUN(test_reads);
    RUN(test_many);
    RUN(test_hostile);
    RUN(test_no_file);
    return tap_done();
}
