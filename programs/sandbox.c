#include "sandbox.h"
#include "report.h"
#include "sandbox_python.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMORY_LIMIT ((rlim_t)1 << 30) /* address space of a sandbox */
#define FILE_LIMIT ((rlim_t)16 << 20)  /* a file, and the tmpfs */
#define NOBODY 65534
#define PYTHON "/usr/bin/python3 -I -S -B -X utf8 -c"

enum { MAX_ARGS = 64, LOWEST_FD = 16, MAX_PARALLEL = 64 };

struct pq_sandbox {
    char bwrap[256]; /* path of the program */
    bool sized;      /* bwrap can limit a tmpfs (0.7); without it nothing is writable */
    bool no_nesting; /* bwrap can forbid further user namespaces (0.8) */
    bool as_root;    /* root makes the namespaces itself: where users may not */
    bool unsafe;     /* no bwrap at all */
    double seconds;  /* of processor time */
};

/* More time on the wall than on the processor, for a machine that does other things as well. */
#define WALL 3.0
#define GAP_SECONDS 5.0
#define START_SECONDS 60.0 /* that a sandbox may take before the program begins */

/* ---- Starting a process ---------------------------------------------------------------------- */

/* A path that bwrap must offer inside: as the link that it is here, or bound read-only. */
static int add_path(const char **argv, int n, const char *path, char link[64]) {
    struct stat info;
    ssize_t length = readlink(path, link, 63);
    if (lstat(path, &info) != 0)
        return n;
    argv[n++] = length > 0 ? "--symlink" : "--ro-bind";
    if (length > 0)
        link[length] = 0;
    argv[n++] = length > 0 ? link : path;
    argv[n++] = path;
    return n;
}

/* The words of a text, split at spaces, after argv [n]; the text is kept in `words`. */
static int add_words(const char **argv, int n, const char *text, char words[128]) {
    snprintf(words, 128, "%s", text);
    for (char *rest = NULL, *word = strtok_r(words, " ", &rest); word;
         word = strtok_r(NULL, " ", &rest))
        argv[n++] = word;
    return n;
}

/* bwrap's command line for a Python script, and the texts that it points to. */
struct command_line {
    const char *argv[MAX_ARGS];
    char links[4][64], words[6][128];
};

static void build_command(struct command_line *line, const struct pq_sandbox *sandbox,
                          const char *script) {
    static const char *const paths[4] = {"/bin", "/lib", "/lib64", "/lib32"};
    const char *texts[6] = {
        "--unshare-ipc --unshare-pid --unshare-net --unshare-uts --unshare-cgroup-try "
        "--die-with-parent --new-session",
        sandbox->as_root      ? "--cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID"
        : sandbox->no_nesting ? "--unshare-user --disable-userns"
                              : "--unshare-user",
        "--ro-bind /usr /usr --dir /dev",
        "--dev-bind /dev/null /dev/null --dev-bind /dev/urandom /dev/urandom",
        sandbox->sized ? "--perms 1777 --size 16777216 --tmpfs /tmp" : "--dir /tmp",
        "--remount-ro / --chdir /tmp " PYTHON,
    };
    int n = 0;
    if (sandbox->unsafe) {
        n = add_words(line->argv, n, PYTHON, line->words[0]);
    } else {
        line->argv[n++] = sandbox->bwrap;
        for (int i = 0; i < 4; i++)
            n = add_path(line->argv, n, paths[i], line->links[i]);
        for (int i = 0; i < 6; i++)
            n = add_words(line->argv, n, texts[i], line->words[i]);
    }
    line->argv[n++] = script;
    line->argv[n] = NULL;
    assert(n < MAX_ARGS);
}

/* more: how far the hard limit is above the soft one. */
static void limit(int resource, rlim_t value, rlim_t more) {
    struct rlimit r;
    if (getrlimit((__rlimit_resource_t)resource, &r) != 0)
        _exit(125);
    r.rlim_max = r.rlim_max < value + more ? r.rlim_max : value + more;
    r.rlim_cur = r.rlim_max < value ? r.rlim_max : value;
    if (setrlimit((__rlimit_resource_t)resource, &r) != 0)
        _exit(125);
}

/* In the child.  The raw system calls, because the C library's would look for other threads, which
 * a forked child does not have. */
static void give_up_root(void) {
    if (syscall(SYS_setgroups, 0, NULL) != 0 ||
        syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) != 0 ||
        syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) != 0)
        _exit(125);
}

/* Run argv with fds[i] as its descriptor i, and nothing else open.  cpu: seconds.  -1: no process
 * could be made. */
static pid_t spawn(const char *const *argv, const int *fds, int n, double cpu, bool keep_root) {
    static char *const no_environment[] = {NULL};
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    setpgid(0, 0); /* Ctrl-C is panq's, which lets it come to an end */
    for (int i = 0; i < n; i++)
        if (dup2(fds[i], i) != i)
            _exit(125);
    /* Whoever started panq may have left it a descriptor that is not closed on execve. */
    if (syscall(SYS_close_range, n, ~0u, 0) != 0)
        for (int fd = n; fd < 4096; fd++)
            close(fd);
    if (geteuid() == 0 && !keep_root)
        give_up_root();
    if (chdir("/") != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        _exit(125);
    limit(RLIMIT_AS, MEMORY_LIMIT, 0);
    limit(RLIMIT_FSIZE, FILE_LIMIT, 0);
    limit(RLIMIT_NOFILE, 64, 0);
    limit(RLIMIT_CORE, 0, 0);
    limit(RLIMIT_CPU, (rlim_t)ceil(cpu), 1);
    execve(argv[0], (char *const *)argv, no_environment);
    _exit(127);
}

/* ---- One trial ------------------------------------------------------------------------------- */

struct run {
    struct pq_trial *trial; /* NULL: the slot is free */
    pid_t program, test;    /* 0 = not running */
    int verdict, messages;  /* the verdict's pipe; what went to standard error */
    double deadline;
    char text[512]; /* what has come through the pipe */
    size_t length;
};

/* fd, moved out of the way of the numbers that spawn() gives.  Closes fd. */
static int high(int fd) {
    int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_FD);
    if (fd >= 0)
        close(fd);
    return moved;
}

static bool make_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    ends[0] = high(ends[0]);
    ends[1] = high(ends[1]);
    return ends[0] >= 0 && ends[1] >= 0;
}

/* A file in memory that holds json; takes the reference. */
static int job_file(json_t *json) {
    int fd = high(memfd_create("job", MFD_CLOEXEC));
    bool good = fd >= 0 && json && json_dumpfd(json, fd, JSON_ENSURE_ASCII) == 0 &&
                lseek(fd, 0, SEEK_SET) == 0;
    json_decref(json);
    if (!good && fd >= 0)
        close(fd);
    return good ? fd : -1;
}

static void close_all(int *fds, int n) {
    for (int i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void stop(pid_t *pid) {
    if (*pid > 0) {
        kill(*pid, SIGKILL); /* bwrap takes its whole PID namespace with it */
        while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    *pid = 0;
}

/* Ends whatever still runs of it, and frees the slot. */
static void end_run(struct run *run) {
    stop(&run->program);
    stop(&run->test);
    close_all((int[]){run->verdict, run->messages}, 2);
    *run = (struct run){.verdict = -1, .messages = -1};
}

static enum pq_status start_run(const struct pq_sandbox *sandbox, struct run *run,
                                struct pq_trial *trial, struct pq_err *err) {
    struct command_line line;
    enum { CALLS, CALLS_IN, RESULTS, RESULTS_IN, VERDICT, VERDICT_IN, JOB, TEST_JOB, MESSAGES, N };
    int fd[N];
    memset(fd, -1, sizeof fd);
    *run = (struct run){.trial = trial, .verdict = -1, .messages = -1};
    bool good = make_pipe(fd + CALLS) && make_pipe(fd + RESULTS) && make_pipe(fd + VERDICT);
    fd[MESSAGES] = high(memfd_create("messages", MFD_CLOEXEC));
    fd[JOB] = job_file(
        json_pack("{s:s, s:s}", "program", trial->program, "entry_point", trial->entry_point));
    fd[TEST_JOB] = job_file(json_pack("{s:s, s:s, s:s}", "reference", trial->reference, "test",
                                      trial->test, "entry_point", trial->entry_point));
    good = good && fd[MESSAGES] >= 0 && fd[JOB] >= 0 && fd[TEST_JOB] >= 0;
    if (good) {
        int program[] = {fd[JOB], fd[MESSAGES], fd[MESSAGES], fd[CALLS], fd[RESULTS_IN]};
        int test[] = {fd[TEST_JOB], fd[MESSAGES], fd[MESSAGES],
                      fd[RESULTS],  fd[CALLS_IN], fd[VERDICT_IN]};
        build_command(&line, sandbox, pq_sandbox_program);
        run->program = spawn(line.argv, program, 5, sandbox->seconds, sandbox->as_root);
        build_command(&line, sandbox, pq_sandbox_test);
        run->test = spawn(line.argv, test, 6, sandbox->seconds, sandbox->as_root);
        run->deadline = pq_seconds() + START_SECONDS;
        run->verdict = fd[VERDICT];
        run->messages = fd[MESSAGES];
        fd[VERDICT] = fd[MESSAGES] = -1;
        good = run->program > 0 && run->test > 0;
    }
    int error = errno;
    close_all(fd, N);
    if (good)
        return PQ_OK;
    end_run(run);
    return pq_refuse(err, PQ_EIO, "a sandbox cannot be started: %s", strerror(error));
}

/* What bwrap or Python said before the program began. */
static enum pq_status report_broken(const struct run *run, struct pq_err *err) {
    char said[300] = "no message";
    ssize_t n = pread(run->messages, said, sizeof said - 1, 0);
    if (n > 0)
        said[n] = 0;
    said[strcspn(said, "\n")] = 0;
    return pq_refuse(err, PQ_EIO, "the sandbox did not start: %s", said);
}

/* Read the verdict, once the test's sandbox has closed the pipe or time has run out. */
static enum pq_status conclude(const struct pq_sandbox *sandbox, struct run *run, bool late,
                               struct pq_err *err) {
    static const char ready[] = "ready\n", passed[] = "passed\n", failed[] = "failed ";
    struct pq_trial *trial = run->trial;
    run->text[run->length] = 0;
    char *word = run->text + strlen(ready);
    if (strncmp(run->text, ready, strlen(ready)) != 0 || strcmp(word, "broken\n") == 0)
        return report_broken(run, err);
    trial->over = true;
    trial->passed = !late && strcmp(word, passed) == 0;
    word[strcspn(word, "\n")] = 0;
    if (trial->passed)
        trial->reason[0] = 0;
    else if (late)
        snprintf(trial->reason, sizeof trial->reason, "ran past the limit of %g s",
                 WALL * sandbox->seconds);
    else if (strncmp(word, failed, strlen(failed)) == 0)
        snprintf(trial->reason, sizeof trial->reason, "%.150s", word + strlen(failed));
    else
        snprintf(trial->reason, sizeof trial->reason, "the test ended without a verdict");
    return PQ_OK;
}

/* ---- Many trials ----------------------------------------------------------------------------- */

struct pq_court {
    const struct pq_sandbox *sandbox; /* borrowed */
    struct run runs[MAX_PARALLEL];
    int parallel, busy;
    double looked; /* when somebody last looked at them */
};

enum pq_status pq_court_open(struct pq_court **out, const struct pq_sandbox *sandbox, int parallel,
                             struct pq_err *err) {
    struct pq_court *court = calloc(1, sizeof *court);
    if (!court)
        return pq_refuse(err, PQ_ENOMEM, "no memory for the sandboxes");
    court->sandbox = sandbox;
    court->looked = pq_seconds();
    court->parallel = parallel < 1 ? 1 : parallel > MAX_PARALLEL ? MAX_PARALLEL : parallel;
    *out = court;
    return PQ_OK;
}

void pq_court_close(struct pq_court *court) {
    for (int i = 0; court && i < court->parallel; i++)
        if (court->runs[i].trial)
            end_run(&court->runs[i]);
    free(court);
}

int pq_court_busy(const struct pq_court *court) {
    return court->busy;
}

int pq_court_room(const struct pq_court *court) {
    return court->parallel - court->busy;
}

enum pq_status pq_court_begin(struct pq_court *court, struct pq_trial *trial, struct pq_err *err) {
    int i = 0;
    assert(court->busy < court->parallel);
    while (court->runs[i].trial)
        i++;
    if (court->busy == 0)
        court->looked = pq_seconds();
    enum pq_status status = start_run(court->sandbox, &court->runs[i], trial, err);
    court->busy += status == PQ_OK;
    return status;
}

/* Time in which nobody looked does not count against a program: panq may have been stopped, and the
 * program with it (Ctrl-Z, a machine that sleeps).  Endless loops end by their processor time. */
static void excuse_gap(struct pq_court *court, double since) {
    double gap = pq_seconds() - since;
    for (int i = 0; i < court->parallel && gap > GAP_SECONDS; i++)
        court->runs[i].deadline += gap;
}

/* Take what has come; true at the end, or when there is more than a verdict has. */
static bool take_verdict(struct run *run, double seconds) {
    size_t room = sizeof run->text - 1 - run->length;
    ssize_t n = read(run->verdict, run->text + run->length, room);
    if (n < 0)
        return errno != EINTR;
    if (run->length == 0) /* "ready" */
        run->deadline = pq_seconds() + seconds;
    run->length += (size_t)n;
    return n == 0 || (size_t)n == room;
}

/* The run is over or late. */
static enum pq_status close_run(struct pq_court *court, struct run *run, bool late,
                                struct pq_err *err) {
    enum pq_status status = conclude(court->sandbox, run, late, err);
    end_run(run);
    court->busy--;
    return status;
}

enum pq_status pq_court_attend(struct pq_court *court, double wait, struct pq_err *err) {
    struct pollfd fds[MAX_PARALLEL];
    enum pq_status status = PQ_OK;
    excuse_gap(court, court->looked);
    double now = pq_seconds();
    for (int i = 0; i < court->parallel; i++) {
        struct run *run = &court->runs[i];
        fds[i] = (struct pollfd){.fd = run->trial ? run->verdict : -1, .events = POLLIN};
        if (run->trial && run->deadline - now < wait)
            wait = run->deadline - now;
    }
    int milliseconds = wait > 0 ? (int)ceil(wait * 1000) : 0;
    if (poll(fds, (nfds_t)court->parallel, milliseconds) < 0 && errno != EINTR)
        return pq_refuse(err, PQ_EIO, "cannot wait for the sandboxes: %s", strerror(errno));
    excuse_gap(court, now + wait);
    for (int i = 0; i < court->parallel && status == PQ_OK; i++) {
        struct run *run = &court->runs[i];
        bool over =
            run->trial && fds[i].revents && take_verdict(run, WALL * court->sandbox->seconds);
        bool late = run->trial && !over && pq_seconds() >= run->deadline;
        if (over || late)
            status = close_run(court, run, late, err);
    }
    court->looked = pq_seconds();
    return status;
}

/* ---- What this machine offers ---------------------------------------------------------------- */

/* Where PATH has the program; false: nowhere. */
static bool find_program(const char *name, char *path, size_t size) {
    const char *dir = getenv("PATH");
    for (dir = dir ? dir : "/usr/bin:/bin"; *dir; dir += strspn(dir, ":")) {
        size_t length = strcspn(dir, ":");
        int n = snprintf(path, size, "%.*s/%s", (int)length, dir, name);
        if (n > 0 && (size_t)n < size && access(path, X_OK) == 0)
            return true;
        dir += length;
    }
    return false;
}

/* Which options this bwrap has. */
static void read_features(struct pq_sandbox *sandbox) {
    const char *argv[] = {sandbox->bwrap, "--help", NULL};
    char help[16384] = "";
    int fd = high(memfd_create("help", MFD_CLOEXEC)), null = high(open("/dev/null", O_RDONLY));
    pid_t pid = fd < 0 || null < 0 ? -1 : spawn(argv, (int[]){null, fd, fd}, 3, 10, false);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    ssize_t n = pread(fd, help, sizeof help - 1, 0);
    help[n > 0 ? n : 0] = 0;
    close_all((int[]){fd, null}, 2);
    sandbox->sized = strstr(help, "--size ") != NULL;
    sandbox->no_nesting = strstr(help, "--disable-userns ") != NULL;
}

/* Judge a trivial program in this way of confining. */
static enum pq_status probe(const struct pq_sandbox *sandbox, struct pq_err *err) {
    struct pq_trial trial = {.program = "def f(x):\n    return x + 1\n",
                             .entry_point = "f",
                             .reference = "",
                             .test = "assert f(1) == 2\n"};
    struct pq_court *court = NULL;
    enum pq_status status = pq_court_open(&court, sandbox, 1, err);
    if (status == PQ_OK)
        status = pq_court_begin(court, &trial, err);
    while (status == PQ_OK && !trial.over)
        status = pq_court_attend(court, 1, err);
    pq_court_close(court);
    if (status == PQ_OK && !trial.passed)
        return pq_refuse(err, PQ_EIO, "a trivial program fails in the sandbox: %s", trial.reason);
    return status;
}

/* Weaker and weaker wants of the system: user namespaces that cannot nest, that can, and root's
 * own rights. */
static enum pq_status choose(struct pq_sandbox *sandbox, struct pq_err *err) {
    struct pq_err later;
    enum pq_status status = probe(sandbox, err);
    if (status != PQ_OK && sandbox->no_nesting) {
        sandbox->no_nesting = false;
        status = probe(sandbox, &later);
    }
    if (status != PQ_OK && geteuid() == 0) {
        sandbox->as_root = true;
        status = probe(sandbox, &later);
    }
    return status;
}

enum pq_status pq_sandbox_open(struct pq_sandbox **out, double seconds, bool unsafe,
                               struct pq_err *err) {
    static const char only[] = "generated programs run in bubblewrap only";
    static const char else_[] = "--unsafe runs them without a sandbox";
    struct pq_err reason;
    struct pq_sandbox *sandbox = calloc(1, sizeof *sandbox);
    if (!sandbox)
        return pq_refuse(err, PQ_ENOMEM, "no memory for a sandbox");
    sandbox->seconds = seconds;
    sandbox->unsafe = unsafe;
    enum pq_status status = PQ_EUNSUPPORTED;
    if (access("/usr/bin/python3", X_OK) != 0) {
        pq_refuse(err, status, "there is no /usr/bin/python3: install the package python3");
    } else if (unsafe) {
        status = probe(sandbox, err);
    } else if (!find_program("bwrap", sandbox->bwrap, sizeof sandbox->bwrap)) {
        pq_refuse(err, status,
                  "%s, and there is no bwrap in PATH: install the package bubblewrap (%s)", only,
                  else_);
    } else {
        read_features(sandbox);
        status = choose(sandbox, &reason);
        if (status != PQ_OK)
            pq_refuse(err, status,
                      "%s, and it does not work here (%.200s); allow user namespaces (sysctl "
                      "kernel.unprivileged_userns_clone=1, "
                      "kernel.apparmor_restrict_unprivileged_userns=0), or %s",
                      only, reason.text, else_);
    }
    if (status == PQ_OK)
        *out = sandbox;
    else
        free(sandbox);
    return status;
}

void pq_sandbox_close(struct pq_sandbox *sandbox) {
    free(sandbox);
}
