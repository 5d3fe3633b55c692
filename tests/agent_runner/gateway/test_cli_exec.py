"""`pairlock exec` from outside: codes, pipes, and a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).resolve().parents[3]
SCRIPT = 'version: 1\nturns: [{text: "hello from the host"}]\n'
ASK = (
    "import http.client, json; line = http.client.HTTPConnection('127.0.0.1', 3128); "
    "line.request('POST', '/v1/messages', json.dumps({'model': 'main', 'max_tokens': 9, "
    "'messages': [{'role': 'user', 'content': 'x'}]})); "
    "print(json.load(line.getresponse())['content'][0]['text'])"
)
WAIT_SECONDS = 120.0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with policies and a script."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "script.yaml").write_text(SCRIPT)
    (tmp_path / "exec.yaml").write_text("version: 1\nname: x\ngrant: [exec]\n")
    (tmp_path / "short.yaml").write_text("version: 1\nname: x\ngrant: [exec]\nbudget: {wall_time: 3s}\n")
    (tmp_path / "files.yaml").write_text("version: 1\nname: x\ngrant: [files]\n")
    (tmp_path / "wrong.yaml").write_text("version: 1\nname: x\ngrant: [exec, files, network]\n")
    return tmp_path


def environment(place: Path, state: Path) -> dict[str, str]:
    """Return what pairlock is run with."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    kept = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ}
    paths = os.pathsep.join([str(CHECKOUT), *packages])
    return {**kept, "HOME": str(place / "home"), "PAIRLOCK_STATE": str(state), "PYTHONPATH": paths}


def execute(place: Path, state: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `pairlock exec` at pipes."""
    return subprocess.run(
        [sys.executable, "-m", "agent_runner", "exec", *words],
        cwd=place,
        env=environment(place, state),
        input=stdin,
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


MODEL = ("-m", "scripted:script.yaml")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 102, "there is no command"),
        (("--nope", "--", "true"), 102, "No such option"),
        (("-p", "missing.yaml", *MODEL, "--", "true"), 102, "missing.yaml"),
        (("-p", "wrong.yaml", *MODEL, "--", "true"), 103, "all three"),
        (("-p", "files.yaml", "-w", "sub", *MODEL, "--", "true"), 103, "a command needs `exec`"),
        (("-p", "exec.yaml", "--", "true"), 102, "no model is configured"),
        (("-p", "exec.yaml", "-w", ".", *MODEL, "--", "true"), 102, "would be ignored"),
    ],
)
def test_its_own_failures_have_codes_that_no_other_command_of_ours_has(
    place: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = execute(place, place / "state", *words)

    assert done.returncode == code, done.stderr
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.engine
def test_an_engine_that_is_not_there_is_104(place: Path) -> None:
    state = place / "state"
    state.mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-m", "agent_runner", "exec", "-p", "exec.yaml", *MODEL, "--", "true"],
        cwd=place,
        env={**environment(place, state), "DOCKER_HOST": "unix:///nowhere/docker.sock"},
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
    )

    assert done.returncode == 104, done.stderr


@pytest.mark.engine
def test_at_pipes_stdin_stdout_stderr_and_code_are_the_commands(
    place: Path, new_state: Callable[[], Path]
) -> None:
    """Options of the command are its own, with `--` and without."""
    code = f"import sys; {ASK}; print(sys.stdin.read()[::-1]); print('err', file=sys.stderr); sys.exit(41)"

    done = execute(place, new_state(), "-p", "exec.yaml", *MODEL, "python3", "-c", code, stdin=b"abc")

    assert (done.returncode, done.stdout) == (41, b"hello from the host\ncba\n"), done.stderr
    assert b"err\n" in done.stderr


@pytest.mark.engine
def test_a_stdout_that_cannot_be_written_is_no_success(place: Path, new_state: Callable[[], Path]) -> None:
    """Else `pairlock exec … > out` on a full disk would leave half a file and say that all is well."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agent_runner", "exec", "-p", "exec.yaml", *MODEL, "--", "echo", "x"],
            cwd=place,
            env=environment(place, new_state()),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=WAIT_SECONDS,
            check=False,
        )

    assert done.returncode == 101, done.stderr
    assert b"pairlock: stdout: no space left on device\n" in done.stderr
    assert b"Traceback" not in done.stderr


HEEDLESS = """
import signal, sys, time
for number in (signal.SIGPIPE, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)
while True:
    print('x', flush=True)
    time.sleep(0.2)
"""


@pytest.mark.engine
@pytest.mark.long
def test_a_command_that_neither_reads_nor_is_read_ends(place: Path, new_state: Callable[[], Path]) -> None:
    """Its stdin is full, so that no signal reaches it; nobody reads its stdout."""
    read, write = os.pipe()
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        with subprocess.Popen(
            [sys.executable, "-m", "agent_runner", "exec", "-p", "exec.yaml", *MODEL, "--",
             "python3", "-c", HEEDLESS],
            cwd=place, env=environment(place, new_state()),
            stdin=endless.stdout, stdout=write, stderr=subprocess.PIPE,
        ) as runner:  # fmt: skip
            os.close(write)
            first = os.read(read, 2)
            os.close(read)
            _, said = runner.communicate(timeout=WAIT_SECONDS)
        endless.kill()

    assert first == b"x\n"
    assert runner.returncode == 130, said
    assert b"Traceback" not in said


@pytest.mark.engine
def test_changes_that_wait_are_told_and_their_base_is_learnt(
    place: Path, new_state: Callable[[], Path]
) -> None:
    """A file that the user only touches afterwards is no conflict: its content was known at the end."""
    state = new_state()
    (place / "both.yaml").write_text("version: 1\nname: x\ngrant: [files, exec]\n")
    (place / "sub/a").write_text("1\n")

    done = execute(
        place, state, "-p", "both.yaml", "-w", "sub", *MODEL, "--", "sh", "-c", "echo 2 >a; echo 3 >b"
    )
    os.utime(place / "sub/a", ns=(1, 1))
    seen = subprocess.run(
        [sys.executable, "-m", "agent_runner", "diff", "--stat"],
        cwd=place, env=environment(place, state), capture_output=True, timeout=WAIT_SECONDS, check=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert b"2 changes to review: `pairlock diff " in done.stderr
    assert seen.stdout == b"M  a  (2 -> 2 bytes)\nA  b  (0 -> 2 bytes)\n"


@pytest.mark.engine
def test_the_wall_clock_is_105(place: Path, new_state: Callable[[], Path]) -> None:
    waits = ("python3", "-c", "import time; time.sleep(600)")

    done = execute(place, new_state(), "-p", "short.yaml", *MODEL, "--", *waits)

    assert done.returncode == 105
    assert b"the budget of wall time ran out" in done.stderr


class Person:
    """Somebody at a terminal."""

    def __init__(self, place: Path, state: Path, *words: str) -> None:
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.chdir(place)
            os.execve(  # noqa: S606 - an argv, in a child of this test
                sys.executable,
                [sys.executable, "-m", "agent_runner", "exec", *words],
                environment(place, state),
            )
        self.seen = b""
        self.resize(31, 97)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size; the kernel tells its programs."""
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.terminal, keys)

    def sees(self, words: bytes) -> None:
        """Wait until something is on the screen."""
        deadline = time.monotonic() + WAIT_SECONDS
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.terminal], [], [], 1)[0]:
                self.seen += os.read(self.terminal, 65536)

    def leaves(self) -> int:
        """Wait for the end and return the code."""
        while True:
            try:
                data = os.read(self.terminal, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


AT_TERMINAL = """
import os, signal, sys, time
def changed(*_): print('size', *os.get_terminal_size(), flush=True)
signal.signal(signal.SIGWINCH, changed)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(77))
print('ready', os.isatty(0), *os.get_terminal_size(), flush=True)
print('read', input(), flush=True)
while True:
    try: time.sleep(60)
    except KeyboardInterrupt: print('ctrl-c', flush=True)
"""


@pytest.mark.engine
def test_a_terminal_is_passed_through_with_keys_size_and_signals(
    place: Path, new_state: Callable[[], Path]
) -> None:
    person = Person(place, new_state(), "-p", "exec.yaml", *MODEL, "--", "python3", "-c", AT_TERMINAL)

    person.sees(b"ready True 97 31")
    person.type(b"words\r")
    person.sees(b"read words")
    person.resize(44, 132)
    person.sees(b"size 132 44")
    person.type(b"\x03")
    person.sees(b"ctrl-c")
    os.kill(person.child, signal.SIGTERM)

    assert person.leaves() == 77


def _containers(state: Path) -> list[str]:
    """Return the containers of the sessions of a state folder."""
    label = f"label=io.pairlock.state={(state / 'label').read_text().strip()}"
    listed = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", label], capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


def _runs(pid: str) -> bool:
    """Say whether a process is there; one that only waits to be noticed has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.engine
def test_a_killed_runner_leaves_neither_container_nor_parser(
    place: Path, new_state: Callable[[], Path]
) -> None:
    """SIGKILL while the command has asked the model: nobody is there to clean up, and nothing is left."""
    state = new_state()
    code = f"{ASK}; print('asked', flush=True); import time; time.sleep(600)"
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "agent_runner",
            "exec",
            "-p",
            "exec.yaml",
            *MODEL,
            "--",
            "python3",
            "-c",
            code,
        ],
        cwd=place,
        env=environment(place, state),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as runner:
        assert runner.stdout is not None
        said = [runner.stdout.readline(), runner.stdout.readline()]
        children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
        there = _containers(state)
        runner.kill()

    deadline = time.monotonic() + WAIT_SECONDS
    while _containers(state) or any(map(_runs, children)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert said == [b"hello from the host\n", b"asked\n"]
    assert len(there) == 1
    assert children
