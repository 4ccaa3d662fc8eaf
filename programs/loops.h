/* loops.h - whether a text goes round in circles. */
#ifndef PQ_PROGRAMS_LOOPS_H
#define PQ_PROGRAMS_LOOPS_H

#include <stdbool.h>

enum {
    PQ_LOOP_LONGEST = 256, /* words of the n-gram that repeats */
    PQ_LOOP_TIMES = 4,     /* times that it stands in a row, at least */
    PQ_LOOP_WORDS = 64,    /* words that the repetitions make up, at least */
};

/* An n-gram loop: somewhere in the text the same n words, n <= PQ_LOOP_LONGEST, stand
 * PQ_LOOP_TIMES or more times in a row and make up PQ_LOOP_WORDS words or more.
 *
 * A word is a run of ASCII letters, digits and "_"; a run of one other ASCII character ("----" is
 * one word); or one character beyond ASCII, since Chinese does not part its words.  White space is
 * no word.  So steps that are counted ("Step 1 ...", "Step 2 ...") are no loop, and neither are
 * short tables of equal numbers. */
bool pq_text_loops(const char *text);

#endif
