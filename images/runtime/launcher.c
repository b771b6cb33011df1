/* The image's entry point: starts the private Python, whatever the image's environment says to dynamic loaders.
 *
 * A static program without a C library, so that it runs on FROM scratch and no loader reads LD_PRELOAD before it does.
 * Every LD_* variable is meant for the model's loader, not for ours: it is handed on as SUPERVISOR_CHILD_LD_*, and the
 * supervisor gives it back to the model under its own name. LD_LIBRARY_PATH alone stays as it is: our libraries are
 * found through DT_RPATH, which comes first, and the GPU check needs it to find the driver's.
 *
 * SIGTERM and SIGINT are held back until the supervisor has said what they do: the kernel drops them for a PID 1 that
 * has not, and a job told to stop in its first 0.1 s would never know.
 */
#define PYTHON "/supervisor/bin/python3.11"

static char *const OPTIONS[] = {
    PYTHON,
    "-I",         /* no PYTHON* variable, no current directory, no user's site-packages */
    "-S",         /* no site-packages of the image's: main.py names the only folder there is */
    "-B",         /* writes nothing into the image */
    "-X", "utf8", /* whatever the locale */
    "/supervisor/main.py",
};
static const char RENAMED[] = "SUPERVISOR_CHILD_";
static const char FAILED[] = "supervisor: cannot start " PYTHON ": this image's /supervisor folder is damaged\n";
enum { OPTION_COUNT = sizeof OPTIONS / sizeof *OPTIONS, PREFIX = sizeof RENAMED - 1, SYS_WRITE = 1, SYS_EXECVE = 59, SYS_EXIT = 60 };

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

static int hidden_from_us(const char *variable) {
    return starts_with(variable, "LD_") && !starts_with(variable, "LD_LIBRARY_PATH=");
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
    system_call(SYS_EXECVE, (long)PYTHON, command, environment);
    system_call(SYS_WRITE, 2, FAILED, (void *)(sizeof FAILED - 1));
    system_call(SYS_EXIT, 78, 0, 0);
}

__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call start\n");
