"""A command in a session: its code, its terminal, its signals, and what the ledger says of it."""

from __future__ import annotations

import itertools
import signal
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.gateway import command
from agent_runner.gateway.command import CommandRun
from agent_runner.gateway.terminal import record
from agent_runner.replaying import replayed
from agent_runner.session import run_session
from audit.verify import verify_session
from policies.source import parse_policy
from sandbox.errors import ContainerEndedError
from tests.agent_runner.gateway.screen import EXEC, Screen, asked, ran
from tests.agent_runner.stand import POLICY, PYTHON, SESSION, Model, lines, saying

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand


@pytest.mark.parametrize("code", [0, 1, 3, 105, 255])
async def test_the_commands_own_code_is_returned(stand: Stand, code: int) -> None:
    done, screen = await ran(stand, saying(), "sh", "-c", f"echo out; echo err >&2; exit {code}")

    assert (done.code, done.result.status) == (code, "done" if code == 0 else "failed")
    assert (bytes(screen.shown), bytes(screen.errors)) == (b"out\n", b"err\n")
    assert [e["exit_code"] for e in stand.entries("action.finished")] == [code]


async def test_a_command_that_is_not_there_says_so_as_a_shell_does(stand: Stand) -> None:
    done, screen = await ran(stand, saying(), "no-such-program")

    assert done.code == 127
    assert bytes(screen.errors) == b"pairlock: `no-such-program`: no such file or directory\n"


async def test_stdin_comes_whole_and_ends(stand: Stand) -> None:
    body = bytes(range(256)) * 4096
    pieces = [record(b"d", body[start : start + 30_000]) for start in range(0, len(body), 30_000)]

    done, screen = await ran(stand, saying(), "cat", screen=Screen(told=[*pieces, record(b"e")]))

    assert done.code == 0
    assert bytes(screen.shown) == body


async def test_a_signal_reaches_the_command_and_not_the_session(stand: Stand) -> None:
    trap = "trap 'echo got it; exit 7' INT; echo ready; while :; do sleep 0.05; done"
    screen = Screen(then={b"ready": [record(b"s", bytes([signal.SIGINT]))]})

    done, screen = await ran(stand, saying(), "sh", "-c", trap, screen=screen)

    assert (done.code, bytes(screen.shown)) == (7, b"ready\ngot it\n")


async def test_a_command_that_a_signal_ends_has_its_number_and_128(stand: Stand) -> None:
    screen = Screen(then={b"ready": [record(b"s", bytes([signal.SIGTERM]))]})

    done, _ = await ran(stand, saying(), "sh", "-c", "echo ready; sleep 60", screen=screen)

    assert done.code == 128 + signal.SIGTERM


async def test_a_terminal_has_its_size_its_keys_and_its_changes(stand: Stand) -> None:
    """`tty` says that it is one; a new size arrives with its signal; Ctrl-C is a signal inside."""
    code = (
        "import os,signal,sys\n"
        "def size(*_): os.write(1, b'now %d %d\\n' % os.get_terminal_size())\n"  # also within a print
        "signal.signal(signal.SIGWINCH, size)\n"
        "print(*map(os.isatty, range(3)), *os.get_terminal_size(), os.environ['TERM'], flush=True)\n"
        "try:\n  print('read', input(), flush=True)\n  while True: signal.pause()\n"
        "except KeyboardInterrupt: print('interrupted', flush=True); sys.exit(9)\n"
    )
    screen = Screen(
        shape="33x101",
        told=[record(b"d", b"words\r")],
        then={
            b"read words": [record(b"w", struct.pack(">HH", 50, 120))],
            b"now 120 50": [record(b"d", b"\x03")],
        },
    )

    done, screen = await ran(stand, saying(), PYTHON, "-c", code, screen=screen)

    assert b"True True True 101 33 xterm-256color" in screen.shown
    assert b"now 120 50" in screen.shown
    assert b"interrupted" in screen.shown
    assert done.code == 9


async def test_the_command_finds_no_variable_of_the_runners(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-hosts-own")
    monkeypatch.setenv("SOME_SECRET", "sk-the-hosts-own")

    _, screen = await ran(stand, saying(), "env")

    found = dict(line.split("=", 1) for line in screen.shown.decode().splitlines())
    assert "sk-the-hosts-own" not in screen.shown.decode()
    assert found["OPENAI_BASE_URL"] == "http://127.0.0.1:3128/v1"
    assert found["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:3128"
    assert found["OPENAI_API_KEY"] == found["ANTHROPIC_API_KEY"] == "the-key-is-on-the-host"


async def test_the_ledger_tells_the_command_and_verifies(stand: Stand) -> None:
    await ran(stand, saying(), "sh", "-c", "exit 3")

    assert [(e["argv"], e["via"], e["command"]) for e in stand.entries("action.intended")] == [
        (["sh", "-c", "exit 3"], "person", "exec")
    ]
    assert [e["argv"] for e in stand.entries("process.started")] == [["sh", "-c", "exit 3"]]
    assert stand.entries("session.closed")[0]["reason"] == "the command ended with exit code 3"
    assert verify_session(stand.state, SESSION).faults() == {}


@pytest.mark.parametrize(
    ("grant", "ruling"),
    [
        ("[files, exec]", ("allowed", ())),
        ("[files, network]", ("denied", ("capability",))),
        ("[]", ("denied", ("capability",))),
    ],
)
async def test_what_exec_ran_is_ruled_on_by_the_grant_of_another_policy(
    stand: Stand, grant: str, ruling: tuple[str, tuple[str, ...]]
) -> None:
    await ran(stand, saying(), "sh", "-c", "exit 3")
    other = parse_policy(f"version: 1\nname: y\ngrant: {grant}\n", origin="other.yaml")

    (action,) = replayed(stand.state, SESSION, other)

    assert action.argv == ("sh", "-c", "exit 3")
    assert action.recorded.verdict == "allowed"
    assert (action.now.verdict, action.now.codes) == ruling
    assert action.parts == (ruling[0] == "denied")


async def test_durations_are_of_the_clock_that_is_handed_in(stand: Stand) -> None:
    hours = itertools.count(step=3600.0)

    def made(*rooms: Any, **more: Any) -> CommandRun:
        return CommandRun(*rooms, argv=("true",), terminal=screen, monotonic=lambda: next(hours), **more)

    screen = Screen(told=[record(b"e")])
    await run_session(stand.request(saying(), EXEC, task="a command"), kind=made)

    assert [e["duration_ms"] for e in stand.entries("action.finished")] == [3_600_000]


async def test_the_wall_clock_ends_the_command_and_what_it_started(stand: Stand) -> None:
    policy = EXEC + "budget: {wall_time: 2s}\n"

    done, _ = await ran(stand, saying(), "sh", "-c", "sleep 600 & sleep 600", policy=policy)

    assert (done.code, done.result.status, done.result.exit_code) == (None, "budget", 5)
    assert done.result.reason.startswith("the budget of wall time ran out")
    assert [e["outcome"] for e in stand.entries("action.finished")] == ["cancelled"]


async def test_a_budget_that_ran_out_ends_the_command_and_is_named(stand: Stand) -> None:
    model = Model(lambda _, turn: lines(text=f"{turn}"))
    code = """
        question = {"model": "main", "messages": [{"role": "user", "content": "x"}]}
        for turn in range(9):
            print(post("/v1/chat/completions", question), flush=True)
        import time; time.sleep(600)
    """

    done, screen = await asked(stand, model, code, policy=EXEC + "budget: {turns: 2}\n")

    assert (done.code, done.result.exit_code) == (None, 5)
    assert done.result.reason == "the budget of turns ran out: 2 of 2 turns"
    assert screen.shown.count(b"(200") == 2
    assert len(model.heard) == 2
    assert [e["limit"] for e in stand.entries("limit.hit")] == ["budget.turns"]


async def test_output_beyond_the_bound_is_no_success(stand: Stand) -> None:
    """What was dropped is told, and the code is a budget's: a caller would take half a file for the whole."""
    stand.housing.limits = replace(stand.housing.limits, session_output_bytes=1000)

    done, screen = await ran(stand, saying(), "sh", "-c", "head -c 5000 /dev/zero")

    assert (done.code, done.result.status, done.result.exit_code) == (None, "budget", 5)
    assert done.result.reason == "the budget of output ran out: 5000 of 1000 bytes"
    assert len(screen.shown) == 1000
    assert [e["detail"] for e in stand.entries("action.finished")] == [
        "the budget of output ran out: 5000 of 1000 bytes: 4000 bytes of the command's were dropped"
    ]
    assert [e["limit"] for e in stand.entries("limit.hit")] == ["budget.output"]


async def test_output_without_end_ends_the_command(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more of it would be shown, and the processor would be busy until the wall clock."""
    monkeypatch.setattr(command, "FLOOD_SECONDS", 0.2)
    stand.housing.limits = replace(stand.housing.limits, session_output_bytes=1000)

    done, screen = await ran(stand, saying(), "sh", "-c", "while :; do echo xxxxxxx; done")

    assert (done.code, done.result.status, done.result.exit_code) == (None, "budget", 5)
    assert done.result.reason == "the budget of output ran out: 1000 of 1000 bytes"
    assert bytes(screen.shown) == b"xxxxxxx\n" * 125
    assert [e["limit"] for e in stand.entries("limit.hit")] == ["budget.output"]


BEHIND = "sleep 600 & (setsid sleep 600 &) ; nohup sleep 600 > /dev/null 2>&1 & echo $!; exit 3"


async def test_a_command_that_leaves_children_behind_has_ended_and_they_with_it(stand: Stand) -> None:
    """They hold its stdout, and would hold the session; in their own session and deaf to SIGHUP, too."""
    done, screen = await ran(stand, saying(), "sh", "-c", BEHIND)

    assert done.code == 3
    assert screen.shown.strip().isdigit()
    assert [e["outcome"] for e in stand.entries("action.finished")] == ["failed"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE, signal.SIGHUP])
async def test_a_signal_of_its_own_is_128_and_its_number(stand: Stand, number: signal.Signals) -> None:
    done, _ = await ran(stand, saying(), "sh", "-c", f"kill -{number:d} $$; sleep 60")

    assert done.code == 128 + number


async def test_a_command_that_stops_reading_is_not_waited_for(stand: Stand) -> None:
    """More comes than pipes hold: `head -1` of an endless stream."""
    pieces = [record(b"d", b"word\n" * 6000)] * 100

    done, screen = await ran(stand, saying(), "head", "-1", screen=Screen(told=pieces))

    assert (done.code, bytes(screen.shown)) == (0, b"word\n")


async def test_a_stopped_command_goes_on_when_it_is_continued(stand: Stand) -> None:
    """Ctrl-Z at a terminal stops the job; its shell gets the terminal back, and `fg` goes on.

    The shell shows what is typed: no word that is waited for stands in it as it is.
    """
    job = b'sh -c \'trap "echo wo""ken" CONT; echo rea""dy; until read x; do :; done; echo g""ot $x\'\r'
    screen = Screen(
        shape="24x80",
        told=[record(b"d", job)],
        then={
            b"ready": [record(b"d", b"\x1a")],
            b"Stopped": [record(b"d", b"fg\r")],
            b"woken": [record(b"d", b"it\r")],
            b"got it": [record(b"d", b"exit 9\r")],
        },
    )
    policy = EXEC + "budget: {wall_time: 60s}\n"

    done, _ = await ran(stand, saying(), "bash", "--norc", "-i", screen=screen, policy=policy)

    assert done.code == 9, bytes(screen.shown)


async def test_a_stopped_command_hears_the_signal_that_is_to_end_it(stand: Stand) -> None:
    """A process that is stopped takes no signal until it is continued, and would be waited for."""
    seen = "until grep -q 'State:.T' /proc/$0/status; do sleep 0.1; done; echo stopped"
    stops = 'setsid sh -c "$0" $$ & kill -STOP $$'
    screen = Screen(then={b"stopped": [record(b"s", bytes([signal.SIGTERM]))]})
    policy = EXEC + "budget: {wall_time: 30s}\n"

    done, _ = await ran(stand, saying(), "sh", "-c", stops, seen, screen=screen, policy=policy)

    assert done.code == 128 + signal.SIGTERM


async def test_what_looks_like_an_escape_of_a_remote_shell_is_only_bytes(stand: Stand) -> None:
    """`~.` after a line break ends ssh; here every byte is the command's, NUL and Ctrl-P Ctrl-Q, too."""
    body = b"\n~.\n~?\r~^Z\x00\x10\x11\x1d\xff\n"

    done, screen = await ran(stand, saying(), "cat", screen=Screen(told=[record(b"d", body), record(b"e")]))

    assert (done.code, bytes(screen.shown)) == (0, body)


async def test_a_session_that_ran_a_command_is_not_resumed(stand: Stand) -> None:
    """Its conversation is the agent's own, and ended with it; even one that used tools is told so."""
    tool = {"role": "tool", "tool_call_id": "1", "content": "R"}
    code = f"""
        print(post("/v1/chat/completions", {{"model": "main", "messages": [{tool!r}]}}))
        sys.exit(3)
    """
    done, _ = await asked(stand, Model(lambda _, __: lines(text="ok")), code)

    with pytest.raises(InvalidInputError, match="ran a command, whose own memory ended with it"):
        await stand.resume(saying())
    assert done.code == 3


async def test_one_that_was_killed_before_its_ledger_said_so_is_not_resumed_either(stand: Stand) -> None:
    """Else our own loop would go on with a command line for its task."""
    stand.housing.error = ContainerEndedError()
    await ran(stand, saying(), "true")
    stand.housing.error = None

    with pytest.raises(InvalidInputError, match="ran a command, whose own memory ended with it"):
        await stand.resume(saying())
    assert stand.entries("action.intended") == []


async def test_a_grant_without_exec_runs_no_command(stand: Stand) -> None:
    with pytest.raises(RefusedError, match="session holds `files`; a command needs `exec`"):
        await ran(stand, saying(), "true", policy=POLICY)
    with pytest.raises(InvalidInputError, match="there is no command"):
        await ran(stand, saying())
