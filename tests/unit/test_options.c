/* Parsing, ranges and suggestions of options.h. */
#include "options.h"
#include "tap.h"

#include <string.h>

#include <fcntl.h>
#include <unistd.h>

struct values {
    bool flag;
    const char *text;
    int number, choice;
    float real;
    uint64_t seed;
    struct pq_texts texts;
};

#define FIELD(member) .offset = offsetof(struct values, member)
static const struct pq_option options[] = {
    {.name = "flag", .letter = 'f', .kind = PQ_OPTION_FLAG, FIELD(flag), .help = "a flag"},
    {.name = "text", .letter = 't', .kind = PQ_OPTION_TEXT, .value = "T", FIELD(text), .help = ""},
    {.name = "number",
     .kind = PQ_OPTION_INT,
     .value = "N",
     FIELD(number),
     .min = 1,
     .max = 9,
     .help = ""},
    {.name = "real",
     .kind = PQ_OPTION_FLOAT,
     .value = "X",
     FIELD(real),
     .min = -1,
     .max = 1,
     .help = ""},
    {.name = "seed", .kind = PQ_OPTION_U64, .value = "N", FIELD(seed), .help = ""},
    {.name = "choice",
     .kind = PQ_OPTION_CHOICE,
     .value = "one|two|three",
     FIELD(choice),
     .help = ""},
    {.name = "each", .kind = PQ_OPTION_TEXTS, .value = "T", FIELD(texts), .help = ""},
};
static const struct pq_command command = {.name = "test",
                                          .arguments = "[A [B]]",
                                          .most = 2,
                                          .summary = "a test",
                                          .options = options,
                                          .n_options = sizeof options / sizeof *options};

/* What the last parse printed, and gave. */
static char printed[8192];
static struct values got;
static int n, code;
static char *rest[64];

/* Parse the words, up to a NULL, with both standard streams caught in `printed`. */
static bool parse(char **words) {
    int argc = 0, saved[2] = {dup(1), dup(2)};
    char name[] = "/tmp/pq_options_XXXXXX";
    int file = mkstemp(name);
    unlink(name);
    for (; words[argc]; argc++)
        rest[argc] = words[argc];
    fflush(stdout);
    dup2(file, 1);
    dup2(file, 2);
    got = (struct values){.choice = -1};
    bool on = pq_options_parse(&command, argc, rest, &got, &n, &code);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        dup2(saved[i], i + 1);
        close(saved[i]);
    }
    ssize_t length = pread(file, printed, sizeof printed - 1, 0);
    printed[length > 0 ? length : 0] = 0;
    close(file);
    return on;
}

#define PARSE(...) parse((char *[]){__VA_ARGS__, NULL})

static bool refused(bool on, const char *why) {
    return !on && code == PQ_EXIT_USAGE && strstr(printed, why);
}

static void test_values(void) {
    CHECK(PARSE("--flag", "--text", "a", "--number=3", "--real", "-0.5", "--seed",
                "18446744073709551615", "--choice", "three"));
    CHECK(got.flag && strcmp(got.text, "a") == 0 && got.number == 3 && got.real == -0.5f);
    CHECK(got.seed == UINT64_MAX && got.choice == 2 && n == 0);
    CHECK(PARSE("-f", "-t", "a"));
    CHECK(got.flag && strcmp(got.text, "a") == 0);
    CHECK(PARSE("-tb", "--text="));
    CHECK(strcmp(got.text, "") == 0);
}

static void test_repeated(void) {
    char *words[2 * PQ_MAX_TEXTS + 3] = {NULL};
    for (int i = 0; i <= PQ_MAX_TEXTS; i++) {
        words[2 * i] = "--each";
        words[2 * i + 1] = i ? "b" : "a";
    }
    CHECK(refused(parse(words), "--each is given more than 16 times"));
    words[2 * PQ_MAX_TEXTS] = NULL;
    CHECK(parse(words) && got.texts.n == PQ_MAX_TEXTS);
    CHECK(strcmp(got.texts.text[0], "a") == 0 && strcmp(got.texts.text[15], "b") == 0);
}

static void test_positionals(void) {
    CHECK(PARSE("a", "--flag", "-"));
    CHECK(n == 2 && got.flag && strcmp(rest[0], "a") == 0 && strcmp(rest[1], "-") == 0);
    CHECK(PARSE("--", "--flag"));
    CHECK(n == 1 && !got.flag && strcmp(rest[0], "--flag") == 0);
    CHECK(refused(PARSE("a", "b", "c"), "too many"));
}

static void test_bad_values(void) {
    CHECK(refused(PARSE("--number", "0"), "from 1 to 9, not '0'"));
    CHECK(refused(PARSE("--number", "10"), "not '10'"));
    CHECK(refused(PARSE("--number", "1.5"), "not '1.5'"));
    CHECK(refused(PARSE("--number", ""), "not ''"));
    CHECK(refused(PARSE("--number", "2x"), "not '2x'"));
    CHECK(refused(PARSE("--real", "nan"), "not 'nan'"));
    CHECK(refused(PARSE("--real", "1e999"), "not '1e999'"));
    CHECK(refused(PARSE("--seed", "-1"), "not '-1'"));
    CHECK(refused(PARSE("--seed", "18446744073709551616"), "whole number"));
    CHECK(refused(PARSE("--choice", "tw"), "one of one|two|three, not 'tw'"));
    CHECK(refused(PARSE("--text"), "needs a value"));
    CHECK(refused(PARSE("--flag=1"), "takes no value"));
}

static void test_suggestions(void) {
    CHECK(refused(PARSE("--txet", "a"), "did you mean --text?"));
    CHECK(refused(PARSE("--numbr=3"), "did you mean --number?"));
    CHECK(refused(PARSE("--cho", "one"), "did you mean --choice?"));
    CHECK(refused(PARSE("--hepl"), "did you mean --help?"));
    CHECK(refused(PARSE("--entirely-else"), "no option '--entirely-else'"));
    CHECK(!strstr(printed, "did you mean"));
    CHECK(refused(PARSE("-x"), "no option '-x'"));
}

static void test_help(void) {
    CHECK(!PARSE("--help") && code == PQ_EXIT_OK);
    for (int i = 0; i < command.n_options; i++)
        CHECK(strstr(printed, options[i].name));
    CHECK(!PARSE("a", "-h") && code == PQ_EXIT_OK);
}

int main(void) {
    RUN(test_values);
    RUN(test_repeated);
    RUN(test_positionals);
    RUN(test_bad_values);
    RUN(test_suggestions);
    RUN(test_help);
    return tap_done();
}
