"""Looking at a session that runs: what is shown stood still while it was read, or else that is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent_runner.looking import look_at
from audit.lock import WriterLock
from audit.state import StateFiles
from sandbox.stage.layout import StageFolder
from sandbox.stage.parcel import is_out
from sandbox.stage.steady import TRIES, read_steadily
from tests.review.made import POLICY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.review.made import Made


def edited(inside: Path) -> None:
    (inside / "a").write_text("agent\n")


def upper_of(made: Made, session: str) -> Path:
    return StateFiles(made.state).session(session).folder / "stage/upper"


def test_a_running_session_is_told_as_running_and_its_changes_are_those_of_one_moment(made: Made) -> None:
    made.fill({"a": "1\n"})
    session = made.session(edited)
    ended = made.pairlock("diff", session, "--json")
    lock = WriterLock(StateFiles(made.state).session(session).lock)

    running = made.pairlock("diff", session, "--json")
    refused = made.pairlock("apply", session, "--yes")
    lock.release()

    assert (ended.err, running.out) == ("", ended.out)
    assert running.err == f"session {session} is running: these are its changes at this moment\n"
    assert [change["path"] for change in json.loads(running.out)["changes"]] == ["a"]
    assert refused.code == 2
    assert (made.workspace / "a").read_text() == "1\n"


def test_what_moves_while_it_is_read_is_read_again(made: Made) -> None:
    """A write between the first listing and the last byte must not be mixed into what is shown."""
    session = made.session(edited)
    upper = upper_of(made, session)
    seen: list[str] = []

    def read() -> str:
        seen.append((upper / "a").read_text())
        if len(seen) == 1:
            (upper / "a").write_text("half")
        return seen[-1]

    assert read_steadily(StageFolder(upper.parent), read) == ("half", True)
    assert seen == ["agent\n", "half"]


def test_a_session_that_never_stops_writing_is_shown_with_a_warning(made: Made) -> None:
    session = made.session(edited)
    upper = upper_of(made, session)
    calls: list[int] = []

    def read() -> int:
        calls.append(len(calls))
        (upper / f"n{len(calls)}").write_text("x")
        return len(calls)

    assert read_steadily(StageFolder(upper.parent), read) == (TRIES, False)


def test_a_copy_that_is_out_is_told_as_such(made: Made) -> None:
    """A stage that travels holds what changed only when it has come back."""
    made.fill({"a": "1\n"})
    session = StateFiles(made.state).session(made.session(edited))
    (session.folder / "stage/sent.json").write_text("{}")
    lock = WriterLock(session.lock)

    look = look_at(session, with_patch=False)
    lock.release()

    assert is_out(StageFolder(session.folder / "stage"))
    assert look.caution == (
        f"session {session.folder.name} is running on a copy: what it changes there shows when it has ended"
    )


def test_a_copy_that_never_came_back_is_told_as_lost_and_not_as_no_changes(made: Made) -> None:
    """Its runner was killed: by `diff`, and by `apply`, which would say that there is nothing to take."""
    made.fill({"a": "1\n"})
    session = made.session(lambda _: None)
    fine = [made.pairlock("diff", session).err, made.pairlock("apply", session, "--yes").err]
    (StateFiles(made.state).session(session).folder / "stage/sent.json").write_text("{}")

    diff, applied = made.pairlock("diff", session), made.pairlock("apply", session, "--yes")

    lost = f"session {session} ended before its copy came back: what it changed there since is lost\n"
    assert (diff.err, applied.err) == (lost + "no changes\n", lost + "no changes\n")
    assert fine == ["no changes\n"] * 2


def test_of_a_copy_that_was_only_read_nothing_is_lost(made: Made) -> None:
    policy = POLICY + "files: {access: read}\n"
    session = made.session(lambda _: None, policy=policy)
    (StateFiles(made.state).session(session).folder / "stage/sent.json").write_text("{}")

    assert made.pairlock("diff", session).err == "no changes\n"


def test_two_may_look_at_once(made: Made) -> None:
    """Each writes down the digests that it learns, under a name of its own."""
    made.fill({f"f{n}": "1\n" for n in range(5)})
    stage = (
        StateFiles(made.state).session(made.session(lambda inside: (inside / "f1").unlink())).folder / "stage"
    )
    (stage / ".hashes.json.new").mkdir()

    look = look_at(StateFiles(made.state).session(stage.parent.name), with_patch=True)

    assert [change.path for change in look.changes.changes] == ["f1"]
    assert sorted(path.name for path in stage.iterdir() if path.name.endswith(".new")) == [".hashes.json.new"]
