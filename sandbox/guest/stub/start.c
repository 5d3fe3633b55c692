/* Become a program of the agent's. A worker of the guest starts this one by vfork, with the program's own
 * standard input, output and error, its folder and its environment, in a session of its own:
 *
 *     start FILE_BYTES OPEN_FILES COUNT CANDIDATE... WORD...
 *
 * COUNT candidates are files to try, as execvp(3) would; the words are the program's argv. What can be set
 * before execve only is set here: signals, limits, the mask of new files, the place before the out-of-memory
 * killer. When nothing can be executed, one byte goes to descriptor 3, a socket: the errno.
 *
 * It exists because a worker is large and this is not: to fork a worker takes milliseconds, to start this
 * takes a tenth of one. INVARIANT: nobody but root may read this file. So the kernel keeps the process from
 * others of the same uid (ptrace(2), PTRACE_MODE) until its limits hold.
 */

#include "machine.h"

enum { TELL = 3, HIGHEST = 1024, CLOSE_ON_EXEC = 1, SET_FLAGS = 2, SET_MASK = 2, SET_DUMPABLE = 4, WRITE_ONLY = 1 };
enum { KILL = 9, STOP = 19, LAST_SIGNAL = 64, SIGNAL_SET_BYTES = 8, HERE = -100 };
enum { CPU = 0, FILE_BYTES = 1, CORE = 4, OPEN_FILES = 7, ADDRESS_SPACE = 9 };
enum { NO_ENTRY = 2, IO = 5, NO_FOLDER = 20 };

struct limit {
    word soft, hard;
};

static void fail(long code)
{
    byte told = (byte)code;
    call(WRITE, TELL, (long)&told, 1, 0, 0);
    for (;;)
        call(EXIT, 127, 0, 0, 0, 0);
}

static void need(long result)
{
    if (result < 0)
        fail(-result);
}

static word number(const char *text)
{
    word value = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (word)(*text - '0');
    return value;
}

static struct limit limit_of(int kind)
{
    struct limit found = {0, 0};
    need(call(PRLIMIT, 0, kind, 0, (long)&found, 0));
    return found;
}

static void limit(int kind, word soft, word hard)
{
    struct limit wanted = {soft, hard};
    need(call(PRLIMIT, 0, kind, (long)&wanted, 0, 0));
}

static void restore_signals(void)
{
    word action[4] = {0, 0, 0, 0}, none = 0;
    for (int signal = 1; signal <= LAST_SIGNAL; signal++)
        if (signal != KILL && signal != STOP)
            call(SIGNAL_ACTION, signal, (long)action, 0, SIGNAL_SET_BYTES, 0);
    need(call(SIGNAL_MASK, SET_MASK, (long)&none, 0, SIGNAL_SET_BYTES, 0));
}

static void close_others(void)
{
    need(call(FCNTL, TELL, SET_FLAGS, CLOSE_ON_EXEC, 0, 0));
    if (call(CLOSE_RANGE, TELL + 1, 0x7fffffff, 0, 0, 0) >= 0)
        return;
    for (int descriptor = TELL + 1; descriptor < HIGHEST; descriptor++)
        call(CLOSE, descriptor, 0, 0, 0, 0);
}

static void take_limits(word file_bytes, word open_files)
{
    static const int GIVEN_BACK[] = {ADDRESS_SPACE, CPU};
    word most = limit_of(OPEN_FILES).hard;
    limit(CORE, 0, 0);
    limit(FILE_BYTES, file_bytes, file_bytes);
    most = open_files < most ? open_files : most;
    limit(OPEN_FILES, most, most);
    for (int at = 0; at < 2; at++) {
        word hard = limit_of(GIVEN_BACK[at]).hard;
        limit(GIVEN_BACK[at], hard, hard);
    }
}

/* Only a process that others may look at may offer itself; tried: not every runtime lets it. */
static void be_first_without_memory(void)
{
    long descriptor;
    call(PRCTL, SET_DUMPABLE, 1, 0, 0, 0);
    descriptor = call(OPENAT, HERE, (long)"/proc/self/oom_score_adj", WRITE_ONLY, 0, 0);
    if (descriptor >= 0) {
        call(WRITE, descriptor, (long)"1000", 4, 0, 0);
        call(CLOSE, descriptor, 0, 0, 0, 0);
    }
    call(PRCTL, SET_DUMPABLE, 0, 0, 0, 0);
}

__attribute__((used)) void begin(long *stack)
{
    long count = stack[0], code = NO_ENTRY;
    char **words = (char **)(stack + 1), **environment = words + count + 1;
    word candidates;

    if (count < 5)
        fail(IO);
    candidates = number(words[3]);
    if (candidates >= (word)count - 4)
        fail(IO);
    close_others();
    restore_signals();
    call(UMASK, 022, 0, 0, 0, 0);
    take_limits(number(words[1]), number(words[2]));
    be_first_without_memory();
    for (word at = 0; at < candidates; at++) {
        long failed = -call(EXECVE, (long)words[4 + at], (long)(words + 4 + candidates), (long)environment, 0, 0);
        if (failed != NO_ENTRY && failed != NO_FOLDER)
            code = failed;
    }
    fail(code);
}
