/* commands.h - every command of the program. */
#ifndef PQ_PROGRAMS_COMMANDS_H
#define PQ_PROGRAMS_COMMANDS_H

#include "options.h"

extern const struct pq_command pq_command_run, pq_command_chat, pq_command_quantize,
    pq_command_bench, pq_command_eval, pq_command_report, pq_command_inspect, pq_command_logits,
    pq_command_tokenize, pq_command_fidelity, pq_command_calibrate, pq_command_pack;

#endif
