/* map.h - a file mapped for reading. */
#ifndef PQ_BASE_MAP_H
#define PQ_BASE_MAP_H

#include "base/status.h"

struct pq_map {
    const unsigned char *data; /* owned mapping; NULL for an empty file */
    size_t size;
};

/* Map the regular file at path.  A file that shrinks afterwards faults: nothing can be done. */
enum pq_status pq_map_open(struct pq_map *out, const char *path, struct pq_err *err);
void pq_map_close(struct pq_map *map);
/* Tell the kernel that data [bytes] of the map will not be wanted soon: its pages leave
 * the process. */
void pq_map_forget(const struct pq_map *map, const void *data, size_t bytes);

/* Tell the kernel that data [bytes] of the map, all of it, will be wanted soon: it is read ahead,
 * in huge pages where the file system has them. */
void pq_map_expect(const struct pq_map *map, const void *data, size_t bytes);

/* dir + "/" + name, malloc'd; NULL when out of memory. */
char *pq_path_join(const char *dir, const char *name);

#endif
