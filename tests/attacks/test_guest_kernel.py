"""B90, B91, B94, B118: what the filter refuses to programs, tried by one; outside the guest it succeeds."""

from __future__ import annotations

import asyncio
import ctypes
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sandbox.guest.syscalls import NUMBERS, REFUSED, architecture
from tests.sandbox.guest.launch import reachable_folder, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS = """
import ctypes, errno, json, sys
call = ctypes.CDLL(None, use_errno=True).syscall
found = {}
for name, number in json.loads(sys.argv[1]).items():
    ctypes.set_errno(0)
    result = call(ctypes.c_long(number), *[ctypes.c_long(-1)] * 5)
    found[name] = errno.errorcode.get(ctypes.get_errno(), 'done')
print(json.dumps(found))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as made:
        yield made


def harmless() -> dict[str, int]:
    """Return the refused calls that do nothing with arguments of -1: those can be tried outside too."""
    numbers = NUMBERS[architecture()]
    too_real = {
        "reboot",
        "vhangup",
        "personality",
        "sethostname",
        "setdomainname",
        "swapoff",
        "swapon",
        "acct",
    }
    return {name: numbers[name] for name in REFUSED if name in numbers and name not in too_real}


async def test_every_refused_call_is_refused_to_a_program_with_eperm(folder: Path) -> None:
    """With arguments that the kernel itself would refuse otherwise: EINVAL, EBADF, EFAULT, ENOSYS."""
    calls = harmless()
    command = ["python3", "-I", "-c", CALLS, json.dumps(calls)]

    async with running(folder, "--exec", "--loopback") as guest:
        inside = json.loads(str((await guest.spawn(*command))["stdout"]))
    plain = await asyncio.to_thread(
        subprocess.run, [sys.executable, *command[1:]], capture_output=True, check=True
    )
    outside = json.loads(plain.stdout)

    assert inside == dict.fromkeys(calls, "EPERM")
    assert outside["io_uring_setup"] != "EPERM"
    assert outside["setns"] != "EPERM"
    assert outside["mount"] != "EPERM"


@pytest.mark.parametrize(
    ("argv", "refusal"),
    [
        (["unshare", "-Urm", "true"], "not permitted"),
        (["unshare", "-n", "true"], "not permitted"),
        (["mount", "-t", "tmpfs", "none", "/tmp"], ""),
        (["setpriv", "--reuid=0", "true"], ""),
        (["chroot", "/", "true"], ""),
        (["strace", "true"], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_usual_tools_for_getting_out_fail(folder: Path, argv: list[str], refusal: str) -> None:
    """B94; `true` itself runs."""
    async with running(folder, "--exec") as guest:
        good = await guest.spawn("true")
        paths = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
        found = await guest.spawn("sh", "-c", f"command -v {argv[0]}", env=paths)
        if not found["stdout"]:
            pytest.skip(f"{argv[0]} is not installed here")
        tried = await guest.spawn(*argv, env=paths)

    assert good["exit_code"] == 0
    assert tried["exit_code"] != 0
    assert refusal in str(tried["stderr"])


async def test_sockets_of_other_families_cannot_be_made(folder: Path) -> None:
    script = (
        "import socket, errno\n"
        "for family in range(64):\n"
        "    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):\n"
        "        try: socket.socket(family, kind); print(family, kind, 'made')\n"
        "        except OSError as error:\n"
        "            if error.errno != errno.EAFNOSUPPORT: print(family, kind, error)\n"
    )

    async with running(folder, "--exec") as guest:
        without = await guest.spawn("python3", "-I", "-c", script)
    async with running(folder, "--exec", "--loopback") as guest:
        granted = await guest.spawn("python3", "-I", "-c", script)

    families = {line.split()[0] for line in str(without["stdout"]).splitlines() if line.endswith("made")}
    more = {line.split()[0] for line in str(granted["stdout"]).splitlines() if line.endswith("made")}
    assert families == {"1"}
    assert more == {"1", "2", "10"}


async def test_without_exec_nothing_that_a_worker_does_can_become_a_program(folder: Path) -> None:
    """B55: not through the loader, not through memory; with `exec` the same probes succeed."""
    names = ["execve", "execveat", "memfd_create"]

    async with running(folder) as guest:
        refused = (await guest.link.call("probe.run", {"names": names})).result
    async with running(folder, "--exec") as guest:
        granted = (await guest.link.call("probe.run", {"names": names})).result

    assert refused == dict.fromkeys(names, "EPERM")
    assert granted == dict.fromkeys(names, "allowed")


def test_a_second_thread_stops_the_lock_down() -> None:
    """B118: in a process of its own, because a lock-down is for good."""
    script = (
        "import sys, threading\n"
        "from sandbox.guest import lockdown\n"
        "stay = threading.Event()\n"
        "if sys.argv[1] == 'two': threading.Thread(target=stay.wait, daemon=True).start()\n"
        "try: lockdown.lock_down(holds_exec=False, loopback=False); print('locked')\n"
        "except lockdown.LockdownError as error: print(error)\n"
    )

    said = [
        subprocess.run(
            [sys.executable, "-c", script, count], capture_output=True, check=True, text=True
        ).stdout
        for count in ("one", "two")
    ]

    assert said == ["locked\n", "`2` threads at lock-down; expected 1\n"]


def test_a_lock_down_that_does_not_hold_is_noticed() -> None:
    """Without the filter the self-test finds execve working, and the guest would exit with 4."""
    script = (
        "from sandbox.guest import facts, lockdown, probes\n"
        "tries = probes.run(facts.SELF_TEST)\n"
        "try: lockdown.require_refusals(tries, holds_exec=False, loopback=False); print('holds')\n"
        "except lockdown.LockdownError as error: print(error)\n"
        "lockdown.lock_down(holds_exec=False, loopback=False)\n"
        "tries = probes.run(facts.SELF_TEST)\n"
        "lockdown.require_refusals(tries, holds_exec=False, loopback=False); print('holds')\n"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout

    assert said.splitlines()[0].endswith("expected `EPERM`")
    assert said.splitlines()[1] == "holds"


def test_the_foreign_abi_ends_the_process() -> None:
    """Calls by int 0x80 and x32 would go past a list of x86-64 numbers."""
    if architecture() != "x86_64":
        pytest.skip("the second ABI is x86-64's")
    script = (
        "import ctypes\n"
        "from sandbox.guest import lockdown\n"
        "lockdown.lock_down(holds_exec=True, loopback=True)\n"
        "print('locked', flush=True)\n"
        "ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 39))\n"
        "print('went on')\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)

    assert (done.stdout, done.returncode) == ("locked\n", -31)
    assert ctypes.CDLL(None).syscall(ctypes.c_long(39)) > 0
