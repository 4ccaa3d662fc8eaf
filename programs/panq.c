/* panq - low-bit inference and quantization of openPangu models: the commands. */
#include "commands.h"
#include "panq.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct pq_command *const commands[] = {
    &pq_command_run,      &pq_command_calibrate, &pq_command_chat,   &pq_command_quantize,
    &pq_command_pack,     &pq_command_bench,     &pq_command_eval,   &pq_command_report,
    &pq_command_fidelity, &pq_command_inspect,   &pq_command_logits, &pq_command_tokenize,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *out) {
    fprintf(out, "panq %s - low-bit inference and quantization of openPangu models\n\n",
            PQ_VERSION);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  panq %-9s %-22s %s\n", commands[i]->name, commands[i]->arguments,
                commands[i]->summary);
    fprintf(out, "\nDIR is a checkpoint: a directory with config.json, safetensors files and a\n"
                 "tokenizer.  run, chat, bench and eval use the built-in pangu-mini without one.\n"
                 "panq COMMAND --help tells the options of a command.\n");
}

static int unknown_command(const char *word) {
    const char *names[COMMANDS + 1];
    for (int i = 0; i < COMMANDS; i++)
        names[i] = commands[i]->name;
    names[COMMANDS] = "help";
    const char *meant = pq_did_you_mean(word, names, COMMANDS + 1);
    fprintf(stderr, "panq: no command '%s'%s%s%s (panq help lists them)\n", word,
            meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
    return PQ_EXIT_USAGE;
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return PQ_EXIT_USAGE;
    }
    const char *word = argv[1];
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(word, commands[i]->name) == 0)
            return commands[i]->main(commands[i], argc - 2, argv + 2);
    if (strcmp(word, "--version") == 0) {
        printf("panq %s\n", PQ_VERSION);
        return PQ_EXIT_OK;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        for (int i = 0; argc > 2 && i < COMMANDS; i++)
            if (strcmp(argv[2], commands[i]->name) == 0)
                return commands[i]->main(commands[i], 1, (char *[]){"--help"});
        if (argc > 2)
            return unknown_command(argv[2]);
        print_help(stdout);
        return PQ_EXIT_OK;
    }
    return unknown_command(word);
}

int main(int argc, char **argv) {
    int code = run(argc, argv);
    errno = 0;
    if (code == PQ_EXIT_OK && (fflush(stdout) != 0 || ferror(stdout)))
        return pq_error("standard output cannot be written: %s",
                        errno ? strerror(errno) : "an earlier part of it is lost");
    return code;
}
