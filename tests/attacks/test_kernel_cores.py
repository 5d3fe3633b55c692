"""B97: no crash of a program in a session starts the machine's collector of cores.

`core_pattern` may name a program (apport, systemd-coredump), which the kernel starts as the machine's root,
outside of every container, and feeds with the memory of whatever crashed. A limit of 0 bytes does not keep
it from that (core(5)); one of 1 byte does (fs/coredump.c; seen under Linux 6.1, with both limits, in a
virtual machine). So the limit is 1, and stays 1.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from sandbox.guest.syscalls import NUMBERS, architecture
from tests.attacks.test_kernel_session import with_starter
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture

if TYPE_CHECKING:
    from tests.sandbox.live import Ground

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]

NUMBERS_HERE = tuple(str(NUMBERS[architecture()][name]) for name in ("setrlimit", "prlimit64"))
ASKING_FOR_NONE = """
import ctypes, mmap, os, resource, sys
core, call = resource.RLIMIT_CORE, ctypes.CDLL(None, use_errno=True)
nothing = (ctypes.c_uint64 * 2)(0, 0)
number = [int(word) for word in sys.argv[1:]]
mapped = call.mmap
mapped.restype, mapped.argtypes = ctypes.c_void_p, [ctypes.c_void_p] + [ctypes.c_long] * 5
odd = mapped(1 << 32, 4096, 3, 0x22, -1, 0)  # zeroes, at an address whose lower half is zero
found = []
def ask(way):  # in a process of its own: a limit that one way has lowered is as it should be for the next
    told, tell = os.pipe()
    if os.fork() == 0:
        try: way()
        except (OSError, ValueError) as error: os.write(tell, type(error).__name__.encode() + b" ")
        os.write(tell, repr(resource.getrlimit(core)).encode())
        os._exit(0)
    os.close(tell)
    with open(told) as answer: found.append(answer.read())
    os.wait()
ask(lambda: None)
ask(lambda: resource.setrlimit(core, (0, 0)))
ask(lambda: call.syscall(ctypes.c_long(number[0]), ctypes.c_long(core), nothing))
ask(lambda: call.syscall(ctypes.c_long(number[1]), ctypes.c_long(0), ctypes.c_long(core), nothing, None))
at = ctypes.c_void_p(odd)
ask(lambda: call.syscall(ctypes.c_long(number[1]), ctypes.c_long(0), ctypes.c_long(core), at, None))
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print(hex(odd), *found, resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_program_does_not_get_the_collector_of_cores_back(ground: Ground, runtime: str) -> None:  # noqa: F811 - the fixture
    """By three calls, one with a pointer whose lower half is zero; other limits are the program's own."""
    spec = await with_starter(ground, Grant.EXEC, runtime=runtime)

    async with ground.opened_sandbox(spec) as sandbox:
        inside = await sandbox.spawn(("python3", "-c", ASKING_FOR_NONE, *NUMBERS_HERE))

    assert inside.output.decode() == f"0x100000000 {' '.join(['(1, 1)'] * 5)} (64, 64)\n", inside.errors


def test_without_the_filter_each_way_leads_to_no_limit_that_counts() -> None:
    """The twin: the same program, on this machine, with the same limit at its start where one can be had."""
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    first = 0 if most == 0 else 1

    ended = subprocess.run(
        [sys.executable, "-c", ASKING_FOR_NONE, *NUMBERS_HERE],
        capture_output=True,
        check=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (first, first)),
    )

    assert ended.stdout == f"0x100000000 ({first}, {first}) {' '.join(['(0, 0)'] * 4)} (64, 64)\n"
