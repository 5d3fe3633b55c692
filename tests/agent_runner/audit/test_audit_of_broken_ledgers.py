"""Every audit command shows a broken ledger as one, and ends with exit 6."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.audit.recording import OTHER, spoilt
from tests.audit import attacker
from tests.audit.samples import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent_runner.audit.recording import Run


def test_a_broken_entry_is_shown_as_one_and_is_exit_6(recorded: Path, run: Run) -> None:
    attacker.change_session(recorded, spoilt, recomputed=False)

    for arguments in (("show", SESSION), ("tail", SESSION), ("query", "--session", SESSION, "type~o")):
        code, out, err = run(*arguments)
        assert code == 6
        assert "does not hold" in out
        assert f"of `{SESSION}` does not hold" in err
        assert "broken" in run(*arguments, "--json")[1].splitlines()[-1]


def test_a_tail_that_was_cut_off_is_told_by_whoever_shows_a_session(recorded: Path, run: Run) -> None:
    asked = (("show", SESSION), ("tail", SESSION), ("query", "--session", SESSION, "type~o"))
    assert [run(*arguments)[0] for arguments in asked] == [0] * 3
    attacker.change_session(recorded, lambda lines: lines[:5], recomputed=False)

    for arguments in asked:
        code, _, err = run(*arguments)
        assert code == 6
        assert f"entry 5 of `{SESSION}` does not hold: the log ends here" in err


def test_what_shows_a_broken_ledger_says_so_and_is_exit_6(recorded: Path, run: Run, tmp_path: Path) -> None:
    attacker.change_session(recorded, spoilt, recomputed=False)

    code, _, err = run("export", SESSION, "-f", "json", "-o", str(tmp_path / "x"))

    assert code == 6
    assert "does not hold" in err
    assert "broken" in (tmp_path / "x").read_text().splitlines()[-1]


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [_link, _pipe])
def test_a_log_that_is_no_file_is_broken_and_hides_no_other(
    recorded: Path, run: Run, change: Callable[[Path], None]
) -> None:
    """A link in a log's place could show any file, and a pipe could keep a reader waiting for ever."""
    change(recorded / "sessions" / SESSION / "events.jsonl")

    code, out, _ = run("verify", "--all", "--json")

    rows = {row["log"]: row for row in map(json.loads, out.splitlines())}
    assert code == 6
    assert (rows[OTHER]["verifies"], rows[SESSION]["first_bad_entry"]) == (True, 0)
    for arguments in (("show", SESSION), ("tail", SESSION), ("query", "--session", SESSION, "seq=1")):
        assert run(*arguments)[0] == 6
    for arguments in (("export", SESSION, "-f", "csv"), ("proof", SESSION, "1"), ("diff", SESSION, OTHER)):
        assert run(*arguments)[0] == 6
    assert "broken" in run("list")[1].splitlines()[0]


def _spoil_the_first(lines: list[bytes]) -> list[bytes]:
    return [b" " + lines[0], *lines[1:]]


def _spoil_the_last(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], b" " + lines[-1]]


@pytest.mark.parametrize(("spoil", "shown"), [(_spoil_the_first, False), (_spoil_the_last, True)])
def test_what_no_hosts_log_vouches_for_is_shown_and_not_believed(
    recorded: Path, run: Run, spoil: Callable[[list[bytes]], list[bytes]], *, shown: bool
) -> None:
    """With the host's log made useless, a session of any other machine could lie in this one's place."""
    asked = (
        ("show", SESSION),
        ("tail", SESSION),
        ("query", "--session", SESSION, "seq=1"),
        ("query", "seq=1"),
        ("export", SESSION, "-f", "csv"),
        ("diff", SESSION, SESSION),
    )
    assert [run(*arguments)[0] for arguments in asked] == [0] * 6
    log = recorded / "ledger.jsonl"
    log.write_bytes(b"".join(spoil(log.read_bytes().splitlines(keepends=True))))

    for arguments in asked:
        code, _, err = run(*arguments)
        assert (code, "the host's log does not hold" in err) == (6, True), (arguments, err)
    assert ("session.opened" in run("show", SESSION)[1]) is shown


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [_link, _pipe, _folder])
def test_bodies_that_lie_in_no_file_are_a_fault_and_hide_no_other(
    recorded: Path, run: Run, change: Callable[[Path], None]
) -> None:
    """What stands behind commitments is held as strictly to be a file as the log itself."""
    change(recorded / "sessions" / SESSION / "openings.jsonl")

    code, out, err = run("verify", "--all", "--json")

    rows = {row["log"]: row for row in map(json.loads, out.splitlines())}
    assert (code, err) == (6, "")
    assert (rows[OTHER]["verifies"], rows[SESSION]["bad"]) == (True, ["disclosure"])
