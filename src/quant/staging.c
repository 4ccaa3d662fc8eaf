#include "quant/staging.h"

#include "base/map.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum pq_status refused(const char *path, const char *what, struct pq_err *err) {
    return pq_fail(err, PQ_EIO, "%s: cannot %s: %s", path, what, strerror(errno));
}

bool pq_staging_owns(const char *name) {
    static const char *const endings[] = {".safetensors", ".json", ".txt",  ".md",
                                          ".model",       ".py",   ".jinja"};
    if (name[0] == '.')
        return false;
    if (strncmp(name, "LICENSE", 7) == 0 || strncmp(name, "NOTICE", 6) == 0)
        return true;
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof endings[0]; i++)
        if (strcmp(dot, endings[i]) == 0)
            return true;
    return false;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* Remove all files of the directory or, with `only_check`, see whether that is ours to do. */
static enum pq_status empty(const struct pq_staging *staging, bool only_check, struct pq_err *err) {
    DIR *dir = opendir(staging->path);
    if (!dir)
        return refused(staging->path, "read", err);
    enum pq_status status = PQ_OK;
    const struct dirent *entry;
    while (status == PQ_OK && (entry = readdir(dir))) {
        const char *name = entry->d_name;
        struct stat st;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (!only_check && unlinkat(staging->fd, name, 0) != 0)
            status = refused(staging->path, "empty", err);
        else if (only_check && !(pq_staging_owns(name) &&
                                 fstatat(staging->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                                 S_ISREG(st.st_mode)))
            status = pq_fail(err, PQ_EIO,
                             "%s: holds %.100s, which panq did not write there: remove or rename "
                             "that directory",
                             staging->path, name);
    }
    closedir(dir);
    return status;
}

/* Is the directory that was locked still the one at the path?  The run that held it before may
 * have renamed or removed it. */
static bool still_there(const struct pq_staging *staging) {
    struct stat locked, there;
    return fstat(staging->fd, &locked) == 0 && lstat(staging->path, &there) == 0 &&
           locked.st_dev == there.st_dev && locked.st_ino == there.st_ino;
}

/* Make and lock the directory; *again when another run took it from under our hands. */
static enum pq_status acquire(struct pq_staging *staging, bool *again, struct pq_err *err) {
    *again = false;
    if (mkdir(staging->path, 0777) != 0 && errno != EEXIST)
        return refused(staging->path, "create", err);
    staging->fd = open(staging->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (staging->fd < 0 && errno == ENOENT) {
        *again = true;
        return PQ_OK;
    }
    if (staging->fd < 0)
        return refused(staging->path, "open", err);
    if (flock(staging->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? pq_fail(err, PQ_EIO, "%s: another run is writing there", staging->path)
                   : refused(staging->path, "lock", err);
    *again = !still_there(staging);
    return PQ_OK;
}

static enum pq_status check_absent(const char *path, struct pq_err *err) {
    struct stat st;
    if (lstat(path, &st) == 0)
        return pq_fail(err, PQ_EINVAL, "%s: exists already", path);
    return errno == ENOENT ? PQ_OK : refused(path, "look up", err);
}

static void let_go(struct pq_staging *staging) {
    if (staging->fd >= 0)
        close(staging->fd);
    free(staging->out);
    free(staging->path);
    free(staging->stamp);
    *staging = (struct pq_staging){.fd = -1};
}

/* Says what OUT.partial is the beginning of. */
static const char STAMP[] = "unfinished-stamp.txt";

/* Has an earlier run left its work under the same stamp? */
static bool has_stamp(const struct pq_staging *staging) {
    const char *stamp = staging->stamp;
    struct pq_map map;
    char *path = pq_path_join(staging->path, STAMP);
    bool same = path && pq_map_open(&map, path, NULL) == PQ_OK;
    if (same) {
        same = map.size == strlen(stamp) && memcmp(map.data, stamp, map.size) == 0;
        pq_map_close(&map);
    }
    free(path);
    return same;
}

static enum pq_status write_stamp(const struct pq_staging *staging, struct pq_err *err) {
    return pq_staging_write(staging, STAMP, staging->stamp, strlen(staging->stamp), err);
}

/* keep: what an earlier run has left under the same stamp. */
static enum pq_status open_named(struct pq_staging *staging, bool keep, struct pq_err *err) {
    PQ_TRY(check_absent(staging->out, err));
    for (bool again = true; again;) {
        if (staging->fd >= 0)
            close(staging->fd);
        PQ_TRY(acquire(staging, &again, err));
    }
    PQ_TRY(empty(staging, true, err));
    if (keep && has_stamp(staging))
        return PQ_OK;
    PQ_TRY(empty(staging, false, err));
    return write_stamp(staging, err);
}

enum pq_status pq_staging_open(struct pq_staging *out, const char *dir, const char *stamp,
                               struct pq_err *err) {
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    if (length == 0)
        return pq_fail(err, PQ_EINVAL, "the directory to write has an empty name");
    struct pq_staging staging = {
        .out = strndup(dir, length), .stamp = strdup(stamp ? stamp : ""), .fd = -1};
    if (!staging.out || !staging.stamp || asprintf(&staging.path, "%s.partial", staging.out) < 0) {
        free(staging.out);
        free(staging.stamp);
        return pq_fail(err, PQ_ENOMEM, "%s: out of memory", dir);
    }
    enum pq_status status = open_named(&staging, stamp != NULL, err);
    if (status != PQ_OK) {
        let_go(&staging);
        return status;
    }
    status = check_absent(staging.out, err); /* another run may just have made it */
    if (status == PQ_OK)
        *out = staging;
    else
        pq_staging_close(&staging, false);
    return status;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

enum pq_status pq_staging_write(const struct pq_staging *staging, const char *name,
                                const void *data, size_t size, struct pq_err *err) {
    int fd = openat(staging->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return pq_fail(err, PQ_EIO, "%s/%s: cannot create: %s", staging->path, name,
                       strerror(errno));
    bool good = write_all(fd, data, size) && fsync(fd) == 0;
    int reason = errno;
    close(fd);
    return good ? PQ_OK
                : pq_fail(err, PQ_EIO, "%s/%s: cannot write: %s", staging->path, name,
                          strerror(reason));
}

/* ---- The end --------------------------------------------------------------------------------- */

/* The entry in the parent must survive a power cut too. */
static void sync_parent(const char *path) {
    char *parent = strdup(path);
    if (!parent)
        return;
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = 0;
    int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(parent);
}

static enum pq_status give_name(const struct pq_staging *staging, struct pq_err *err) {
    if (unlinkat(staging->fd, STAMP, 0) != 0 || fsync(staging->fd) != 0)
        return refused(staging->path, "write", err);
    int done = renameat2(AT_FDCWD, staging->path, AT_FDCWD, staging->out, RENAME_NOREPLACE);
    /* Some file systems cannot refuse to replace; rename replaces an empty directory at most. */
    if (done != 0 && (errno == EINVAL || errno == ENOSYS))
        done = rename(staging->path, staging->out);
    return done == 0 ? PQ_OK
                     : pq_fail(err, PQ_EIO, "%s: cannot rename to %s: %s", staging->path,
                               staging->out, strerror(errno));
}

enum pq_status pq_staging_commit(struct pq_staging *staging, struct pq_err *err) {
    enum pq_status status = give_name(staging, err);
    if (status != PQ_OK) {
        write_stamp(staging, NULL);
        return status;
    }
    sync_parent(staging->out);
    let_go(staging);
    return PQ_OK;
}

void pq_staging_close(struct pq_staging *staging, bool keep) {
    if (staging->fd >= 0 && !keep && empty(staging, false, NULL) == PQ_OK)
        rmdir(staging->path);
    let_go(staging);
}
