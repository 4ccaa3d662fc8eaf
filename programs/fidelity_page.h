/* fidelity_page.h - what panq fidelity has measured, as a page (html.h). */
#ifndef PQ_PROGRAMS_FIDELITY_PAGE_H
#define PQ_PROGRAMS_FIDELITY_PAGE_H

#include "fidelity.h"

#include <stdio.h>

struct pq_fidelity_page {
    char *const *dirs;  /* [1 + models] the reference first */
    const char *source; /* the file of the text or the traces */
    const struct pq_fidelity *fidelity;
    const struct pq_fidelity_row *rows; /* [n_rows] */
    int n_rows;
    const struct pq_tokenizer *tok;
};

enum pq_status pq_fidelity_write_page(FILE *out, const struct pq_fidelity_page *page,
                                      struct pq_err *err);

#endif
