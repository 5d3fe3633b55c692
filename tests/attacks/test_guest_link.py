"""Programs that reach for the link itself: where a kernel lets them open it, they are not believed.

gVisor of 2022 is such a kernel. Elsewhere one is made by leaving the guest dumpable, so that what it is held
to can be tried everywhere; without the seal the same attack succeeds.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import GuestProtocolError, LinkClosedError, SandboxLostError
from tests.sandbox.guest.containers import Place, build_runtime, empty_image
from tests.sandbox.guest.launch import GUEST, NOBODY, Running, command, end, reachable_folder, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAID_OPEN = """
import sys
sys.path.append({above!r})
sys.argv[0] = {start!r}
import guest.main
from guest import linux, probes
real = linux.prctl
linux.prctl = lambda option, *values: 0 if option == linux.PR_SET_DUMPABLE else real(option, *values)
tried = probes.Trial.answers
probes.Trial.answers = lambda trial: {{**tried(trial), **{pretended}}}
guest.main.main(sys.argv[1:])
"""
GIVE_AWAY = (  # as engines do: else the pipes would be root's, which keeps programs from them too
    "import os, sys\n"
    f"os.geteuid() or [os.fchown(number, {NOBODY}, {NOBODY}) for number in (0, 1)]\n"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
LINK = "/proc/1/fd/64", "/proc/1/fd/65"
"""Where the guest reads from the host, and where it writes to it."""

OPEN = "import os, struct, time\nopened = os.open({path!r}, {flags})\n"
RESULT = b'{"exit_code":0,"signal":null,"timed_out":false,"truncated_bytes":0,"forged":true}'
FORGE = OPEN.format(path=LINK[1], flags="os.O_WRONLY") + (
    f"payload = {RESULT!r}\n"
    "os.write(opened, struct.pack('>IBI', len(payload), 8, 1) + payload)\n"
    "time.sleep(600)\n"
)
COMMAND = OPEN.format(path=LINK[0], flags="os.O_WRONLY") + (
    'payload = b\'{"op":"files.remove","path":"kept"}\'\n'
    "frame = struct.pack('>IBI', len(payload), 3, 101) + payload + struct.pack('>IBI', 0, 6, 101)\n"
    "os.write(opened, frame)\n"
    "time.sleep(600)\n"
)
STEAL = OPEN.format(path=LINK[0], flags="os.O_RDONLY") + "os.read(opened, 1)\ntime.sleep(600)\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as made:
        (made / "kept").write_text("here")
        yield made


@contextlib.contextmanager
def laid_open(monkeypatch: pytest.MonkeyPatch, *, sealed: bool) -> Iterator[None]:
    """Have guests started whose descriptors every program of the session can open."""
    pretended = "{}" if sealed else "{'open_link': 'EACCES'}"
    script = LAID_OPEN.format(above=str(GUEST.parent.parent), start=str(GUEST), pretended=pretended)

    def changed(root: Path, *flags: str) -> list[str]:
        whole = command(root, *flags)
        at = whole.index(str(GUEST))
        return ["python3", "-I", "-c", GIVE_AWAY, *whole[:at], "-c", script, *whole[at + 1 :]]

    with monkeypatch.context() as patched:
        patched.setattr("tests.sandbox.guest.launch.command", changed)
        yield


async def attack(guest: Running, script: str) -> object:
    """Run a script in the session and return what came of it."""
    return await guest.spawn("python3", "-I", "-S", "-c", script)


async def test_a_result_that_a_program_forged_is_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with laid_open(monkeypatch, sealed=True):
        async with running(folder, "--exec") as guest:
            assert guest.link.state.is_sealed
            with pytest.raises(GuestProtocolError, match="without its seal"):
                await attack(guest, FORGE)


async def test_without_the_seal_it_would_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack itself works: what holds above is the seal."""
    with laid_open(monkeypatch, sealed=False):
        async with running(folder, "--exec") as guest:
            forged = await attack(guest, FORGE)

    assert isinstance(forged, dict)
    assert forged["forged"] is True


@pytest.mark.parametrize("script", [COMMAND, STEAL], ids=["a command of its own", "bytes of the host's"])
async def test_a_program_that_meddles_with_what_the_host_says_ends_its_session(
    folder: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with laid_open(monkeypatch, sealed=True):
        async with running(folder, "--exec") as guest:
            with pytest.raises(LinkClosedError):
                await attack(guest, script)
            code = await end(guest.process)

    assert code == 5
    assert (folder / "kept").read_text() == "here"


async def test_without_the_seal_a_program_could_command_the_guest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with laid_open(monkeypatch, sealed=False):
        # The program holds the pipe's other end too, so that the guest sees no end of it; the lease ends it.
        async with running(folder, "--exec", lease_seconds=2.0) as guest:
            with pytest.raises(SandboxLostError):  # the guest answers a stream that the host never opened
                await attack(guest, COMMAND)

    assert not (folder / "kept").exists()


async def test_a_sealed_session_does_all_that_another_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 8192

    with laid_open(monkeypatch, sealed=True):
        async with running(folder, "--exec") as guest:
            await guest.link.call("files.write", {"path": "a"}, body=content)
            read = await guest.link.call("files.read", {"path": "a", "limit_bytes": 1 << 30})
            ran = await guest.spawn("sh", "-c", "echo out; echo err >&2; exit 3")

    assert read.body == content
    assert (ran["stdout"], ran["stderr"], ran["exit_code"]) == ("out\n", "err\n", 3)


async def test_where_the_kernel_keeps_the_link_closed_nothing_is_sealed(folder: Path) -> None:
    async with running(folder, "--exec") as guest:
        tries = guest.facts["tries"]
        tried = await attack(guest, f"open({LINK[1]!r}, 'wb')")

    assert isinstance(tries, dict)
    assert isinstance(tried, dict)
    assert (tries["open_link"], guest.link.state.is_sealed) == ("EACCES", False)
    assert "PermissionError" in tried["stderr"]


# ---- in containers


@pytest.fixture(scope="module")
def laid_out() -> Iterator[tuple[str, Path, list[str]]]:
    """Return an empty image, a runtime folder and its start line."""
    with reachable_folder() as runtime, empty_image() as image:
        yield image, runtime, build_runtime(runtime)


REACH = """
import errno, os
reached, hosts = [], []
for process in [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]:
    for name in ("mem", "cwd", "root", "exe", "io"):
        try:
            os.close(os.open(f"/proc/{process}/{name}", os.O_RDONLY))
            reached.append((process, name))
        except OSError:
            pass
    try:
        held = os.listdir(f"/proc/{process}/fd")
    except OSError:
        held = []
    for number in held:
        try:
            leads_to = os.readlink(f"/proc/{process}/fd/{number}")
            if leads_to.startswith("host:"):
                hosts.append((process, int(number)))
            if leads_to.startswith("socket"):
                os.close(os.open(f"/proc/{process}/fd/{number}", os.O_RDWR))
                reached.append((process, number))
        except OSError:
            pass
own = os.open(f"/proc/{os.getpid()}/exe", os.O_RDONLY)
print(reached, own > 0)
print(sorted(hosts))
"""


@pytest.mark.engine
@pytest.mark.parametrize("runtime", ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)])
async def test_nothing_of_the_guest_but_pipes_and_names_is_within_a_programs_reach(
    laid_out: tuple[str, Path, list[str]], folder: Path, runtime: str
) -> None:
    """B91: memory, roots and the sockets to the workers; the pipes of gVisor are what the seal is for."""
    place = Place(*laid_out, runtime)
    loader = place.start[: place.start.index("/rt/bin/python3")]

    async with place.running(folder, "--exec") as guest:
        argv = [*loader, "/rt/bin/python3", "-I", "-S", "-c"]
        seen = await guest.spawn(*argv, REACH, env={"PYTHONHOME": "/rt"})
        forged = None
        try:
            await guest.spawn(*argv, FORGE, env={"PYTHONHOME": "/rt"}, timeout_seconds=3.0)
        except SandboxLostError as error:
            forged = error

    # What leads out of gVisor: the link, which is sealed, and no stderr that could be flooded.
    hosts = [(1, 64), (1, 65)] if runtime == "runsc" else []
    assert seen["stdout"] == f"[] True\n{hosts}\n"
    # Under runc the program cannot open the link and ends with a traceback; the session goes on.
    assert isinstance(forged, GuestProtocolError) == (runtime == "runsc") == guest.link.state.is_sealed
