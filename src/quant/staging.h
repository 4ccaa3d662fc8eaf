/* staging.h - a directory that appears whole or not at all.
 *
 * Files go into OUT.partial, which is renamed to OUT when all of them are on the disk.  The
 * directory is locked (flock) from the first to the last moment, so that two runs cannot mix; the
 * lock ends with the process, so that what a killed run leaves is taken over by the next, and used
 * if that makes the same thing. */
#ifndef PQ_QUANT_STAGING_H
#define PQ_QUANT_STAGING_H

#include "base/status.h"

struct pq_staging {
    char *out;   /* owned: without slashes at its end */
    char *path;  /* owned: out + ".partial" */
    char *stamp; /* owned: what pq_staging_open was given */
    int fd;      /* the directory at path, locked */
};

/* Make OUT.partial, or take over a stale one.  stamp: a text that says all that the result depends
 * on.  What is there is kept if an earlier run left it under the same stamp, or else removed; NULL:
 * removed in any case.
 * PQ_EINVAL when OUT exists; PQ_EIO when its parent does not, when another run holds OUT.partial,
 * or when that holds anything that pq_staging_owns does not allow. */
enum pq_status pq_staging_open(struct pq_staging *out, const char *dir, const char *stamp,
                               struct pq_err *err);

/* Is this the name of a file that a checkpoint may consist of?  Only such files are ever removed
 * or copied: *.safetensors *.json *.txt *.md *.model *.py *.jinja LICENSE* NOTICE*. */
bool pq_staging_owns(const char *name);

/* Write a file and wait until it is on the disk. */
enum pq_status pq_staging_write(const struct pq_staging *staging, const char *name,
                                const void *data, size_t size, struct pq_err *err);

/* Rename to OUT.  Never replaces anything.  On failure all is as it was: it can be kept. */
enum pq_status pq_staging_commit(struct pq_staging *staging, struct pq_err *err);

/* Let go of OUT.partial, unless it was committed.  keep: for the next run; else it is removed. */
void pq_staging_close(struct pq_staging *staging, bool keep);

#endif
