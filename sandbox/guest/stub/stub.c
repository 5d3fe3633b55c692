/* A command on PATH inside a container: it sends its words to the host and shows what comes back.
 *
 * It speaks with the guest at the abstract unix socket `pairlock-commands`; the guest copies bytes between it
 * and the host. Both sides send records: a letter, a length (u32, big-endian), that many bytes.
 *
 *     to the host    p  the action whose program calls, from PAIRLOCK_ACTION     once, may be left out
 *                    a  the words, each with a NUL behind it; the first names the command     once
 *                    d  bytes of standard input, z  no more of them      only when asked for
 *     from the host  r  send standard input, unless it is a terminal
 *                    o  bytes for standard output, e  bytes for standard error
 *                    x  one byte, the exit code                             the last
 *
 * No library and no interpreter stands behind it, because any image has to do and a call has to be cheap:
 * system calls alone, 64 KiB of memory. scripts/stub.sh compiles it, for each machine.
 */

#include "machine.h"

enum { UNIX = 1, STREAM = 1, CLOSE_ON_EXEC = 02000000, TCGETS = 0x5401, DUPLICATE = 1030, POLLIN = 1, POLLOUT = 4 };
enum { EINTR = 4, EBADF = 9, EAGAIN = 11, FAILED = 101, UNSERVED = 104, ROOM = 64 * 1024, HEAD = 5 };

struct polled {
    int descriptor;
    short wanted, happened;
};

static const struct {
    unsigned short family;
    char name[18];
} ADDRESS = {UNIX, "\0pairlock-commands"};

static byte buffer[HEAD + ROOM];
static byte kept[4096]; /* words are gathered here, so that a short call is one write */
static word gathered;
static long host;
static int lost; /* whether some of standard output could not be written */

static void leave(int code)
{
    for (;;)
        call(EXIT, code, 0, 0, 0, 0);
}

static word length(const char *text)
{
    word count = 0;
    while (text[count])
        count++;
    return count;
}

/* Wait until a descriptor that another program has made non-blocking can be used. */
static void wait_for(long descriptor, short use)
{
    struct polled wanted = {(int)descriptor, use, 0};
    call(PPOLL, (long)&wanted, 1, 0, 0, 8);
}

/* Write everything; return 0, or less when it cannot be. */
static int put(long descriptor, const byte *data, word count)
{
    while (count) {
        long done = call(WRITE, descriptor, (long)data, (long)count, 0, 0);
        if (done == -EAGAIN)
            wait_for(descriptor, POLLOUT);
        if (done == -EINTR || done == -EAGAIN)
            continue;
        if (done <= 0)
            return -1;
        data += done;
        count -= (word)done;
    }
    return 0;
}

static void say(const char *text)
{
    put(2, (const byte *)text, length(text));
}

static void unserved(void)
{
    say("pairlock: no session takes commands here\n");
    leave(UNSERVED);
}

static void flush(void)
{
    if (put(host, kept, gathered) < 0)
        unserved();
    gathered = 0;
}

static void gather(const char *data, word count)
{
    while (count) {
        if (gathered == sizeof kept)
            flush();
        kept[gathered++] = (byte)*data++;
        count--;
    }
}

static void head(byte *at, byte kind, word count)
{
    at[0] = kind;
    at[1] = (byte)(count >> 24);
    at[2] = (byte)(count >> 16);
    at[3] = (byte)(count >> 8);
    at[4] = (byte)count;
}

static void announce(byte kind, word count)
{
    char made[HEAD];
    head((byte *)made, kind, count);
    gather(made, HEAD);
}

static const char *named(const char *path)
{
    const char *last = path;
    for (; *path; path++)
        if (*path == '/')
            last = path + 1;
    return last;
}

static void tell(long count, char **words, char **environment)
{
    static const char NAME[] = "PAIRLOCK_ACTION=";
    word total = 0;
    for (; *environment; environment++) {
        word at = 0;
        while (NAME[at] && (*environment)[at] == NAME[at])
            at++;
        if (!NAME[at]) {
            announce('p', length(*environment + at));
            gather(*environment + at, length(*environment + at));
            break;
        }
    }
    if (count)
        words[0] = (char *)named(words[0]);
    for (long at = 0; at < count; at++)
        total += length(words[at]) + 1;
    announce('a', total);
    for (long at = 0; at < count; at++)
        gather(words[at], length(words[at]) + 1);
    flush();
}

/* Read exactly this much of what the host says. */
static void take(byte *into, word count)
{
    while (count) {
        long got = call(READ, host, (long)into, (long)count, 0, 0);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            unserved();
        into += got;
        count -= (word)got;
    }
}

/* End with the command's code; what it said and nobody got is a failure, too. */
static void finish(int code)
{
    if (lost)
        say("pairlock: what the command said cannot be written\n");
    leave(lost && !code ? FAILED : code);
}

/* Show one record; return whether standard input is asked for. */
static int obey(void)
{
    word count;
    byte kind;
    take(buffer, HEAD);
    kind = buffer[0];
    count = (word)buffer[1] << 24 | (word)buffer[2] << 16 | (word)buffer[3] << 8 | buffer[4];
    if (kind == 'x' && count == 1) {
        take(buffer, 1);
        finish(buffer[0]);
    }
    while (count) {
        word piece = count < ROOM ? count : ROOM;
        take(buffer, piece);
        if (kind == 'o')
            lost |= put(1, buffer, piece) < 0;
        if (kind == 'e')
            put(2, buffer, piece);
        count -= piece;
    }
    return kind == 'r';
}

/* Send one piece of standard input; return whether there may be more. */
static int pour(void)
{
    long got = call(READ, 0, (long)(buffer + HEAD), ROOM, 0, 0);
    if (got == -EINTR || got == -EAGAIN)
        return 1;
    if (got < 0 && got != -EBADF) {
        say("pairlock: standard input cannot be read\n");
        leave(FAILED); /* before its end was told: the host then takes the call for taken back */
    }
    head(buffer, got > 0 ? 'd' : 'z', got > 0 ? (word)got : 0);
    if (put(host, buffer, HEAD + (got > 0 ? (word)got : 0)) < 0)
        unserved();
    return got > 0;
}

/* Connect; where the caller has closed 0, 1 or 2, the connection must not take their place. */
static long connected(void)
{
    long low = call(SOCKET, UNIX, STREAM | CLOSE_ON_EXEC, 0, 0, 0), high;
    if (low < 0)
        unserved();
    high = call(FCNTL, low, DUPLICATE, 3, 0, 0);
    call(CLOSE, low, 0, 0, 0, 0);
    if (high < 0 || call(CONNECT, high, (long)&ADDRESS, sizeof ADDRESS, 0, 0) < 0)
        unserved();
    return high;
}

__attribute__((used)) void begin(long *stack)
{
    long count = stack[0];
    char **words = (char **)(stack + 1), **environment = words + count + 1;
    struct polled wanted[2] = {{0, POLLIN, 0}, {-1, POLLIN, 0}};
    int open = 0;
    byte terminal[64];

    host = connected();
    tell(count, words, environment);
    wanted[0].descriptor = (int)host;
    for (;;) {
        if (call(PPOLL, (long)wanted, 1 + open, 0, 0, 8) < 0)
            continue;
        if (wanted[0].happened && obey()) {
            open = call(IOCTL, 0, TCGETS, (long)terminal, 0, 0) < 0;
            if (open)
                wanted[1].descriptor = 0;
            else {
                head(buffer, 'z', 0);
                put(host, buffer, HEAD);
            }
            wanted[1].happened = 0;
            continue;
        }
        if (open && wanted[1].happened)
            open = pour();
    }
}
