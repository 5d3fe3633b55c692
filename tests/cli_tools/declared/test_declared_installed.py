"""Files in the operator's folder are commands of this machine; `tools check` runs their examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent_runner import tools_check
from agent_runner.commands import declarations_meant, known_commands
from agent_runner.errors import InvalidInputError
from agent_runner.policy_file import load_policy, read_closure
from policies.ceiling import parse_ceiling
from policies.errors import CeilingError, ExpectationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAIN = "from agent_runner.cli.main import main; main()"
DECLARED = """version: 1
commands:
  - name: words count
    summary: Count words.
    program: wc
    needs: [files, exec]
    sinks: {}
    arguments: {path: {type: path, access: read}}
    argv: [-w, --, "{path}"]
    examples:
      - {line: words count a.txt, argv: [wc, -w, --, ./a.txt], files: {a.txt: one two}, output: 2 ./a.txt}
      - {line: words count missing.txt, exit_code: 1}
      - {line: words count --files0-from=a.txt, refused: true}
"""
POLICY = """version: 1
name: counts
grant: [files, exec]
commands: {allow: [words count]}
expect: [{allow: words count a.txt}]
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an installed file of declared commands."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "pairlock" / "commands" / "words.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(DECLARED)
    return path


def test_a_file_in_the_folder_is_a_command_that_policies_know(installed: Path, tmp_path: Path) -> None:
    """The twin, the same policy without the file, does not load: its expectation names no command."""
    policy = tmp_path / "counts.yaml"
    policy.write_text(POLICY)

    assert "words count" in [command.name for command in known_commands().commands]
    assert load_policy(str(policy)).policy.name == "counts"
    assert [source.origin for source in declarations_meant(load_policy(str(policy)).policy)] == [
        str(installed)
    ]
    installed.unlink()
    with pytest.raises(ExpectationError, match="words count"):
        load_policy(str(policy))


def test_trust_in_a_policy_ends_when_a_declared_command_that_it_offers_changes(
    installed: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "counts.yaml"
    policy.write_text(POLICY)
    before = read_closure(policy)

    installed.write_text(DECLARED.replace("argv: [-w, --,", "argv: [-c, --,"))
    changed = read_closure(policy)
    installed.write_text(DECLARED)
    other = installed.with_name("other.yaml")
    other.write_text(DECLARED.replace("words count", "lines count"))

    assert changed.digest != before.digest
    assert str(installed) in [source.origin for source in changed.texts]
    assert read_closure(policy).digest == before.digest  # what it does not offer is not its concern


def test_a_file_that_others_can_write_is_refused(installed: Path) -> None:
    installed.chmod(0o666)

    with pytest.raises(InvalidInputError, match="could have been written by somebody else"):
        known_commands()


def test_two_files_cannot_declare_one_command(installed: Path) -> None:
    installed.with_name("again.yaml").write_text(DECLARED)

    with pytest.raises(InvalidInputError, match="declare one command"):
        known_commands()


def _unheard(_: str, /, *, done: int, total: int) -> None:
    """Tell nobody."""


async def standings(path: Path, state: Path) -> list[str]:
    declared = tools_check.read_declared(path)
    return [one.standing async for one in tools_check.checked(declared, state=state, progress=_unheard)]


async def test_the_operators_ceiling_holds_for_examples_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No session is opened for a command that needs more; the twin, a refused line, needs none."""
    path = tmp_path / "words.yaml"
    path.write_text(DECLARED)
    ceiling = parse_ceiling("version: 1\ngrants: [[files]]\n", origin="ceiling.yaml")
    monkeypatch.setattr(tools_check, "read_ceiling", lambda: ceiling)

    with pytest.raises(CeilingError) as caught:
        await standings(path, tmp_path)
    path.write_text(
        DECLARED.replace("output: 2 ./a.txt}", "runs: false}").replace(
            ", exit_code", ", runs: false, exit_code"
        )
    )
    found = await standings(path, tmp_path)

    assert "tools-check" in str(caught.value) or "grant" in str(caught.value)
    assert found == ["parsed", "parsed", "refused"]


def pairlock(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PAIRLOCK_STATE": str(state), "PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", MAIN, "tools", *words],
        env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip


def test_a_file_that_is_not_valid_is_told_by_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(DECLARED.replace("    sinks: {}\n", ""))

    done = pairlock(tmp_path, "check", str(path))

    assert done.returncode == 2
    assert done.stderr == f"pairlock: {path}:3:5: key `sinks` is missing\nhint: add `sinks: …`\n"


def test_no_example_is_tried_where_another_file_is_not_valid(tmp_path: Path) -> None:
    """The twin: without that file they are."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(
        DECLARED.replace("output: 2 ./a.txt}", "runs: false}").replace(
            ", exit_code", ", runs: false, exit_code"
        )
    )
    bad.write_text("version: 1\n")

    refused = pairlock(tmp_path, "check", str(good), str(bad))
    tried = pairlock(tmp_path, "check", str(good))

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"pairlock: {bad}:1:1: ")
    assert (tried.returncode, len(tried.stdout.splitlines())) == (0, 3)


@pytest.mark.engine
def test_check_runs_each_example_and_names_what_is_not_as_the_file_says(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """Two files: one holds; the other expects another argv, other output and another code."""
    state, good, bad = new_state(), tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(DECLARED)
    bad.write_text(
        DECLARED.replace("output: 2 ./a.txt", "output: 3 ./a.txt")
        .replace("exit_code: 1", "exit_code: 0")
        .replace("--files0-from=a.txt, refused", "a.txt, refused")
    )

    held = pairlock(state, "check", "--json", str(good))
    failed = pairlock(state, "check", "--json", str(bad))

    assert held.returncode == 0, held.stderr
    assert [one["standing"] for one in json.loads(held.stdout)] == ["ran", "ran", "refused"]
    assert failed.returncode == 1
    assert [(one["standing"], one["why"][:28]) for one in json.loads(failed.stdout)] == [
        ("failed", "it shows `2 ./a.txt`, expect"),
        ("failed", "its exit code is 1, expected"),
        ("failed", "it is not refused"),
    ]
