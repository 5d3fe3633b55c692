"""What `audit query` finds, and what it says where nothing fits."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

from tests.agent_runner.audit.recording import OTHER, READ, record
from tests.audit.samples import SECRET, SESSION

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.agent_runner.audit.recording import Run


async def test_a_query_that_finds_nothing_says_so_and_which_field_there_is_none_of(
    run: Run, state: Path
) -> None:
    await record(state, SESSION, ("files", "read", "a"))

    assert run("query", "argv=nothing", "evidence.check=x", "any=x") == (0, "", "no entry fits\n")
    assert run("query", "agrv~files") == (
        0,
        "",
        "no entry fits\nhint: no kind of entry has a field `agrv`; `pairlock audit schema` has them all\n",
    )


async def test_a_query_for_a_type_that_there_is_not_names_the_nearest(run: Run, state: Path) -> None:
    await record(state, SESSION, ("files", "read", "a"))

    assert run("query", "type=action.intnded") == (
        0,
        "",
        "no entry fits\nhint: no entry is of the type `action.intnded`; did you mean `action.intended`?\n",
    )
    assert run("query", "type=limit.hit") == (0, "", "no entry fits\n")
    assert run("query", "type~intnded") == (0, "", "no entry fits\n")


def test_a_query_filters_and_says_of_which_session_each_entry_is(recorded: Path, run: Run) -> None:
    code, out, _ = run("query", "type=action.intended", "verdict=deny")
    _, rows, _ = run("query", "argv~src/app.py", "--since", "1h", "--json")
    _, one, _ = run("query", "argv~src/app.py", "--session", OTHER, "--json")

    assert code == 0
    assert out.splitlines()[0] == f"session {OTHER}"
    assert "files write a.txt" in out
    assert [json.loads(row)["session"] for row in rows.splitlines()] == [SESSION, OTHER]
    assert [json.loads(row)["session"] for row in one.splitlines()] == [OTHER]
    assert run("query", "verdict")[0] == 2
    assert run("query", "--since", "yesterday")[0] == 2


async def test_where_a_secret_was_used_is_asked_on_stdin(
    state: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(state, SESSION, READ, ("files", "read", SECRET))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\n"))

    code, out, err = run("query", "--secret-stdin", "--json")

    assert code == 0
    assert SECRET not in out + err
    assert [json.loads(row)["type"] for row in out.splitlines()] == ["model.answered", "action.intended"]
