/* options.h - the command line: a table of options, its help text and its errors.
 *
 * A command describes itself in a struct pq_command; parsing, --help and the suggestion for a
 * mistyped word all come from that one table. */
#ifndef PQ_PROGRAMS_OPTIONS_H
#define PQ_PROGRAMS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pq_option_kind {
    PQ_OPTION_FLAG,   /* bool */
    PQ_OPTION_TEXT,   /* const char *, borrowed from argv */
    PQ_OPTION_TEXTS,  /* struct pq_texts, one more each time it is given */
    PQ_OPTION_INT,    /* int, min..max */
    PQ_OPTION_FLOAT,  /* float, min..max */
    PQ_OPTION_U64,    /* uint64_t */
    PQ_OPTION_CHOICE, /* int: the index of the word among `value`, "one|two|three" */
};

enum { PQ_MAX_TEXTS = 16 };

struct pq_texts {
    const char *text[PQ_MAX_TEXTS]; /* [n] borrowed from argv */
    int n;
};

struct pq_option {
    const char *name; /* without its dashes */
    char letter;      /* short form; 0 = none */
    enum pq_option_kind kind;
    const char *value; /* what the help calls the value; a choice's words */
    size_t offset;     /* of the field in the command's struct, which holds the default */
    double min, max;   /* of a number */
    const char *help;
};

/* The row of --threads, for `int member` in struct type. */
#define PQ_THREADS_OPTION(type, member)                                                            \
    {                                                                                              \
        .name = "threads", .kind = PQ_OPTION_INT, .value = "N", .offset = offsetof(type, member),  \
        .min = 0, .max = 1024, .help = "threads to run (default 0: one per processor)"             \
    }

struct pq_command {
    const char *name;
    const char *arguments; /* "[DIR] PROMPT" */
    int least, most;       /* how many positional arguments */
    const char *summary;   /* one line */
    const char *details;   /* paragraphs below the options; may be NULL */
    const struct pq_option *options;
    int n_options;
    /* The positional arguments are put first in argv by pq_options_parse.  Returns the exit code.
     */
    int (*main)(const struct pq_command *command, int argc, char **argv);
};

/* Exit codes. */
enum { PQ_EXIT_OK = 0, PQ_EXIT_FAILURE = 1, PQ_EXIT_USAGE = 2 };

/* Parse argv [argc] (the command's own name left out) into `target`, moving the positional
 * arguments to the front of argv; *n receives their number.  True: go on.  False: leave with
 * *code, help or an error having been printed. */
bool pq_options_parse(const struct pq_command *command, int argc, char **argv, void *target, int *n,
                      int *code);
/* "panq run: <sentence>" and where the help is, on stderr; returns PQ_EXIT_USAGE. */
int pq_usage_error(const struct pq_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Which of words [n] was meant by `word`; NULL when none is near. */
const char *pq_did_you_mean(const char *word, const char *const *words, int n);

#endif
