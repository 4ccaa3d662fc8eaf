#include "panq.h"
#include "tap.h"

#include <math.h>
#include <string.h>

enum { VOCAB = 50, DRAWS = 20000, MANY = 600, MANY_DRAWS = 6000 };
static struct pq_err err;
static float logits[VOCAB];
static int counts[VOCAB];
static const struct pq_sampler_options plain = {1.0f, 0, 1.0f, 1.0f, 7};

static void fill(void) {
    for (int i = 0; i < VOCAB; i++)
        logits[i] = 3.0f * sinf((float)i * 1.7f);
}

static void draw(struct pq_sampler_options options) {
    struct pq_sampler *s;
    memset(counts, 0, sizeof counts);
    CHECK_OK(pq_sampler_open(&s, VOCAB, &options, &err));
    for (int i = 0; i < DRAWS; i++)
        counts[pq_sample(s, logits, NULL, 0)]++;
    pq_sampler_close(s);
}

/* Probabilities at a temperature, restricted to the k best. */
static void probabilities(double *p, double temperature, int k) {
    double sum = 0;
    for (int i = 0; i < VOCAB; i++) {
        int better = 0;
        for (int j = 0; j < VOCAB; j++)
            better += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
        p[i] = better < k ? exp(logits[i] / temperature) : 0;
        sum += p[i];
    }
    for (int i = 0; i < VOCAB; i++)
        p[i] /= sum;
}

/* Within five standard deviations of the binomial, and the few that a rare id may be off. */
static void counts_follow(const double *p) {
    for (int i = 0; i < VOCAB; i++) {
        double deviation = sqrt(DRAWS * p[i] * (1 - p[i]));
        if (fabs(counts[i] - DRAWS * p[i]) > 5 * deviation + 3)
            FAIL("id %d was drawn %d times of %d, p = %g", i, counts[i], DRAWS, p[i]);
    }
}

static void test_temperature(void) {
    double p[VOCAB];
    fill();
    static const float temperatures[] = {0.5f, 1.0f, 2.0f};
    for (int t = 0; t < 3; t++) {
        struct pq_sampler_options o = plain;
        o.temperature = temperatures[t];
        draw(o);
        probabilities(p, temperatures[t], VOCAB);
        counts_follow(p);
    }
}

static void test_top_k(void) {
    double p[VOCAB];
    fill();
    struct pq_sampler_options o = plain;
    o.top_k = 5;
    draw(o);
    probabilities(p, 1, 5);
    counts_follow(p);
}

/* The fewest best ids whose probabilities reach p. */
static void test_top_p(void) {
    double p[VOCAB], want[VOCAB];
    fill();
    struct pq_sampler_options o = plain;
    o.top_p = 0.8f;
    draw(o);
    probabilities(p, 1, VOCAB);
    for (int k = 1; k <= VOCAB; k++) {
        double kept = 0;
        probabilities(want, 1, k);
        for (int i = 0; i < VOCAB; i++)
            kept += want[i] > 0 ? p[i] : 0;
        if (kept >= 0.8)
            break;
    }
    counts_follow(want);
}

/* Many ids that top-p drops, each too light to be looked at, together heavy: p is a share of all.
 */
static void test_top_p_is_a_share_of_all(void) {
    double want[VOCAB] = {0.40 / 0.51, 0.11 / 0.51};
    logits[0] = logf(0.40f);
    logits[1] = logf(0.11f);
    for (int i = 2; i < VOCAB; i++)
        logits[i] = logf(0.49f / (VOCAB - 2) * 0.98f);
    logits[2] = logf(0.49f / (VOCAB - 2) * (1 + 0.02f * (VOCAB - 3)));
    struct pq_sampler_options o = plain;
    o.top_p = 0.5f;
    draw(o);
    counts_follow(want);
    memset(want, 0, sizeof want);
    want[0] = 1;
    o.top_p = 0;
    draw(o);
    counts_follow(want);
}

/* Each id's probability among the fewest of the `most` best that reach p, by ranking all. */
static void expect(double *want, const float *many, int n, int most, double p) {
    double sum = 0, kept = 0;
    int rank[MANY];
    for (int i = 0; i < n; i++) {
        int better = 0;
        for (int j = 0; j < n; j++)
            better += many[j] > many[i] || (many[j] == many[i] && j < i);
        rank[better] = i;
        want[i] = 0;
    }
    for (int i = 0; i < most; i++)
        sum += exp(many[rank[i]]);
    for (int i = 0; i < most && kept < p * sum; i++)
        kept += want[rank[i]] = exp(many[rank[i]]);
    for (int i = 0; i < n; i++)
        want[i] /= kept;
}

/* More ids than are tried at first, with equals among them: none is drawn that cannot be, and the
 * others as often as they should be. */
static void test_many_ids(void) {
    static float many[MANY];
    static double want[MANY];
    static int drawn[MANY];
    static const struct {
        int top_k;
        float top_p;
    } cases[] = {{0, 0.3f},   {0, 0.9f}, {0, 0.999f},     {100, 1},
                 {100, 0.8f}, {1, 1},    {MANY + 5, 0.9f}};
    for (int i = 0; i < MANY; i++)
        many[i] = 1.5f * sinf((float)(i % (MANY / 2)) * 1.7f);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct pq_sampler_options o = plain;
        struct pq_sampler *s;
        o.top_k = cases[c].top_k;
        o.top_p = cases[c].top_p;
        expect(want, many, MANY, o.top_k > 0 && o.top_k < MANY ? o.top_k : MANY, o.top_p);
        memset(drawn, 0, sizeof drawn);
        CHECK_OK(pq_sampler_open(&s, MANY, &o, &err));
        for (int i = 0; i < MANY_DRAWS; i++)
            drawn[pq_sample(s, many, NULL, 0)]++;
        pq_sampler_close(s);
        for (int i = 0; i < MANY; i++) {
            double deviation = sqrt(MANY_DRAWS * want[i] * (1 - want[i]));
            if (want[i] == 0 ? drawn[i] > 0
                             : fabs(drawn[i] - MANY_DRAWS * want[i]) > 5 * deviation + 3)
                FAIL("case %zu: id %d was drawn %d times of %d, p = %g", c, i, drawn[i], MANY_DRAWS,
                     want[i]);
        }
    }
}

/* Whatever the logits are, an id is drawn that can be. */
static void test_logits_that_are_no_numbers(void) {
    struct pq_sampler_options o[] = {plain, plain, plain, plain};
    o[1].top_k = 3;
    o[2].top_p = 0.5f;
    o[3].temperature = 0;
    for (int i = 0; i < 4; i++) {
        fill();
        for (int j = 0; j < VOCAB; j += 2)
            logits[j] = NAN;
        draw(o[i]);
        for (int j = 0; j < VOCAB; j += 2)
            CHECK(counts[j] == 0);
        logits[7] = INFINITY;
        draw(o[i]);
        CHECK(counts[7] == DRAWS);
        for (int j = 0; j < VOCAB; j++)
            logits[j] = NAN;
        draw(o[i]);
        CHECK(counts[0] == DRAWS);
    }
}

static void test_greedy_takes_the_first_of_equals(void) {
    struct pq_sampler_options o = plain;
    o.temperature = 0;
    struct pq_sampler *s;
    CHECK_OK(pq_sampler_open(&s, VOCAB, &o, &err));
    memset(logits, 0, sizeof logits);
    logits[20] = logits[30] = 4;
    CHECK(pq_sample(s, logits, NULL, 0) == 20);
    pq_sampler_close(s);
}

/* Positive logits are divided, negative ones multiplied, once however often the id occurs. */
static void test_repetition_penalty(void) {
    struct pq_sampler_options o = plain;
    o.temperature = 0;
    o.repetition_penalty = 2;
    struct pq_sampler *s;
    CHECK_OK(pq_sampler_open(&s, VOCAB, &o, &err));
    for (int i = 0; i < VOCAB; i++)
        logits[i] = -3;
    logits[3] = 4;
    logits[9] = 2.5f;
    logits[11] = 1.9f;
    int32_t history[] = {3, 3, 3, 40}, both[] = {3, 9};
    CHECK(pq_sample(s, logits, NULL, 0) == 3);
    CHECK(pq_sample(s, logits, history, 4) == 9);
    CHECK(pq_sample(s, logits, both, 2) == 3);
    CHECK(logits[3] == 4);
    pq_sampler_close(s);
}

static void test_a_seed_is_a_stream(void) {
    fill();
    int32_t first[64];
    for (int round = 0; round < 3; round++) {
        struct pq_sampler_options o = plain;
        o.seed = round < 2 ? 42 : 43;
        struct pq_sampler *s;
        CHECK_OK(pq_sampler_open(&s, VOCAB, &o, &err));
        int same = 0;
        for (int i = 0; i < 64; i++) {
            int32_t id = pq_sample(s, logits, NULL, 0);
            same += round > 0 && id == first[i];
            if (round == 0)
                first[i] = id;
        }
        CHECK(round == 0 || (round == 1) == (same == 64));
        pq_sampler_close(s);
    }
}

static void test_bad_settings_are_refused(void) {
    struct pq_sampler *s = NULL;
    struct pq_sampler_options o = plain;
    o.temperature = -1;
    CHECK(pq_sampler_open(&s, VOCAB, &o, &err) == PQ_EINVAL && strstr(err.text, "-1"));
    o = plain;
    o.top_p = -0.1f;
    CHECK(pq_sampler_open(&s, VOCAB, &o, &err) == PQ_EINVAL);
    o.top_p = NAN;
    CHECK(pq_sampler_open(&s, VOCAB, &o, &err) == PQ_EINVAL);
    o = plain;
    o.top_k = -3;
    CHECK(pq_sampler_open(&s, VOCAB, &o, &err) == PQ_EINVAL);
    o = plain;
    o.repetition_penalty = 0;
    CHECK(pq_sampler_open(&s, VOCAB, &o, &err) == PQ_EINVAL && !s);
}

int main(void) {
    RUN(test_temperature);
    RUN(test_top_k);
    RUN(test_top_p);
    RUN(test_top_p_is_a_share_of_all);
    RUN(test_many_ids);
    RUN(test_logits_that_are_no_numbers);
    RUN(test_greedy_takes_the_first_of_equals);
    RUN(test_repetition_penalty);
    RUN(test_a_seed_is_a_stream);
    RUN(test_bad_settings_are_refused);
    return tap_done();
}
