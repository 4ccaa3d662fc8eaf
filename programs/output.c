#include "output.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum pq_status pq_output_open(struct pq_output *out, const char *path, struct pq_err *err) {
    struct pq_output o = {.path = path};
    if (asprintf(&o.partial, "%s.partial", path) < 0)
        return pq_refuse(err, PQ_ENOMEM, "no memory for the name of a file");
    o.file = fopen(o.partial, "w");
    if (!o.file) {
        enum pq_status status =
            pq_refuse(err, PQ_EIO, "%s cannot be created: %s", o.partial, strerror(errno));
        free(o.partial);
        return status;
    }
    *out = o;
    return PQ_OK;
}

enum pq_status pq_output_close(struct pq_output *out, enum pq_status status, struct pq_err *err) {
    bool good = fflush(out->file) == 0 && !ferror(out->file) && fsync(fileno(out->file)) == 0;
    if ((fclose(out->file) != 0 || !good) && status == PQ_OK)
        status = pq_refuse(err, PQ_EIO, "%s cannot be written: %s", out->partial, strerror(errno));
    if (status == PQ_OK && rename(out->partial, out->path) != 0)
        status = pq_refuse(err, PQ_EIO, "%s cannot be renamed: %s", out->partial, strerror(errno));
    if (status != PQ_OK)
        unlink(out->partial);
    free(out->partial);
    *out = (struct pq_output){0};
    return status;
}
