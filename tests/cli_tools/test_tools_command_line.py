"""`pairlock tools list|show|call`: what is offered is listed; an action is carried out as an agent's is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cli_tools.catalogue import built_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAIN = "from agent_runner.cli.main import main; main()"
POLICY = """version: 1
name: small
grant: [files]
commands: {allow: [files read, files write, "git *"], ask: [files remove]}
"""


def pairlock(state: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PAIRLOCK_STATE": str(state), "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", MAIN, "tools", *words],
        input=stdin, env=environment, check=False, capture_output=True,
    )  # fmt: skip


def listed(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Return a policy file."""
    path = tmp_path / "small.yaml"
    path.write_text(POLICY)
    return path


def test_without_a_policy_every_command_is_listed_with_needs_and_sinks(tmp_path: Path) -> None:
    entries = listed(pairlock(tmp_path, "list", "--json"))

    assert [entry["command"] for entry in entries] == [command.name for command in built_in().commands]
    post = next(entry for entry in entries if entry["command"] == "http post")
    assert (post["needs"], post["sinks"], post["runs"]) == (["network"], {"url": "url"}, "egress")


def test_with_a_policy_only_what_it_offers_is_listed(tmp_path: Path, policy: Path) -> None:
    entries = listed(pairlock(tmp_path, "list", "--json", "--policy", str(policy)))

    assert {entry["command"]: entry["standing"] for entry in entries} == {
        "files read": "allowed",
        "files remove": "asks",
        "files write": "allowed",
        "finish": "allowed",
        **{f"git {word}": "allowed" for word in ("blame", "diff", "log", "show", "status")},
    }


def test_a_command_that_does_not_exist_is_one_clear_line(tmp_path: Path) -> None:
    done = pairlock(tmp_path, "show", "files", "explode")

    assert done.returncode == 2
    assert done.stderr.decode().startswith(
        "pairlock: no command `files explode`\nhint: the commands of `files`: `files list`, `files move`, "
    )


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("filez read", "no command `filez read`"),
        ("a\nb", "no command `a b`"),
        ("\x1b[31m", "no command `\\x1b[31m`"),
    ],
)
def test_what_is_no_command_is_told_in_one_line(tmp_path: Path, word: str, line: str) -> None:
    done = pairlock(tmp_path, "show", word)

    told = done.stderr.decode().splitlines()
    assert (done.returncode, told[0], len(told)) == (2, f"pairlock: {line}", 2)
    assert told[1] == (
        "hint: did you mean `files read`?" if "z" in word else "hint: `pairlock tools list` names them"
    )


def test_the_name_of_a_group_names_its_commands(tmp_path: Path) -> None:
    done = pairlock(tmp_path, "show", "slack")

    assert done.returncode == 2
    assert done.stderr.decode().startswith(
        "pairlock: no command `slack`\nhint: the commands of `slack`: `slack channels`, `slack history`, "
    )


def test_a_command_is_shown_with_its_capabilities_and_sinks(tmp_path: Path) -> None:
    shown = pairlock(tmp_path, "show", "mail", "send").stdout.decode()
    twin = pairlock(tmp_path, "show", "files", "stat").stdout.decode()

    assert "Needs: network. Sinks: to (address). Acts in: connector." in shown
    assert "Needs: files. Sinks: none. Acts in: guest." in twin


def test_on_a_terminal_of_80_columns_no_line_is_longer_and_elsewhere_each_command_is_one(
    tmp_path: Path,
) -> None:
    environment = {**os.environ, "PAIRLOCK_STATE": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    environment["COLUMNS"] = "80"
    ours, theirs = os.openpty()
    words = [sys.executable, "-c", MAIN, "tools", "list"]
    with subprocess.Popen(words, stdout=theirs, stderr=subprocess.PIPE, env=environment):
        os.close(theirs)
        on_terminal = _all(ours).decode().replace("\r", "")
    elsewhere = pairlock(tmp_path, "list").stdout.decode()

    assert max(map(len, on_terminal.splitlines())) <= 80
    assert len(elsewhere.splitlines()) == len(built_in().commands)
    assert "".join(on_terminal.split()) == "".join(elsewhere.split())


def _all(descriptor: int) -> bytes:
    """Read a terminal until nobody has it open, which Linux tells as EIO."""
    pieces = []
    try:
        while piece := os.read(descriptor, 4096):
            pieces.append(piece)
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return b"".join(pieces)


@pytest.mark.parametrize("body", ["missing", "."])
def test_a_body_that_cannot_be_read_is_one_clear_line(tmp_path: Path, policy: Path, body: str) -> None:
    start = ("call", "-p", str(policy), "-w", str(tmp_path), "--body", str(tmp_path / body))

    done = pairlock(tmp_path / "state", *start, "files", "write", "x")

    assert done.returncode == 2
    told = done.stderr.decode()
    assert told.startswith(f"pairlock: body `{tmp_path / body}` cannot be read: ")
    assert told.endswith("\nhint: a file, or `-` for stdin\n")
    assert not (tmp_path / "state").exists()


def test_words_that_mean_no_action_start_nothing(tmp_path: Path, policy: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()

    done = pairlock(tmp_path / "state", "call", "-p", str(policy), "-w", str(work), "files", "read")

    assert done.returncode == 2
    assert done.stderr.decode().startswith(
        "pairlock: `files read`: missing argument 'PATH'\nhint: files read"
    )


@pytest.mark.parametrize(("option", "told"), [("-p", 1), ("--policy", 1), ("--all", 0)])
def test_a_policy_behind_the_action_is_told_where_it_belongs(tmp_path: Path, option: str, told: int) -> None:
    """There it is a word of the action's, as `-p` in `run pytest -p no:cacheprovider` has to be."""
    done = pairlock(tmp_path / "state", "call", "files", "list", option, "read-only-review")

    assert done.returncode == 2
    first, hint = done.stderr.decode().splitlines()
    assert first == "pairlock: no policy was named"
    assert hint.startswith("hint: options stand before the action: ") == told


@pytest.mark.engine
def test_an_action_is_carried_out_denied_or_fails_with_a_code_of_its_own(
    new_state: Callable[[], Path], tmp_path: Path, policy: Path
) -> None:
    """0 for done, 3 for denied, 1 for failed; each in a session of its own; the workspace stays as it is."""
    work, state = tmp_path / "work", new_state()
    work.mkdir()
    (work / "a").write_text("hello\n")
    start = ("call", "-p", str(policy), "-w", str(work))
    reading = tmp_path / "reading.yaml"
    reading.write_text(
        "version: 1\nname: r\ngrant: [files]\nfiles: {access: read}\ncommands: {allow: [files read]}\n"
    )

    only_read = pairlock(state, "call", "-p", str(reading), "-w", str(work), "files", "read", "a")
    read = pairlock(state, *start, "files", "read", "a", "--lines", "1-1")
    wrote = pairlock(state, *start, "--body", "-", "files", "write", "b", stdin=b"\xff\n")
    failed = pairlock(state, *start, "files", "read", "missing")
    denied = pairlock(state, *start, "--json", "files", "remove", "a")

    assert (read.returncode, read.stdout) == (0, b"     1  hello\n"), read.stderr
    assert (wrote.returncode, wrote.stdout) == (0, b"created b, 2 bytes\n")
    assert (failed.returncode, failed.stdout[:19]) == (1, b"error (not-found): ")
    assert denied.returncode == 3
    assert [reason["code"] for reason in json.loads(denied.stdout)["reasons"]] == ["command"]
    assert sorted(path.name for path in work.iterdir()) == ["a"]
    assert len(list((state / "sessions").iterdir())) == 5
    assert [_last(done) for done in (only_read, read)] == ["session ID"] * 2
    assert _last(wrote) == "session ID; 1 change to review: `pairlock diff ID`, `apply` or `discard`"


def _last(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last line on stderr, without its session's id."""
    return re.sub(r"\b[0-9a-z]{12}\b", "ID", done.stderr.decode().splitlines()[-1])
