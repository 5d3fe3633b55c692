from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sandbox.stage import Access, Copy, Overlay, resume, resume_stage
from sandbox.stage.apply import apply_changes
from sandbox.stage.changes import compute_changes
from sandbox.stage.discard import discard
from sandbox.stage.errors import StageError
from sandbox.stage.opened import open_stage
from sandbox.stage.start import load_record, save_record
from sandbox.workspace import open_workspace
from tests.sandbox.stage.applying import apply

if TYPE_CHECKING:
    from conftest import Yard

    from sandbox.stage import StagePlan


def resumed(yard: Yard, *hide: str) -> StagePlan:
    workspace = open_workspace(yard.workspace, state=yard.top / "state")
    return resume_stage(workspace, yard.session, hide=yard.patterns(*hide), executable=True)


def told(yard: Yard) -> list[tuple[str, str, str]]:
    with open_stage(yard.session) as stage:
        return [(c.kind.value, c.path, c.conflict) for c in compute_changes(stage).changes]


def test_a_session_goes_on_with_its_own_changes_and_the_users(yard: Yard) -> None:
    """What the agent did is there; what the user did meanwhile is its new base."""
    yard.fill({"mine": "1", "theirs": "1", "gone": "1"})
    with yard.mounted(yard.plan()) as inside:
        (inside / "mine").write_text("agent")
        (inside / "gone").unlink()
    yard.fill({"theirs": "user", "new": "user"})

    with yard.mounted(resumed(yard)) as inside:
        seen = {path.name: path.read_text() for path in inside.iterdir()}
        (inside / "theirs").write_text("agent")
        (inside / "new").unlink()

    assert seen == {"mine": "agent", "theirs": "user", "new": "user"}
    assert told(yard) == [
        ("deleted", "gone", ""), ("modified", "mine", ""), ("deleted", "new", ""), ("modified", "theirs", ""),
    ]  # fmt: skip


def test_after_a_partial_apply_a_session_goes_on_with_the_rest(yard: Yard) -> None:
    """What was taken is the user's and the base of what comes; what was left is still the agent's."""
    yard.fill({"taken": "1", "left": "1", "gone": "1", "dir/x": "1"})
    with yard.mounted(yard.plan()) as inside:
        for name in ("taken", "left"):
            (inside / name).write_text("agent")
        (inside / "gone").unlink()
        (inside / "dir/x").unlink()
        (inside / "dir").rmdir()
    with open_stage(yard.session) as stage:
        apply_changes(stage, compute_changes(stage).changes, chosen=yard.patterns("taken", "gone"))
    yard.fill({"taken": "agent, and the user"})

    with yard.mounted(resumed(yard)) as inside:
        seen = {path.name: path.read_text() for path in inside.iterdir()}
        (inside / "taken").write_text("agent again")

    assert seen == {"taken": "agent", "left": "agent"}
    assert told(yard) == [
        ("deleted", "dir", ""), ("deleted", "dir/x", ""), ("modified", "left", ""),
        ("modified", "taken", "it was changed meanwhile"),
    ]  # fmt: skip


def test_what_must_be_hidden_now_is_covered(yard: Yard) -> None:
    yard.fill({"a": "1"})
    with yard.mounted(yard.plan(".env")):
        pass
    yard.fill({".env": "secret"})

    plan = resumed(yard, ".env")

    assert plan.facts.hidden == (".env",)
    with yard.mounted(plan) as inside:
        assert [path.name for path in inside.iterdir()] == ["a"]
    assert told(yard) == []


def test_a_conflict_from_before_stays_one(yard: Yard) -> None:
    yard.fill({"a": "1"})
    with yard.mounted(yard.plan()) as inside:
        (inside / "a").write_text("agent")
    yard.fill({"a": "user"})

    with yard.mounted(resumed(yard)):
        pass

    assert told(yard) == [("modified", "a", "it was changed meanwhile")]


@pytest.mark.parametrize("again", [False, True], ids=["removed", "made again"])
@pytest.mark.parametrize("local", [True, False], ids=["overlay", "copy"])
def test_what_a_user_puts_into_a_folder_that_the_agent_removed_stays(
    yard: Yard, *, again: bool, local: bool
) -> None:
    """The agent has never seen it behind its whiteout, or its opaque folder, and so has not deleted it."""
    yard.fill({"d/old": "1", "d/sub/old": "1", "other/old": "1"})
    plan = yard.plan(engine_local=local)
    with yard.overlay_of(yard.session) as inside:
        shutil.rmtree(inside / "d")
        if again:
            (inside / "d").mkdir()
            (inside / "d/agents").write_text("agent")
        (inside / "other/old").unlink()
    yard.fill({"d/new": "user", "d/fresh/new": "user", "other/new": "user"})

    assert type(resumed(yard)) is type(plan)
    changes = told(yard)
    result = apply(yard)

    gone = [("deleted", path, "") for path in ("d/old", "d/sub", "d/sub/old")]
    made = ("added", "d/agents", "") if again else ("deleted", "d", "")
    assert changes == sorted([*gone, made, ("deleted", "other/old", "")], key=lambda change: change[1])
    assert {item.path for item in result.not_applied} == (set() if again else {"d"})
    kept = ("d/new", "d/fresh/new", "other/new")
    assert [(yard.workspace / path).read_text() for path in kept] == ["user"] * 3
    assert not (yard.workspace / "d/old").exists()


def test_a_resume_that_turns_to_a_copy_and_is_killed_keeps_the_base(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user did meanwhile is a conflict before the new record is written, and after."""
    yard.fill({"a": "base", "b": "base"})
    with yard.mounted(yard.plan(".env")) as inside:
        (inside / "a").write_text("agent")
    yard.fill({"a": "user", "b": "user, longer", ".env": "secret"})
    conflict = [("modified", "a", "it was changed meanwhile")]

    def refuse(*_: object) -> None:
        raise PermissionError

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(resume, "build_hidden_layer", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(resume, "save_record", die)
        with pytest.raises(KeyboardInterrupt):
            resumed(yard, ".env")
    killed = told(yard)
    plan = resumed(yard, ".env")

    assert killed == told(yard) == conflict
    assert isinstance(plan, Copy)
    assert (plan.facts.reason, plan.content_bytes) == (
        "this user cannot make whiteouts in the state folder", 2 * 4096
    )  # fmt: skip
    assert json.loads((yard.session / "stage" / "stage.json").read_bytes())["strategy"] == "Copy"


def shifted(yard: Yard, seconds: int) -> None:
    """Move the start of a session: into the future, the clock was set back since."""
    record = yard.session / "stage" / "record"
    start = load_record(record)
    wall_ns = start.moment.wall_ns + seconds * 10**9
    save_record(record, replace(start, moment=replace(start.moment, wall_ns=wall_ns)))


def test_a_clock_that_is_wrong_at_a_resume_makes_no_conflict_for_good(yard: Yard) -> None:
    """What cannot be told now can be when the clock is right again; what was learnt needs no clock."""
    yard.fill({"a": "1", "b": "1"})
    with yard.mounted(yard.plan()) as inside:
        (inside / "a").write_text("agent")
        (inside / "new").write_text("agent")
    shifted(yard, 3600)
    with pytest.raises(StageError, match="the clock was set back") as wrong:
        resumed(yard)
    assert "try again when it is right" in wrong.value.hint
    shifted(yard, -3600)
    assert told(yard) == [("modified", "a", ""), ("added", "new", "")]
    shifted(yard, 3600)

    with yard.mounted(resumed(yard)) as inside:
        (inside / "b").write_text("agent")

    assert told(yard) == [("modified", "a", ""), ("modified", "b", ""), ("added", "new", "")]


def test_a_resume_begins_with_a_clock_that_nobody_has_set_back(yard: Yard) -> None:
    """What nobody knows of the last session stays a conflict; what the agent changes now is asked again."""
    yard.fill({"a": "1", "b": "1"})
    with yard.mounted(yard.plan()) as inside:
        (inside / "a").write_text("agent")
    (yard.session / "stage" / "clock-set-back").touch()

    with yard.mounted(resumed(yard)) as inside:
        (inside / "b").write_text("agent")

    assert told(yard) == [("modified", "a", "it was changed meanwhile"), ("modified", "b", "")]


def test_a_read_only_session_and_another_workspace_are_refused(yard: Yard) -> None:
    yard.plan(access=Access.READ)
    with pytest.raises(StageError, match="access: stage"):
        resumed(yard)
    yard.workspace.rename(yard.top / "moved")
    yard.workspace.mkdir()
    with pytest.raises(StageError, match="another folder"):
        resumed(yard)


def test_an_ordinary_user_has_the_whole_life_of_a_stage(yard: Yard) -> None:
    """Only the engine is root: planning, whiteouts, opaque marks, applying and discarding do without."""
    yard.fill({"d/a": "1", "d/b": "2", "d/.env": "secret", "mod": "1"})
    for path in (yard.top, *yard.top.rglob("*")):
        os.chown(path, 65534, 65534)

    def plan() -> str:
        made = yard.plan(".env")
        assert isinstance(made, Overlay)
        return made.options

    options = yard.as_user(65534, plan)

    def agent() -> str:
        inside = yard.top / "mounted"
        for name in ("a", "b"):
            (inside / "d" / name).unlink()
        (inside / "d").rmdir()
        (inside / "d").mkdir()
        (inside / "d/fresh").write_text("agent")
        (inside / "mod").write_text("agent")
        return ""

    with yard.overlay(options):
        yard.as_user(65534, agent)

    def review() -> str:
        with open_stage(yard.session) as stage:
            found = compute_changes(stage)
            kinds = [(c.kind.value, c.path) for c in found.changes]
            result = apply_changes(stage, found.changes)
        return f"{kinds} {found.troubles} {result.not_applied}"

    said = yard.as_user(65534, review)

    gone = yard.as_user(65534, lambda: " ".join(discard(yard.session).names))

    assert said == "[('deleted', 'd/a'), ('deleted', 'd/b'), ('added', 'd/fresh'), ('modified', 'mod')] () ()"
    assert gone in {"", "work"}, "only the kernel's own work folder may be left to root"
    assert sorted(path.name for path in (yard.workspace / "d").iterdir()) == [".env", "fresh"]
    assert (yard.workspace / "d/.env").read_text() == "secret"
