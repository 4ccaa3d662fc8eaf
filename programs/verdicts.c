#include "verdicts.h"
#include "extract.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A program of a task, and the answers that have it. */
struct suit {
    struct pq_trial trial; /* its program is owned here */
    bool told;
    struct pq_answer *answers; /* that wait for the verdict, a list */
};

struct pq_judge {
    struct pq_court *court;
    pq_verdict_fn *verdict;
    void *user;
    struct suit **suits; /* [n] in the order of their coming */
    int n, room;
    int begun;   /* how many of them */
    int untold;  /* index of the first whose verdict has not been told */
    int waiting; /* answers */
};

enum pq_status pq_judge_open(struct pq_judge **out, const struct pq_sandbox *sandbox, int parallel,
                             pq_verdict_fn *verdict, void *user, struct pq_err *err) {
    struct pq_judge *judge = calloc(1, sizeof *judge);
    if (!judge)
        return pq_refuse(err, PQ_ENOMEM, "no memory for the verdicts");
    judge->verdict = verdict;
    judge->user = user;
    enum pq_status status = pq_court_open(&judge->court, sandbox, parallel, err);
    if (status == PQ_OK)
        *out = judge;
    else
        free(judge);
    return status;
}

void pq_judge_close(struct pq_judge *judge) {
    if (!judge)
        return;
    pq_court_close(judge->court);
    for (int i = 0; i < judge->n; i++) {
        free((char *)judge->suits[i]->trial.program);
        free(judge->suits[i]);
    }
    free(judge->suits);
    free(judge);
}

int pq_judge_waiting(const struct pq_judge *judge) {
    return judge->waiting;
}

static enum pq_status tell(struct pq_judge *judge, struct pq_answer *answer, bool passed,
                           const char *reason, struct pq_err *err) {
    answer->passed = passed;
    snprintf(answer->reason, sizeof answer->reason, "%s", reason);
    return judge->verdict(judge->user, answer, err);
}

/* The suit of the program, which it takes; a new one if the task has not had it. */
static struct suit *find_suit(struct pq_judge *judge, const struct pq_task *task, char *program) {
    for (int i = judge->n - 1; i >= 0; i--) {
        struct suit *suit = judge->suits[i];
        if (suit->trial.test == task->test && strcmp(suit->trial.program, program) == 0) {
            free(program);
            return suit;
        }
    }
    if (judge->n == judge->room) {
        int room = judge->room ? 2 * judge->room : 64;
        struct suit **suits = realloc(judge->suits, (size_t)room * sizeof *suits);
        if (!suits)
            return NULL;
        judge->suits = suits;
        judge->room = room;
    }
    struct suit *suit = calloc(1, sizeof *suit);
    if (!suit)
        return NULL;
    suit->trial = (struct pq_trial){.program = program,
                                    .entry_point = task->entry_point,
                                    .reference = task->reference,
                                    .test = task->test};
    judge->suits[judge->n++] = suit;
    return suit;
}

enum pq_status pq_judge_add(struct pq_judge *judge, struct pq_answer *answer, struct pq_err *err) {
    const struct pq_task *task = answer->task;
    const char *content = answer->reply.content;
    bool blank = content[strspn(content, " \t\r\n")] == 0;
    char *program = blank ? NULL : pq_extract_program(content, task->stub, task->entry_point);
    if (!program)
        return tell(judge, answer, false,
                    answer->reply.ended ? "the reply has no code"
                                        : "the reply was cut before any code",
                    err);
    struct suit *suit = find_suit(judge, task, program);
    if (!suit) {
        free(program);
        return pq_refuse(err, PQ_ENOMEM, "no memory for the programs");
    }
    if (suit->told)
        return tell(judge, answer, suit->trial.passed, suit->trial.reason, err);
    answer->next = suit->answers;
    suit->answers = answer;
    judge->waiting++;
    return PQ_OK;
}

static enum pq_status tell_all(struct pq_judge *judge, struct suit *suit, struct pq_err *err) {
    enum pq_status status = PQ_OK;
    suit->told = true;
    for (; suit->answers && status == PQ_OK; suit->answers = suit->answers->next) {
        judge->waiting--;
        status = tell(judge, suit->answers, suit->trial.passed, suit->trial.reason, err);
    }
    return status;
}

enum pq_status pq_judge_attend(struct pq_judge *judge, double wait, struct pq_err *err) {
    enum pq_status status = PQ_OK;
    while (status == PQ_OK && judge->begun < judge->n && pq_court_room(judge->court) > 0)
        status = pq_court_begin(judge->court, &judge->suits[judge->begun++]->trial, err);
    if (status == PQ_OK && pq_court_busy(judge->court) > 0)
        status = pq_court_attend(judge->court, wait, err);
    for (int i = judge->untold; i < judge->begun && status == PQ_OK; i++)
        if (judge->suits[i]->trial.over && !judge->suits[i]->told)
            status = tell_all(judge, judge->suits[i], err);
    while (judge->untold < judge->n && judge->suits[judge->untold]->told)
        judge->untold++;
    return status;
}
