"""B90, B91, B93, B94: what the kernel answers to a program in a session with `exec`, in real containers."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from policies.grant import Grant
from sandbox.guest.syscalls import NUMBERS, REFUSED, architecture
from tests.attacks.test_kernel_session import with_starter
from tests.attacks.toolbox import make_toolbox
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.live import docker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.session import ProcessResult
    from tests.sandbox.live import Ground

pytestmark = pytest.mark.engine
RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]
TOO_REAL = frozenset(
    {"reboot", "vhangup", "personality", "sethostname", "setdomainname", "swapon", "swapoff"}
)
"""Calls that would do something outside of a session; inside they are tried like all others."""

CALLS = """
import ctypes, errno, json, sys
call = ctypes.CDLL(None, use_errno=True).syscall
found = {}
for name, number in json.loads(sys.argv[1]).items():
    ctypes.set_errno(0)
    call(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
    found[name] = errno.errorcode.get(ctypes.get_errno(), 'done')
print(json.dumps(found))
"""
RINGS = """
import ctypes, errno
call = ctypes.CDLL(None, use_errno=True).syscall
room = ctypes.create_string_buffer(120)
ring = call(ctypes.c_long(425), ctypes.c_long(4), room)
print('ring' if ring >= 0 else errno.errorcode[ctypes.get_errno()])
"""
PID_1 = """
import ctypes, errno, os, sys
call = ctypes.CDLL(None, use_errno=True)
class Vector(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
room = ctypes.create_string_buffer(b'secret', 64)
target, place = int(sys.argv[1]) or os.getpid(), ctypes.addressof(room)
def tell(name, result): print(name, 'done' if result >= 0 else errno.errorcode[ctypes.get_errno()])
tell('attach', call.ptrace(16, target, 0, 0))
tell('seize', call.ptrace(0x4206, target, 0, 0))
local, remote = Vector(ctypes.addressof(ctypes.create_string_buffer(64)), 6), Vector(place, 6)
tell('readv', call.process_vm_readv(target, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))
for name, flags in (('mem', os.O_RDONLY), ('mem', os.O_RDWR), ('maps', os.O_RDONLY)):
    try:
        with open(os.open(f'/proc/{target}/{name}', flags), 'rb', buffering=0) as file:
            if name == 'mem': file.seek(place)
            file.read(6)
        print(name, 'done')
    except OSError as error:
        print(name, errno.errorcode[error.errno])
"""
WRITES = """
import errno, sys
for path in sys.argv[1:]:
    try:
        with open(path, 'w') as file: file.write('1')
        print(path, 'written')
    except OSError as error:
        print(path, errno.errorcode[error.errno])
"""
PLACES = (
    "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
    "/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward", "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/release_agent", "/sys/power/state",
    "/sys/kernel/uevent_helper", "/proc/1/oom_score_adj", "/proc/1/mem", "/new", "/usr/bin/new", "/etc/new",
    "/rt/new",
)  # fmt: skip
TOOLS = (
    "unshare -Urm true", "unshare -n true", "unshare -p -f true", "unshare -C true", "unshare -T true",
    "nsenter -t 1 -n true", "nsenter -t 1 -a true", "mount -t tmpfs none /tmp", "mount --bind / /tmp",
    "mount -t proc proc /tmp", "mount -o remount,rw /", "umount /tmp", "umount -l /proc/sys",
    "setpriv --reuid=0 true", "setpriv --inh-caps=+all --ambient-caps=+all true", "chroot / true",
    "setarch linux32 true", "mknod /tmp/disk b 254 0", "mknod /tmp/memory c 1 1", "chown root /tmp",
    "hostname elsewhere", "pivot_root / /tmp", "losetup -f", "dmesg",
    "ip link add x type dummy", "capsh --user=root -- -c true", "strace true", "strace -p 1", "su -c true",
)  # fmt: skip
FOREIGN = """
import ctypes, mmap, os, sys
area = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
area.write(bytes.fromhex(sys.argv[1]))
print('before', flush=True)
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(area)))() == os.getpid())
"""
GETPID_OF_I386 = "b814000000cd80c3"  # mov eax, 20; int 0x80; ret
GETPID_OF_X32 = "b8270000400f05c3"  # mov eax, 0x40000027; syscall; ret
GETPID = "b8270000000f05c3"  # mov eax, 39; syscall; ret: the twin


@pytest.fixture(scope="module")
def toolbox(built: Path) -> Iterator[str]:
    """Give an image with this machine's own tools."""
    name = asyncio.run(make_toolbox(built))
    yield name
    asyncio.run(docker("rmi", "--force", "--no-prune", name))


async def said(
    ground: Ground,  # noqa: F811 - the fixture
    *argv: str,
    runtime: str,
    grant: Grant = Grant.EXEC,
) -> ProcessResult:
    """Run a program in a session with `exec`."""
    async with ground.opened_sandbox(await with_starter(ground, grant, runtime=runtime)) as sandbox:
        return await sandbox.spawn(argv)


def outside(*argv: str) -> str:
    """Run the same program on this machine, and return what it prints."""
    return subprocess.run([sys.executable, *argv[1:]], capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_every_refused_call_is_refused_to_a_program_in_a_session(ground: Ground, runtime: str) -> None:  # noqa: F811 - the fixture
    """B90, B91, B94: mounts, namespaces, rings, keys, IPC, handles with EPERM; clone3 with ENOSYS."""
    numbers = NUMBERS[architecture()]
    calls = {name: numbers[name] for name in (*REFUSED, "clone3") if name in numbers}
    harmless = {name: number for name, number in calls.items() if name not in TOO_REAL}

    result = await said(ground, "python3", "-c", CALLS, json.dumps(calls), runtime=runtime)
    plain = json.loads(outside("python3", "-c", CALLS, json.dumps(harmless)))

    assert json.loads(result.output) == {name: "ENOSYS" if name == "clone3" else "EPERM" for name in calls}
    for name in ("io_uring_setup", "setns", "open_tree", "process_vm_readv", "shmget", "mq_open", "clone3"):
        assert plain[name] not in ("EPERM", "ENOSYS"), name


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_program_makes_no_ring(ground: Ground, runtime: str) -> None:  # noqa: F811 - the fixture
    """B90: io_uring would open sockets that no filter of socket() sees; on this machine it is there."""
    result = await said(ground, "python3", "-c", RINGS, runtime=runtime)

    assert result.output == b"EPERM\n"
    assert outside("python3", "-c", RINGS) in ("ring\n", "EPERM\n")  # a machine may have switched it off


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_program_reads_nothing_of_pid_1(ground: Ground, runtime: str) -> None:  # noqa: F811 - the fixture
    """B91: PID 1 has this program's uid; what keeps it apart is that it is not dumpable, and the filters."""
    result = await said(ground, "python3", "-c", PID_1, "1", runtime=runtime)
    own = await said(ground, "python3", "-c", PID_1, "0", runtime=runtime)

    lines = result.output.decode().splitlines()
    assert lines[:3] == ["attach EPERM", "seize EPERM", "readv EPERM"]
    if runtime == "runc":
        assert lines[3:] == ["mem EACCES", "mem EACCES", "maps EACCES"]
        assert own.output.decode().splitlines()[3] == "mem done"  # the twin: its own memory
    else:
        assert "mem done" not in lines
    assert own.output.decode().splitlines()[-1] == "maps done"


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_a_program_writes_no_setting_of_the_kernel(ground: Ground, runtime: str) -> None:  # noqa: F811 - the fixture
    """B21, B93: sysrq, kernel settings, cgroups, the uevent helper, the root; the scratch takes it."""
    result = await said(ground, "python3", "-c", WRITES, *PLACES, "/tmp/own", runtime=runtime)

    *refused, own = result.output.decode().splitlines()
    assert own == "/tmp/own written"
    assert {line.split()[1] for line in refused} <= {"EROFS", "EACCES", "EPERM", "ENOENT"}
    assert len(refused) == len(PLACES)


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_the_usual_tools_for_getting_out_fail_in_a_session(
    ground: Ground,  # noqa: F811 - the fixture
    toolbox: str,
    runtime: str,
) -> None:
    """B94: util-linux's own tools and others, each of which this machine's root could use."""
    spec = await ground.spec(Grant.EXEC, image=toolbox, runtime=runtime)
    async with ground.opened_sandbox(spec) as sandbox:
        good = await sandbox.spawn(("unshare", "--version"))
        there = [tool for tool in TOOLS if (await sandbox.spawn(("which", tool.split()[0]))).exit_code == 0]
        ended = {tool: await sandbox.spawn(tuple(tool.split())) for tool in there}

    assert good.exit_code == 0
    assert len(there) >= 20
    # gVisor makes a device's file, and has no such device (`make_block_device` of the battery opens it).
    made = [] if runtime == "runc" else [tool for tool in there if tool.startswith("mknod")]
    assert [tool for tool in there if not ended[tool].exit_code] == made


@pytest.mark.skipif(architecture() != "x86_64", reason="the other ABIs are x86-64's")
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("code", [GETPID_OF_I386, GETPID_OF_X32], ids=["int 0x80", "x32"])
async def test_a_call_by_another_abi_kills_the_program(ground: Ground, code: str, runtime: str) -> None:  # noqa: F811 - the fixture
    """Their numbers mean other calls: 11 by int 0x80 would be execve, past a list of x86-64 numbers."""
    foreign = await said(ground, "python3", "-c", FOREIGN, code, runtime=runtime)
    native = await said(ground, "python3", "-c", FOREIGN, GETPID, runtime=runtime)

    assert native.output == b"before\nTrue\n"
    assert foreign.output.startswith(b"before\n")
    assert b"True" not in foreign.output
    if runtime == "runc":
        assert foreign.exit_code == 128 + 31  # SIGSYS


@pytest.mark.skipif(architecture() != "x86_64", reason="the other ABI is x86-64's")
async def test_a_32_bit_program_ends_at_its_first_call(ground: Ground, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    """A whole program of i386; on this machine itself it exits with 7, where the kernel runs such ones."""
    program = _elf_of_i386(bytes.fromhex("b801000000bb07000000cd80"))  # exit(7)
    (tmp_path / "i386").write_bytes(program)
    (tmp_path / "i386").chmod(0o755)
    script = "import sys; open('/tmp/i386', 'wb').write(bytes.fromhex(sys.argv[1]))"

    async with ground.opened_sandbox(await with_starter(ground)) as sandbox:
        await sandbox.spawn(("sh", "-c", f'python3 -c "{script}" {program.hex()} && chmod 755 /tmp/i386'))
        ran = await sandbox.spawn(("/tmp/i386",))

    assert ran.exit_code in (128 + 31, 126)  # SIGSYS; or a kernel without such programs
    if ran.exit_code == 128 + 31:
        assert await (await asyncio.create_subprocess_exec(tmp_path / "i386")).wait() == 7


def _elf_of_i386(code: bytes) -> bytes:
    """Return an executable: the header, one segment, the code (elf(5))."""
    base, head = 0x08048000, 84
    size = head + len(code)
    identity = b"\x7fELF\x01\x01\x01" + bytes(9)
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + head, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return identity + header + struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 4096) + code


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_only_the_sockets_of_the_grant_can_be_made(ground: Ground, runtime: str) -> None:  # noqa: F811 - the fixture
    """All families up to 63 in three types: unix; with a proxy TCP and UDP too; never anything else."""
    script = (
        "import socket\n"
        "for family in range(64):\n"
        "    for kind in (1, 2, 3, 5):\n"
        "        for protocol in (0, 1, 6, 17, 132, 255, 262):\n"
        "            try: socket.socket(family, kind, protocol).close(); print(family, kind, protocol)\n"
        "            except OSError: pass\n"
    )

    without = await said(ground, "python3", "-c", script, runtime=runtime)
    granted = await said(ground, "python3", "-c", script, runtime=runtime, grant=Grant.NETWORK_EXEC)

    internet = {line for line in granted.output.decode().splitlines() if not line.startswith("1 ")}
    assert {line.split()[0] for line in without.output.decode().splitlines()} == {"1"}
    assert internet == {f"{family} {rest}" for family in (2, 10) for rest in ("1 0", "1 6", "2 0", "2 17")}
