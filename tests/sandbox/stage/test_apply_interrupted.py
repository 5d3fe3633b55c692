"""An apply that is killed, refused half way, or meets a user who is faster."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from sandbox.stage import kernel
from sandbox.stage.apply import apply_changes, recover
from sandbox.stage.changes import compute_changes
from sandbox.stage.discard import discard
from sandbox.stage.errors import ApplyError, StageError
from sandbox.stage.journal import Verb
from sandbox.stage.opened import open_stage
from sandbox.stage.yard import Yard as ApplyYard
from tests.sandbox.stage.applying import apply, names, reasons, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Yard

    from sandbox.stage.apply import ApplyResult
    from sandbox.stage.base import Seen
    from sandbox.stage.journal import Step


class Killed(BaseException):
    """Stands for SIGKILL at a step: nothing after it runs, no clean-up either."""


def steps_until(limit: int) -> Callable[[ApplyYard, Step], None]:
    """Return a `carry_out` that dies before its step number `limit`."""
    real, count = ApplyYard.carry_out, iter(range(1000))

    def carry_out(self: ApplyYard, step: Step) -> None:
        if next(count) == limit:
            raise Killed
        real(self, step)

    return carry_out


@pytest.mark.parametrize("limit", range(8))
def test_an_interrupted_apply_is_finished(yard: Yard, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Killed before any step, the rest is done by `recover`, and nothing of the apply's own is left."""
    yard.fill({"a": "1", "b": "2", "d/x": "3", "e/f": "4"})

    def act(inside: Path) -> None:
        yard.fill({"a": "agent", "n/m": "new"}, below=inside)
        (inside / "b").unlink()
        shutil.rmtree(inside / "d")
        (inside / "e/f").chmod(0o755)

    staged(yard, act)
    with monkeypatch.context() as patch:
        patch.setattr(ApplyYard, "carry_out", steps_until(limit))
        with pytest.raises(Killed):
            apply(yard)

    with open_stage(yard.session) as stage:
        done = recover(stage)
        again = recover(stage)
        left = compute_changes(stage).changes

    assert done is not None
    assert again is None
    assert left == ()
    assert names(yard.workspace) == ["a", "e", "e/f", "n", "n/m"]
    assert (yard.workspace / "a").read_text() == "agent"


def test_an_apply_is_told_while_its_journal_stands_and_again_if_that_fails(yard: Yard) -> None:
    """Killed before its entry is written, it is finished and told by `recover`, without any conflict."""
    yard.fill({"a": "1", "b": "2", "c": "3"})
    staged(yard, lambda inside: yard.fill({"a": "agent", "b": "agent", "c": "agent"}, below=inside))
    yard.fill({"b": "user"})
    told: list[tuple[str, ...]] = []

    def die(result: ApplyResult) -> None:
        told.append(result.applied)
        raise Killed

    with open_stage(yard.session) as stage, pytest.raises(Killed):
        apply_changes(stage, compute_changes(stage).changes, noted=die)
    with open_stage(yard.session) as stage:
        done = recover(stage, noted=lambda recovery: told.append(recovery.finished))

    assert done is not None
    assert told == [("a", "c"), done.finished]
    assert done.finished == ("a", "c")
    assert (yard.workspace / "b").read_text() == "user"


def test_steps_that_found_the_user_faster_are_not_told_as_finished(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when the apply's own folder is gone already, before its entry."""
    yard.fill({"a": "1", "b": "2"})
    staged(yard, lambda inside: yard.fill({"a": "agent", "b": "agent"}, below=inside))
    real = ApplyYard.carry_out

    def late(self: ApplyYard, step: Step) -> None:
        if step.path == "b":
            yard.fill({"b": "user, just now"})
        real(self, step)

    def die(_: ApplyResult) -> None:
        raise Killed

    with monkeypatch.context() as patch, open_stage(yard.session) as stage:
        patch.setattr(ApplyYard, "carry_out", late)
        with pytest.raises(Killed):
            apply_changes(stage, compute_changes(stage).changes, noted=die)
    with open_stage(yard.session) as stage:
        done = recover(stage)

    assert done is not None
    assert done.finished == ("a",)


def test_an_apply_that_was_rolled_back_is_never_told_as_finished(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filesystem refused, and the process is killed while it clears up."""
    yard.fill({"a": "1", "b": "2"})
    staged(yard, lambda inside: yard.fill({"a": "agent", "b": "agent"}, below=inside))
    carry_out, close = ApplyYard.carry_out, ApplyYard.close
    told: list[tuple[str, ...]] = []

    def refuse(self: ApplyYard, step: Step) -> None:
        if step.path == "b":
            raise OSError(28, "No space left on device")
        carry_out(self, step)

    def die(self: ApplyYard, *, remove: bool) -> None:
        close(self, remove=remove)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ApplyYard, "carry_out", refuse)
        patch.setattr(ApplyYard, "close", die)
        with pytest.raises(Killed):
            apply(yard)
    with open_stage(yard.session) as stage:
        done = recover(stage, noted=lambda recovery: told.append(recovery.finished))

    assert done is not None
    assert (done.undone, told) == (True, [])
    assert [(yard.workspace / name).read_text() for name in "ab"] == ["1", "2"]


def test_an_apply_killed_while_it_prepares_is_dropped(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.fill({"a": "1"})
    staged(yard, lambda inside: (inside / "a").write_text("agent"))

    def die(self: ApplyYard, spare: str) -> Iterator[int]:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ApplyYard, "new_file", die)
        with pytest.raises(Killed):
            apply(yard)
    with pytest.raises(ApplyError, match="unfinished"):
        apply(yard)
    with pytest.raises(StageError, match="unfinished"):
        discard(yard.session)

    with open_stage(yard.session) as stage:
        done = recover(stage)

    assert done is not None
    assert done.undone
    assert names(yard.workspace) == ["a"]
    assert (yard.workspace / "a").read_text() == "1"
    assert apply(yard).applied == ("a",)


def test_a_filesystem_that_refuses_half_way_leaves_everything_as_it_was(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is undone: files put back, folders removed, modes restored."""
    yard.fill({"a": "1", "b": "2", "d/x": "3", "z": "26"})

    def act(inside: Path) -> None:
        yard.fill({"a": "agent", "n/m": "new", "z": "agent"}, below=inside)
        (inside / "b").unlink()
        shutil.rmtree(inside / "d")

    staged(yard, act)
    real = ApplyYard.carry_out

    def refuse(self: ApplyYard, step: Step) -> None:
        if step.path == "z":
            raise OSError(28, "No space left on device")
        real(self, step)

    monkeypatch.setattr(ApplyYard, "carry_out", refuse)

    with pytest.raises(ApplyError, match="nothing was applied: no space left on device"):
        apply(yard)

    assert names(yard.workspace) == ["a", "b", "d", "d/x", "z"]
    assert [(yard.workspace / n).read_text() for n in ("a", "b", "d/x", "z")] == ["1", "2", "3", "26"]


def refuse_at_z(monkeypatch: pytest.MonkeyPatch, user: Callable[[], object]) -> None:
    """Let the user act, and then the filesystem refuse, when all steps but that of `z` are done."""
    real = ApplyYard.carry_out

    def refuse(self: ApplyYard, step: Step) -> None:
        if step.path == "z" and step.verb is Verb.PLACE:
            user()
            raise OSError(28, "No space left on device")
        real(self, step)

    monkeypatch.setattr(ApplyYard, "carry_out", refuse)


def saved(path: Path, text: str) -> None:
    """Save as an editor does: a new file takes the old one's place."""
    path.with_name("saving").write_text(text)
    path.with_name("saving").rename(path)


def test_what_a_user_writes_before_an_apply_is_taken_back_stays(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was placed is taken back only where it still is what was placed."""
    yard.fill(dict.fromkeys(["edited", "saved", "gone", "removed", "left", "d/x", "m", "z"], "1"))

    def act(inside: Path) -> None:
        changed = ["edited", "saved", "gone", "left", "new edited", "new saved", "new gone", "new left", "z"]
        yard.fill(dict.fromkeys(changed, "agent"), below=inside)
        (inside / "removed").unlink()
        shutil.rmtree(inside / "d")

    def user() -> None:
        (yard.workspace / "d").mkdir()
        yard.fill(dict.fromkeys(["edited", "new edited", "removed", "d/x"], "user"))
        for name in ("saved", "new saved"):
            saved(yard.workspace / name, "user")
        for name in ("gone", "new gone"):
            (yard.workspace / name).unlink()

    staged(yard, act)
    refuse_at_z(monkeypatch, user)

    with pytest.raises(ApplyError, match="nothing was applied: no space left on device"):
        apply(yard)

    users = dict.fromkeys(["edited", "saved", "new edited", "new saved", "removed", "d/x"], "user")
    there = {path: (yard.workspace / path) for path in names(yard.workspace)}
    texts = {path: file.read_text() for path, file in there.items() if file.is_file()}
    assert texts == {**users, "left": "1", "m": "1", "z": "1"}
    assert not (yard.session / "stage" / "apply.json").exists()


def test_what_was_placed_is_told_as_applied_when_the_user_moves_its_folder_at_once(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look at what was placed finds another folder, or a symlink: the step is done all the same."""
    yard.fill({"d/a": "1"})
    staged(yard, lambda inside: yard.fill({"d/a": "agent"}, below=inside))
    look = ApplyYard._at

    def moved(self: ApplyYard, path: str) -> Seen | None:
        (yard.workspace / "d").rename(yard.workspace / "aside")
        (yard.workspace / "d").symlink_to("aside")
        return look(self, path)

    monkeypatch.setattr(ApplyYard, "_at", moved)

    result = apply(yard)

    assert (result.applied, reasons(result)) == (("d/a",), {})
    assert (yard.workspace / "aside/a").read_text() == "agent"


@pytest.mark.parametrize("there", [True, False], ids=["replaced", "new"])
def test_what_a_user_saves_while_it_is_taken_back_is_put_back(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    """Between the look and the rename."""
    yard.fill({"z": "1", **({"a": "1"} if there else {})})
    staged(yard, lambda inside: yard.fill({"a": "agent", "z": "agent"}, below=inside))
    look = ApplyYard._at

    def late() -> None:
        def at(self: ApplyYard, path: str) -> Seen | None:
            found = look(self, path)
            saved(yard.workspace / path, "user, just now")
            return found

        monkeypatch.setattr(ApplyYard, "_at", at)

    refuse_at_z(monkeypatch, late)

    with pytest.raises(ApplyError, match="nothing was applied"):
        apply(yard)

    assert [(yard.workspace / name).read_text() for name in "az"] == ["user, just now", "1"]
    assert names(yard.workspace) == ["a", "z"]


def test_a_user_who_is_faster_by_a_moment_wins(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user saves between the last look and the rename: what was displaced is put back."""
    yard.fill({"a": "1", "b": "1"})

    def act(inside: Path) -> None:
        (inside / "a").write_text("agent")
        (inside / "b").unlink()

    staged(yard, act)
    real = ApplyYard.carry_out

    def late(self: ApplyYard, step: Step) -> None:
        yard.fill({step.path: "user, just now"})
        real(self, step)

    monkeypatch.setattr(ApplyYard, "carry_out", late)

    result = apply(yard)

    assert reasons(result) == {"a": "conflict", "b": "conflict"}
    assert [(yard.workspace / n).read_text() for n in "ab"] == ["user, just now"] * 2
    assert names(yard.workspace) == ["a", "b"]


def test_a_filesystem_without_exchange_is_served_too(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(kernel, "renameat2", refuse)
    yard.fill({"a": "1", "b": "2"})

    def act(inside: Path) -> None:
        yard.fill({"a": "agent", "n/m": "new"}, below=inside)
        (inside / "b").unlink()

    staged(yard, act)

    assert apply(yard).not_applied == ()
    assert names(yard.workspace) == ["a", "n", "n/m"]
    assert (yard.workspace / "a").read_text() == "agent"
