#include "verdicts.h"
#include "extract.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct judging {
    struct pq_trial *trials; /* [n_trials]; programs are owned here, references too */
    int n_trials;
    int *trial_of; /* [n] the trial of each answer; -1: it has no program */
};

/* Add the answer's program, unless an earlier trial of the task has the same. */
static enum pq_status add_trial(struct judging *j, const struct pq_answer *answer, int *index,
                                struct pq_err *err) {
    const struct pq_task *task = answer->task;
    const char *content = answer->reply.content;
    *index = -1;
    if (content[strspn(content, " \t\r\n")] == 0)
        return PQ_OK;
    char *reference = NULL;
    char *program = pq_extract_program(content, task->prompt, task->entry_point);
    if (!program)
        return PQ_OK; /* an empty code block */
    for (int i = 0; i < j->n_trials; i++) {
        if (j->trials[i].test == task->test && strcmp(j->trials[i].program, program) == 0) {
            free(program);
            *index = i;
            return PQ_OK;
        }
    }
    if (asprintf(&reference, "%s%s", task->prompt, task->solution) < 0) {
        free(program);
        return pq_refuse(err, PQ_ENOMEM, "no memory for the programs");
    }
    *index = j->n_trials;
    j->trials[j->n_trials++] = (struct pq_trial){.program = program,
                                                 .entry_point = task->entry_point,
                                                 .reference = reference,
                                                 .test = task->test};
    return PQ_OK;
}

static void keep_verdicts(const struct judging *j, struct pq_answer *answers, int n) {
    for (int i = 0; i < n; i++) {
        const struct pq_trial *trial = j->trial_of[i] < 0 ? NULL : &j->trials[j->trial_of[i]];
        answers[i].passed = trial && trial->passed;
        snprintf(answers[i].reason, sizeof answers[i].reason, "%s",
                 trial                    ? trial->reason
                 : answers[i].reply.ended ? "the reply has no code"
                                          : "the reply was cut before any code");
    }
}

enum pq_status pq_judge_answers(const struct pq_sandbox *sandbox, struct pq_answer *answers, int n,
                                int parallel, pq_progress_fn *progress, void *user,
                                struct pq_err *err) {
    struct judging j = {.trials = calloc((size_t)n + 1, sizeof *j.trials),
                        .trial_of = calloc((size_t)n + 1, sizeof *j.trial_of)};
    enum pq_status status = PQ_OK;
    if (!j.trials || !j.trial_of)
        status = pq_refuse(err, PQ_ENOMEM, "no memory for %d programs", n);
    for (int i = 0; i < n && status == PQ_OK; i++)
        status = add_trial(&j, &answers[i], &j.trial_of[i], err);
    if (status == PQ_OK)
        status = pq_sandbox_judge(sandbox, j.trials, j.n_trials, parallel, progress, user, err);
    if (status == PQ_OK)
        keep_verdicts(&j, answers, n);
    for (int i = 0; i < j.n_trials; i++) {
        free((char *)j.trials[i].program);
        free((char *)j.trials[i].reference);
    }
    free(j.trials);
    free(j.trial_of);
    return status;
}
