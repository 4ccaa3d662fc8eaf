#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Suggestions ----------------------------------------------------------------------------- */

static int least(int a, int b) {
    return a < b ? a : b;
}

/* Optimal string alignment distance: insert, delete, replace, or swap two neighbours, 1 each. */
static int distance(const char *a, const char *b) {
    enum { MAX = 40 };
    int d[MAX + 1][MAX + 1], n = (int)strlen(a), m = (int)strlen(b);
    if (n > MAX || m > MAX)
        return MAX;
    for (int i = 0; i <= n; i++) {
        for (int j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            d[i][j] = least(d[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
                            least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[n][m];
}

const char *pq_did_you_mean(const char *word, const char *const *words, int n) {
    const char *best = NULL;
    int length = (int)strlen(word), best_distance = 1 + least(3, (length + 1) / 2);
    for (int i = 0; i < n; i++) {
        /* The beginning of a word means that word, however long the rest is. */
        bool begins = length >= 3 && strncmp(word, words[i], (size_t)length) == 0;
        int d = begins ? 0 : distance(word, words[i]);
        if (d < best_distance) {
            best_distance = d;
            best = words[i];
        }
    }
    return best;
}

int pq_usage_error(const struct pq_command *command, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "panq %s: ", command->name);
    vfprintf(stderr, format, args);
    fprintf(stderr, " (panq %s --help tells more)\n", command->name);
    va_end(args);
    return PQ_EXIT_USAGE;
}

/* ---- Help ------------------------------------------------------------------------------------ */

static void print_help(const struct pq_command *command) {
    printf("panq %s - %s\n\n  panq %s [options] %s\n\nOptions:\n", command->name, command->summary,
           command->name, command->arguments);
    for (int i = 0; i < command->n_options; i++) {
        const struct pq_option *o = &command->options[i];
        char left[80];
        if (o->letter)
            snprintf(left, sizeof left, "-%c, --%s%s%s", o->letter, o->name, o->value ? " " : "",
                     o->value ? o->value : "");
        else
            snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
                     o->value ? o->value : "");
        if (strlen(left) > 26)
            printf("  %s\n  %-26s  %s\n", left, "", o->help);
        else
            printf("  %-26s  %s\n", left, o->help);
    }
    printf("  %-26s  %s\n", "--help", "this text");
    if (command->details)
        printf("\n%s", command->details);
}

/* ---- Values ---------------------------------------------------------------------------------- */

/* The index of word among "one|two|three"; -1 if it is none of them. */
static int choice_index(const char *choices, const char *word) {
    size_t length = strlen(word);
    for (int i = 0;; i++) {
        size_t n = strcspn(choices, "|");
        if (n == length && memcmp(choices, word, n) == 0)
            return i;
        if (choices[n] == 0)
            return -1;
        choices += n + 1;
    }
}

static bool parse_number(const struct pq_option *o, const char *text, void *field) {
    char *end;
    errno = 0;
    if (o->kind == PQ_OPTION_U64) {
        unsigned long long value = strtoull(text, &end, 10);
        if (end == text || *end || errno || strchr(text, '-'))
            return false;
        *(uint64_t *)field = value;
        return true;
    }
    double value = strtod(text, &end);
    if (end == text || *end || errno || !(value >= o->min && value <= o->max))
        return false;
    if (o->kind == PQ_OPTION_INT && value != floor(value))
        return false;
    if (o->kind == PQ_OPTION_INT)
        *(int *)field = (int)value;
    else
        *(float *)field = (float)value;
    return true;
}

static bool set_value(const struct pq_command *command, const struct pq_option *o, const char *text,
                      void *target) {
    void *field = (char *)target + o->offset;
    switch (o->kind) {
    case PQ_OPTION_FLAG:
        *(bool *)field = true;
        return true;
    case PQ_OPTION_TEXT:
        *(const char **)field = text;
        return true;
    case PQ_OPTION_TEXTS: {
        struct pq_texts *texts = field;
        if (texts->n == PQ_MAX_TEXTS) {
            pq_usage_error(command, "--%s is given more than %d times", o->name, PQ_MAX_TEXTS);
            return false;
        }
        texts->text[texts->n++] = text;
        return true;
    }
    case PQ_OPTION_CHOICE: {
        int index = choice_index(o->value, text);
        if (index < 0)
            pq_usage_error(command, "--%s takes one of %s, not '%s'", o->name, o->value, text);
        else
            *(int *)field = index;
        return index >= 0;
    }
    case PQ_OPTION_INT:
    case PQ_OPTION_FLOAT:
    case PQ_OPTION_U64:
        if (parse_number(o, text, field))
            return true;
        if (o->kind == PQ_OPTION_U64)
            pq_usage_error(command, "--%s takes a whole number, not '%s'", o->name, text);
        else
            pq_usage_error(command, "--%s takes a number from %.9g to %.9g, not '%s'", o->name,
                           o->min, o->max, text);
        return false;
    }
    return false;
}

/* ---- Parsing --------------------------------------------------------------------------------- */

static const struct pq_option *find_option(const struct pq_command *command, const char *name,
                                           size_t length, char letter) {
    for (int i = 0; i < command->n_options; i++) {
        const struct pq_option *o = &command->options[i];
        if (letter ? o->letter == letter
                   : strlen(o->name) == length && memcmp(o->name, name, length) == 0)
            return o;
    }
    return NULL;
}

static void unknown_option(const struct pq_command *command, const char *arg) {
    const char *names[64];
    int n = 0;
    names[n++] = "help";
    for (int i = 0; i < command->n_options && n < 64; i++)
        names[n++] = command->options[i].name;
    char word[64];
    const char *start = arg + strspn(arg, "-");
    snprintf(word, sizeof word, "%.*s", (int)strcspn(start, "="), start);
    const char *meant = pq_did_you_mean(word, names, n);
    if (meant)
        pq_usage_error(command, "no option '%s'; did you mean --%s?", arg, meant);
    else
        pq_usage_error(command, "no option '%s'", arg);
}

/* Take the option at argv[*i], advancing *i over its value. */
static bool parse_option(const struct pq_command *command, int argc, char **argv, int *i,
                         void *target) {
    const char *arg = argv[*i], *value = NULL;
    const struct pq_option *o;
    if (arg[1] == '-') {
        const char *equals = strchr(arg, '=');
        size_t length = equals ? (size_t)(equals - arg) - 2 : strlen(arg) - 2;
        o = find_option(command, arg + 2, length, 0);
        value = equals ? equals + 1 : NULL;
    } else {
        o = find_option(command, NULL, 0, arg[1]);
        value = arg[2] ? arg + 2 : NULL;
    }
    if (!o) {
        unknown_option(command, arg);
        return false;
    }
    if (o->kind == PQ_OPTION_FLAG && value) {
        pq_usage_error(command, "--%s takes no value", o->name);
        return false;
    }
    if (o->kind != PQ_OPTION_FLAG && !value) {
        if (*i + 1 >= argc) {
            pq_usage_error(command, "--%s needs a value, %s", o->name, o->value);
            return false;
        }
        value = argv[++*i];
    }
    return set_value(command, o, value, target);
}

bool pq_options_parse(const struct pq_command *command, int argc, char **argv, void *target, int *n,
                      int *code) {
    int kept = 0;
    bool options_end = false;
    *code = PQ_EXIT_USAGE;
    for (int i = 0; i < argc; i++) {
        if (options_end || argv[i][0] != '-' || argv[i][1] == 0) {
            argv[kept++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(command);
            *code = PQ_EXIT_OK;
            return false;
        } else if (!parse_option(command, argc, argv, &i, target)) {
            return false;
        }
    }
    if (kept < command->least || kept > command->most) {
        pq_usage_error(command, "%s; usage: panq %s [options] %s",
                       kept < command->least ? "an argument is missing"
                                             : "too many arguments (quote what belongs together)",
                       command->name, command->arguments);
        return false;
    }
    *n = kept;
    return true;
}
