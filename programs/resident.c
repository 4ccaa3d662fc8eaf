#include "resident.h"

#include <stdio.h>

struct pq_resident pq_resident_now(void) {
    struct pq_resident r = {0};
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file)) {
        sscanf(line, "RssAnon: %lf", &r.own);
        sscanf(line, "RssFile: %lf", &r.mapped);
        sscanf(line, "VmHWM: %lf", &r.peak);
    }
    if (file)
        fclose(file);
    return (struct pq_resident){1024 * r.own, 1024 * r.mapped, 1024 * r.peak};
}
