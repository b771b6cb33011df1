/* The image's entry point: starts the private Python, whatever the image's environment says to dynamic loaders.
 *
 * A static program without a C library, so that it runs on FROM scratch and no loader reads LD_PRELOAD before it does.
 *
 * First it compares /supervisor with what was built (TREE, in tree.h, which assemble.py writes). The layer is laid over
 * whatever the base has there, and Python, which runs with the job's credentials, would load what a base has planted:
 * lib/python311.zip before all else, os/__init__.py before os.py, brotli.py for urllib3. Every name counts, and of files
 * the size and the time (0), which a later layer changes; 2,000 names take some 5 ms.
 *
 * Every LD_* variable is meant for the model's loader, not for ours: it is handed on as SUPERVISOR_CHILD_LD_*, and the
 * supervisor gives it back to the model under its own name. LD_LIBRARY_PATH too: glibc looks there for the modules that
 * the image's nsswitch.conf names.
 *
 * SIGTERM and SIGINT are held back until the supervisor has said what they do: the kernel drops them for a PID 1 that
 * has not, and a job told to stop in its first 0.1 s would never know.
 */
#include "tree.h"
#define RUNTIME "/supervisor"
#define PYTHON RUNTIME "/bin/python3.11"

static char *const OPTIONS[] = {
    PYTHON,
    "-I",         /* no PYTHON* variable, no current directory, no user's site-packages */
    "-S",         /* no site-packages of the image's: main.py names the only folder there is */
    "-B",         /* writes nothing into the image */
    "-X", "utf8", /* whatever the locale */
    "/supervisor/main.py",
};
static const char RENAMED[] = "SUPERVISOR_CHILD_";
enum { OPTION_COUNT = sizeof OPTIONS / sizeof *OPTIONS, PREFIX = sizeof RENAMED - 1, TREE_COUNT = sizeof TREE / sizeof *TREE };
enum { SYS_WRITE = 1, SYS_OPEN = 2, SYS_CLOSE = 3, SYS_LSTAT = 6, SYS_EXECVE = 59, SYS_EXIT = 60, SYS_GETDENTS64 = 217 };
enum { O_FOLDER_ITSELF = 0200000 | 0400000, TYPE = 0170000, FOLDER = 0040000, FILE = 0100000 }; /* O_DIRECTORY | O_NOFOLLOW */
enum { UNFIT = 78, LONGEST_NAME = 255 };

/* What lstat fills in; the words that count by their place in it. */
struct status { unsigned long word[18]; };
enum { MODE = 3, SIZE = 6, MODIFIED = 11 };
struct entry { unsigned long inode, offset; unsigned short length; unsigned char type; char name[]; };

static char path[4096] = RUNTIME;
static unsigned long found;

static long system_call(long number, long a, const void *b, const void *c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

/* rt_sigprocmask(SIG_BLOCK, {SIGINT, SIGTERM}); machine/signals.py lets them through. */
static void hold_back_stops(void) {
    unsigned long held = 1UL << (2 - 1) | 1UL << (15 - 1);
    long result;
    __asm__ volatile("mov $8, %%r10\n\tsyscall" : "=a"(result) : "a"(14), "D"(0), "S"(&held), "d"(0)
                     : "rcx", "r10", "r11", "memory");
}

static int starts_with(const char *text, const char *prefix) {
    while (*prefix && *text == *prefix) text++, prefix++;
    return !*prefix;
}

static unsigned long length(const char *text) {
    const char *end = text;
    while (*end) end++;
    return end - text;
}

static char *append(char *to, const char *text) {
    while ((*to = *text++)) to++;
    return to;
}

static int hidden_from_us(const char *variable) { return starts_with(variable, "LD_"); }

static void write_error(const char *text) { system_call(SYS_WRITE, 2, text, (void *)length(text)); }

static void refuse(const char *what, const char *why) {
    write_error("supervisor: ");
    write_error(what);
    write_error(why);
    write_error(": build the image anew, on a base that has no " RUNTIME " of its own\n");
    system_call(SYS_EXIT, UNFIT, 0, 0);
}

/* FNV-1a, as assemble.py has it. Whoever finds a name with the hash of one of ours makes the count wrong. */
static unsigned long hashed(unsigned long hash, const void *bytes, unsigned long count) {
    for (const unsigned char *byte = bytes; count--; byte++) hash = (hash ^ *byte) * 0x100000001b3UL;
    return hash;
}

static int was_built(unsigned long hash) {
    unsigned long low = 0, high = TREE_COUNT;
    while (low < high) {
        unsigned long middle = (low + high) / 2;
        if (TREE[middle] < hash) low = middle + 1; else high = middle;
    }
    return low < TREE_COUNT && TREE[low] == hash;
}

/* Looks at everything in the folder that `path` names, up to `end`, and below. */
static void compare_folder(char *end) {
    long folder = system_call(SYS_OPEN, (long)path, (void *)O_FOLDER_ITSELF, 0), have;
    if (folder < 0) refuse(path, " cannot be read");
    char room[8192];
    while ((have = system_call(SYS_GETDENTS64, folder, room, (void *)sizeof room)) > 0) {
        struct entry *entry;
        for (char *at = room; at < room + have; at += entry->length) {
            entry = (struct entry *)at;
            if (entry->name[0] == '.' && (!entry->name[1] || (entry->name[1] == '.' && !entry->name[2]))) continue;
            if (end + LONGEST_NAME + 2 > path + sizeof path) refuse(path, " is not what was built");
            char *last = append(append(end, "/"), entry->name);
            struct status status;
            if (system_call(SYS_LSTAT, (long)path, &status, 0)) refuse(path, " cannot be read");
            unsigned long type = status.word[MODE] & TYPE, hash = hashed(0xcbf29ce484222325UL, path, last + 1 - path);
            if (type == FILE) {
                hash = hashed(hash, &status.word[SIZE], 8);
                hash = hashed(hash, &status.word[MODIFIED], 8);
            }
            if ((type != FILE && type != FOLDER) || !was_built(hash)) refuse(path, " is not what was built");
            found++;
            if (type == FOLDER) compare_folder(last);
        }
    }
    system_call(SYS_CLOSE, folder, 0, 0);
    *end = 0;
    if (have < 0) refuse(path, " cannot be read");
}

/* The kernel's start-up block: argc, argv[argc], NULL, environment, NULL. */
void start(long *block) {
    long argc = block[0];
    char **argv = (char **)(block + 1), **environment = argv + argc + 1;
    unsigned long variables = 0, room = 1;
    for (; environment[variables]; variables++)
        if (hidden_from_us(environment[variables])) room += PREFIX + length(environment[variables]) + 1;

    char *command[OPTION_COUNT + argc + 1], renamed[room], *free_space = renamed;
    long last = 0;
    for (; last < OPTION_COUNT; last++) command[last] = OPTIONS[last];
    for (long i = 1; i < argc; i++) command[last++] = argv[i];
    command[last] = 0;
    for (unsigned long i = 0; i < variables; i++) {
        if (!hidden_from_us(environment[i])) continue;
        char *end = append(append(free_space, RENAMED), environment[i]);
        environment[i] = free_space;
        free_space = end + 1;
    }

    hold_back_stops();
    compare_folder(path + sizeof RUNTIME - 1);
    if (found != TREE_COUNT) refuse(RUNTIME, " is not what was built, for it lacks files");
    system_call(SYS_EXECVE, (long)PYTHON, command, environment);
    refuse(PYTHON, " does not start");
}

__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call start\n");
