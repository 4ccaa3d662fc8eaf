/* resident.h - what the process has in memory, as the system says. */
#ifndef PQ_PROGRAMS_RESIDENT_H
#define PQ_PROGRAMS_RESIDENT_H

/* In bytes; zeros where the system does not say. */
struct pq_resident {
    double own;    /* memory of its own */
    double mapped; /* pages of mapped files, which the page cache holds anyway */
    double peak;   /* the most of both that there has been */
};

struct pq_resident pq_resident_now(void);

#endif
