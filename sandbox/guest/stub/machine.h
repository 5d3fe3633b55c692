/* System calls without a library, for each machine: their numbers (asm/unistd.h) and how they are made. A
 * program that includes this defines `begin`, which is given the stack as the kernel leaves it.
 */

typedef unsigned char byte;
typedef unsigned long word;

#if defined(__x86_64__)
enum {
    READ = 0, WRITE = 1, CLOSE = 3, SIGNAL_ACTION = 13, SIGNAL_MASK = 14, IOCTL = 16, SOCKET = 41, CONNECT = 42,
    EXECVE = 59, FCNTL = 72, UMASK = 95, PRCTL = 157, EXIT = 231, OPENAT = 257, PPOLL = 271, PRLIMIT = 302,
    CLOSE_RANGE = 436
};

static long call(long number, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#elif defined(__aarch64__)
enum {
    READ = 63, WRITE = 64, CLOSE = 57, SIGNAL_ACTION = 134, SIGNAL_MASK = 135, IOCTL = 29, SOCKET = 198, CONNECT = 203,
    EXECVE = 221, FCNTL = 25, UMASK = 166, PRCTL = 167, EXIT = 94, OPENAT = 56, PPOLL = 73, PRLIMIT = 261,
    CLOSE_RANGE = 436
};

static long call(long number, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}

__asm__(".globl _start\n_start: mov x0, sp\n bl begin\n");
#endif
