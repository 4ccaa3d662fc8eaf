#include "loops.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool is_word(unsigned char c) {
    return c < 0x80 && (isalnum(c) || c == '_');
}

/* The end of the word that begins at p. */
static const char *word_end(const char *p) {
    const char *end = p + 1;
    unsigned char first = (unsigned char)*p;
    if (is_word(first))
        while (is_word((unsigned char)*end))
            end++;
    else if (first < 0x80)
        while (*end == *p)
            end++;
    else
        while (((unsigned char)*end & 0xc0) == 0x80)
            end++;
    return end;
}

static uint64_t hash(const char *p, const char *end) {
    uint64_t h = 0xcbf29ce484222325; /* FNV-1a */
    for (; p < end; p++)
        h = (h ^ (unsigned char)*p) * 0x100000001b3;
    return h;
}

bool pq_text_loops(const char *text) {
    uint64_t *words = malloc((strlen(text) + 1) * sizeof *words);
    int n = 0;
    bool found = false;
    if (!words)
        return false;
    for (const char *p = text; *p;) {
        const char *end = isspace((unsigned char)*p) ? p + 1 : word_end(p);
        if (!isspace((unsigned char)*p))
            words[n++] = hash(p, end);
        p = end;
    }
    for (int period = 1; period <= PQ_LOOP_LONGEST && period < n && !found; period++) {
        int least = PQ_LOOP_TIMES * period > PQ_LOOP_WORDS ? PQ_LOOP_TIMES * period : PQ_LOOP_WORDS;
        int run = period; /* words of the repetition that ends here */
        for (int i = period; i < n && !found; i++) {
            run = words[i] == words[i - period] ? run + 1 : period;
            found = run >= least;
        }
    }
    free(words);
    return found;
}
