/* extract.h - the program in a model's reply.
 *
 * The rules, in order:
 *   1. Code stands in fenced blocks: a line that begins (after spaces) with three or more backticks
 *      opens one, the next line of at least as many backticks and nothing else closes it, the end
 *      of the reply too.  A fence's own indentation is taken off the lines within.
 *   2. Blocks marked python, python3 or py, and unmarked ones, count; others never do.  Blocks that
 *      define the entry point go first, then marked before unmarked, and the last among equals is
 *      taken.  So an example call or an output shown after the answer does no harm.
 *   3. A reply without such a block is code as a whole.
 *   4. Code defines the entry point when a line of it begins with "def NAME", "async def NAME",
 *      "class NAME" or "NAME =".  Then what the task's stub has before its own "def NAME"
 *      (imports, helpers) is put in front of it.  Otherwise the reply completes the stub, and all
 *      of the stub is put in front.  MBPP's tasks have an empty stub.
 *
 * The reply is what follows the thinking.  A main guard needs no rule: the program's __name__ is
 * not "__main__". */
#ifndef PQ_PROGRAMS_EXTRACT_H
#define PQ_PROGRAMS_EXTRACT_H

/* The program to judge, malloc'd; NULL when out of memory, or when the reply has no code at all
 * (nothing but white space). */
char *pq_extract_program(const char *reply, const char *stub, const char *entry_point);

#endif
