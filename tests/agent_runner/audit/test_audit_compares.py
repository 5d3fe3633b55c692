"""What `audit diff` and `replay` say of two sessions, and of one under another policy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from audit import compare
from tests.agent_runner.audit.recording import OTHER, POLICY
from tests.audit import attacker
from tests.audit.samples import SESSION

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.agent_runner.audit.recording import Run


def test_two_sessions_are_compared(recorded: Path, run: Run) -> None:
    code, out, _ = run("diff", SESSION, OTHER)
    _, rows, _ = run("diff", SESSION, OTHER, "--json")

    assert code == 1
    assert [line[0] for line in out.splitlines()] == ["-", "+"]
    assert "denied (command)  files write" in out
    assert json.loads(rows.splitlines()[1])["second"]["verdict"] == "denied"
    assert run("diff", SESSION, SESSION)[:2] == (0, "")


def test_rows_of_a_comparison_end_with_what_is_broken(
    recorded: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told before stays: a program sees in the last row that it is not all."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    asked = (("diff", SESSION, OTHER, "--json"), ("replay", SESSION, "--policy", str(policy), "--json"))
    monkeypatch.setattr(compare, "_MOST_HELD", 1)
    whole = [run(*arguments) for arguments in asked]
    attacker.change_session(recorded, lambda lines: [*lines[:-1], b" " + lines[-1]], recomputed=False)

    told = [run(*arguments) for arguments in asked]

    for (_, before, _), (code, out, err) in zip(whole, told, strict=True):
        *rows, last = out.splitlines()
        broken = json.loads(last)
        assert code == 6
        assert broken.keys() == {"broken"}
        assert f"pairlock: {broken['broken']}\n" in err
        assert rows
        assert before.splitlines()[: len(rows)] == rows
        assert "broken" not in before


def test_another_policy_is_asked_and_the_place_where_the_two_part_is_shown(
    recorded: Path, run: Run, tmp_path: Path
) -> None:
    strict, lax = tmp_path / "strict.yaml", tmp_path / "lax.yaml"
    strict.write_text(POLICY)
    lax.write_text(POLICY.replace("[files read]", "['files *']"))

    code, out, err = run("replay", OTHER, "--policy", str(strict))
    other, rows, _ = run("replay", OTHER, "--policy", str(lax), "--json")

    assert (code, other) == (0, 1)
    assert [line.split()[1] for line in out.splitlines()] == ["allowed", "denied"]
    assert "2 decisions, every one as it was" in err
    first, second = map(json.loads, rows.splitlines())
    assert (first["parts"], second["parts"]) == (False, True)
    assert (second["recorded"]["verdict"], second["now"]["verdict"]) == ("denied", "allowed")
    assert not second["without_content"]
    shown = run("replay", OTHER, "--policy", str(lax))[1].splitlines()
    assert shown[1].startswith("--- here the two part")
    assert run("replay", OTHER, "--policy", "nowhere")[0] == 2
