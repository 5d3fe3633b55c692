"""Attacks by an egress process that was taken over: what it finds there, and what it can still do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sandbox
from tests.sandbox.egress.ground import gate_for, rules

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(sandbox.__file__).parent.parent
TRIES = """
import ctypes, os, platform, socket, subprocess, sys, threading
sys.path.insert(0, sys.argv[1])
from sandbox.egress.confine import confine
if sys.argv[2] == "confined":
    confine()

def attempt(name, act):
    try:
        act()
    except (OSError, subprocess.SubprocessError) as error:
        print(name, "refused", type(error).__name__)
    else:
        print(name, "done")

def unix():
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(sys.argv[3])

def datagram():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.close(), far.close()

def write():
    with open(sys.argv[4], "w") as file:
        file.write("x" * 10)
        file.flush()

def ended(child):
    if child == 0:
        os._exit(0)
    if child < 0:
        raise OSError(ctypes.get_errno(), "no process")
    os.waitpid(child, 0)

def old_fork():
    # Of x86-64 alone; elsewhere every process is made by clone, as os.fork does.
    raw = ctypes.CDLL(None, use_errno=True).syscall
    ended(raw(57) if platform.machine() == "x86_64" else os.fork())

def tcp():
    socket.socket(socket.AF_INET).close()

def pair():
    near, far = socket.socketpair()
    near.close(), far.close()

attempt("unix", unix)
attempt("datagram", datagram)
attempt("write", write)
attempt("exec", lambda: subprocess.run(["/bin/true"], check=True))
attempt("fork", lambda: ended(os.fork()))
attempt("old fork", old_fork)
attempt("memfd", lambda: os.close(os.memfd_create("x")))
attempt("read", lambda: open(sys.argv[1] + "/pyproject.toml").close())
attempt("passwords of another process", lambda: open(f"/proc/{os.getppid()}/environ").close())
attempt("certificates", lambda: os.listdir("/etc/ssl"))
attempt("own networks", lambda: open("/proc/net/fib_trie").close())
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())
attempt("tcp", tcp)
attempt("pair", pair)
attempt("thread", lambda: threading.Thread(target=lambda: attempt("unix in a thread", unix)).start())
"""


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Path]:
    """Listen on a unix socket, as an engine does."""
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(8)
        yield path


def tried(how: str, door: Path, folder: Path) -> dict[str, str]:
    """Run the tries, confined or free, and return what came of each."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", TRIES, str(ROOT), how, str(door), str(folder / "file")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    lines = [line.rpartition(" refused") for line in done.stdout.splitlines()]
    return {
        before or after.removesuffix(" done"): "refused" if middle else "done"
        for before, middle, after in lines
    }


def test_b85_a_confined_process_reaches_no_local_socket_runs_and_starts_nothing_and_writes_no_file(
    door: Path, tmp_path: Path
) -> None:
    """What it started would outlive the session, with the network."""
    confined = tried("confined", door, tmp_path)

    refused = {name for name, outcome in confined.items() if outcome == "refused"}
    local = {"unix", "unix in a thread", "datagram", "packet"}
    assert refused == local | {
        "write",
        "exec",
        "fork",
        "old fork",
        "memfd",
        "read",
        "passwords of another process",
    }
    assert {confined[name] for name in ("tcp", "pair", "certificates", "own networks")} == {"done"}
    assert not (tmp_path / "file").exists()


def test_b85_twin_the_same_tries_succeed_in_a_free_process(door: Path, tmp_path: Path) -> None:
    free = tried("free", door, tmp_path)

    assert {outcome for name, outcome in free.items() if name != "packet"} == {"done"}
    assert "unix in a thread" in free


async def test_b101_the_process_inherits_no_secret_and_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRLOCK_CANARY_TOKEN", "canary-value")
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)  # noqa: FBT003 - the standard library's own name
    try:
        async with gate_for(rules()) as kept:
            process = Path(f"/proc/{kept.gate.pid}")
            environment = (process / "environ").read_bytes()
            line = (process / "cmdline").read_bytes()
            status = (process / "status").read_text()
            links = {str(entry.readlink()) for entry in (process / "fd").iterdir()}
            inherited = f"pipe:[{os.fstat(reading).st_ino}]"
    finally:
        os.close(reading)
        os.close(writing)

    assert b"canary" not in environment + line
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    assert inherited not in links
    own = {"/dev/null", "pipe", "socket", "anon_inode", str(process / "net")}  # the last for Landlock's rule
    assert {link.partition(":")[0] for link in links} <= own
