"""This side's terminal is lent to a command, and given back: its signals, and what is typed next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from agent_runner.gateway.terminal import INTERRUPTING
from tests.agent_runner.gateway.test_cli_exec import environment

CHECKOUT = Path(__file__).resolve().parents[3]
WAIT_SECONDS = 120.0
HEAD = """
import asyncio, os, signal, sys
from agent_runner.gateway.terminal import HostTerminal
signal.alarm(100)
async def first(terminal):
    async for told in terminal.records():
        return told
"""


def program(
    body: str, *, stdout: int = subprocess.PIPE, stderr: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that holds a terminal; it ends itself when it waits too long."""
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.dedent(body)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
    )


def pipe_without_a_reader() -> int:
    """Return an end that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize("number", INTERRUPTING)
def test_a_signal_after_the_command_is_the_sessions_again(number: signal.Signals) -> None:
    """While the ledger is closed and the sandbox removed, Ctrl-C still means something."""
    body = f"""
        async def main():
            came = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_signal_handler({number:d}, came.set)
            terminal = HostTerminal(insisted=lambda: None, after=came.set)
            with terminal.held():
                os.kill(os.getpid(), {number:d})
                while (await first(terminal))[:1] != b"s":
                    pass
            print(came.is_set(), flush=True)
            os.kill(os.getpid(), {number:d})
            await came.wait()
            print("heard", flush=True)
        asyncio.run(main())
    """
    with program(body) as child:
        shown, _ = child.communicate(timeout=WAIT_SECONDS)

    assert shown == b"False\nheard\n"


def test_what_was_called_for_a_signal_is_called_again_where_nothing_else_is_asked_for() -> None:
    """The positive twin: a program that uses pairlock as a library keeps its own handlers."""
    body = """
        async def main():
            signal.signal(signal.SIGTERM, lambda *_: print("mine", flush=True))
            with HostTerminal(insisted=lambda: None).held():
                pass
            os.kill(os.getpid(), signal.SIGTERM)
        asyncio.run(main())
    """
    with program(body) as child:
        shown, _ = child.communicate(timeout=WAIT_SECONDS)

    assert shown == b"mine\n"


def test_what_is_typed_after_the_command_is_left_for_who_reads_next() -> None:
    body = """
        async def main():
            for _ in range(2):
                terminal = HostTerminal(insisted=lambda: None)
                with terminal.held():
                    told = await first(terminal)
                print(told[5:].decode(), flush=True)
        asyncio.run(main())
        print(os.read(0, 99).decode(), flush=True)
    """
    with program(body) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        seen = []
        for words in (b"one", b"two", b"three"):
            child.stdin.write(words)
            child.stdin.flush()
            seen.append(child.stdout.readline())

    assert seen == [b"one\n", b"two\n", b"three\n"]


def test_ctrl_c_before_there_is_a_session_is_told_by_its_code(tmp_path: Path) -> None:
    """A credential that a command of the operator's fetches may take long, or ask for a password."""
    begun = tmp_path / "begun"
    (tmp_path / "script.yaml").write_text("version: 1\nturns: [{text: x}]\n")
    (tmp_path / "p.yaml").write_text(
        "version: 1\nname: x\ngrant: [network, exec]\nexec: {contents: public}\n"
        "network: {allow: [{host: api.example.com, credential: slow, data: public}]}\n"
    )
    configuration = tmp_path / "home" / ".config" / "pairlock" / "config.yaml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(
        "version: 1\ncredentials:\n"
        f"  slow: {{command: [sh, -c, 'touch {begun}; exec sleep 60'], hosts: [api.example.com]}}\n"
    )
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    words = ("exec", "-p", "p.yaml", "-m", "scripted:script.yaml", "--", "true")
    with subprocess.Popen(
        [sys.executable, "-m", "agent_runner", *words],
        cwd=tmp_path,
        env={**environment(tmp_path, state), "XDG_RUNTIME_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as child:
        while not begun.exists() and child.poll() is None:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=WAIT_SECONDS)

    assert begun.exists(), errors
    assert child.returncode == 130, errors
    assert b"Traceback" not in errors


def test_a_command_whose_output_nobody_reads_hears_so_as_in_a_pipeline() -> None:
    """`pairlock exec -- yes | head -1` ends; what heeds no SIGPIPE gets SIGTERM after a while."""
    body = """
        from agent_runner.gateway import terminal as module
        async def main():
            module.HEEDLESS_SECONDS = 0.2
            terminal = HostTerminal(insisted=lambda: None)
            numbers = []
            async def told():
                async for each in terminal.records():
                    numbers.append(each[5])
            telling = asyncio.create_task(told())
            while len(set(numbers)) < 2:
                await terminal.show(b"word", errors=False)
                await asyncio.sleep(0.05)
            print(numbers[0] == signal.SIGPIPE, numbers[-1] == signal.SIGTERM, file=sys.stderr)
            telling.cancel()
        asyncio.run(main())
    """
    unread = pipe_without_a_reader()
    with program(body, stdout=unread, stderr=subprocess.PIPE) as child:
        os.close(unread)
        _, said = child.communicate(timeout=WAIT_SECONDS)

    assert said == b"True True\n"


def test_a_command_that_heeds_nobody_ends_the_session_though_it_is_told_nothing() -> None:
    """No signal overtakes a stdin that the command does not read; and at most one waits behind it."""
    body = """
        from agent_runner.gateway import terminal as module
        async def main():
            module.HEEDLESS_SECONDS = 0.2
            ended = []
            terminal = HostTerminal(insisted=lambda: ended.append(terminal._told.qsize()))
            while not ended:
                await terminal.show(b"word", errors=False)
                await asyncio.sleep(0.01)
            for _ in range(50):
                await terminal.show(b"word", errors=False)
            print(ended, terminal._told.qsize(), file=sys.stderr)
        asyncio.run(main())
    """
    unread = pipe_without_a_reader()
    with program(body, stdout=unread, stderr=subprocess.PIPE) as child:
        os.close(unread)
        _, said = child.communicate(timeout=WAIT_SECONDS)

    assert said == b"[1] 1\n"


def test_a_stderr_that_nobody_reads_ends_no_command_whose_stdout_is_read() -> None:
    body = """
        async def main():
            terminal = HostTerminal(insisted=lambda: None)
            await terminal.show(b"lost", errors=True)
            await terminal.show(b"kept", errors=False)
            await terminal.show(b" %d" % terminal._told.qsize(), errors=False)
        asyncio.run(main())
    """
    unread = pipe_without_a_reader()
    with program(body, stderr=unread) as child:
        os.close(unread)
        shown, _ = child.communicate(timeout=WAIT_SECONDS)

    assert shown == b"kept 0"


def test_a_slow_reader_of_a_stdout_that_does_not_block_loses_nothing() -> None:
    """Whoever shares the pipe may have set it so: a shell's other programs, an event loop."""
    body = """
        async def main():
            os.set_blocking(1, False)
            terminal = HostTerminal(insisted=lambda: None)
            for number in range(64):
                await terminal.show(bytes([number]) * 32768, errors=False)
            print(terminal._told.qsize(), file=sys.stderr)
        asyncio.run(main())
    """
    with program(body, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        time.sleep(0.5)
        shown, said = child.communicate(timeout=WAIT_SECONDS)

    assert shown == b"".join(bytes([number]) * 32768 for number in range(64))
    assert said == b"0\n"


def test_a_full_disk_is_no_missing_reader() -> None:
    """Else half a file would pass for the whole."""
    body = """
        async def main():
            terminal = HostTerminal(insisted=lambda: None)
            try:
                await terminal.show(b"word", errors=False)
            except OSError as error:
                print(error.filename, error.strerror, terminal._told.qsize(), file=sys.stderr)
        asyncio.run(main())
    """
    with (
        Path("/dev/full").open("wb") as full,
        program(body, stdout=full.fileno(), stderr=subprocess.PIPE) as child,
    ):
        _, said = child.communicate(timeout=WAIT_SECONDS)

    assert said == b"stdout No space left on device 0\n"


@pytest.mark.parametrize("number", INTERRUPTING)
def test_the_third_signal_at_pipes_ends_the_session(number: signal.Signals) -> None:
    """Whether the command reads what it is told or not; at a terminal Ctrl-C is a key like any other."""
    body = f"""
        async def main():
            ended = asyncio.Event()
            with HostTerminal(insisted=ended.set).held():
                for _ in range(3):
                    print(ended.is_set(), flush=True)
                    os.kill(os.getpid(), {number:d})
                    await asyncio.sleep(0.05)
                await ended.wait()
        asyncio.run(main())
    """
    with program(body) as child:
        shown, _ = child.communicate(timeout=WAIT_SECONDS)

    assert (shown, child.returncode) == (b"False\nFalse\nFalse\n", 0)
