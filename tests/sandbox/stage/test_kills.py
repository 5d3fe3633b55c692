"""An apply that is killed for real, before any of its calls to the kernel, is finished or was never begun."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from sandbox.stage import kernel
from sandbox.stage.apply import apply_changes, recover
from sandbox.stage.changes import compute_changes
from sandbox.stage.opened import open_stage
from tests.sandbox.stage.killing import die_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Yard

MOST_CALLS = 400
STEP = int(os.environ.get("PAIRLOCK_KILL_STEP", "7"))
"""Every how many calls a recovery is killed too; 1 is all of them, by hand."""


def prepared(yard: Yard) -> Yard:
    """Return a workspace with one change of each kind waiting for it."""
    yard = yard.again()
    yard.fill({"a": "1", "b": "2", "d/x": "3", "e/f": "4", "t": "5"})

    with yard.mounted(yard.plan()) as inside:
        yard.fill({"a": "agent", "n/m": "new", "z": "new"}, below=inside)
        (inside / "b").unlink()
        shutil.rmtree(inside / "d")
        (inside / "e/f").chmod(0o755)
        (inside / "t").unlink()
        yard.fill({"t/u": "folder now"}, below=inside)
        (inside / "l").symlink_to("a")
    return yard


def look(yard: Yard) -> dict[str, tuple[int, str]]:
    """Return what the user's folder holds: kinds and modes, contents and targets."""
    found = {}
    for path in yard.workspace.rglob("*"):
        mode = path.lstat().st_mode
        text = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(yard.workspace))] = (mode, text)
    return found


def apply_all(yard: Yard) -> None:
    with open_stage(yard.session) as stage:
        apply_changes(stage, compute_changes(stage).changes)


def recover_all(yard: Yard) -> None:
    with open_stage(yard.session) as stage:
        recover(stage)


def killed_before(yard: Yard, number: int, act: Callable[[Yard], None] = apply_all) -> bool:
    """Act in a child that kills itself before its call of that number; tell whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            die_at(number)
            act(yard)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be on a filesystem that cannot exchange two names at once."""
    real = kernel.renameat2

    def refuse(from_folder: int, source: str, to_folder: int, target: str, flags: int) -> None:
        if flags == kernel.RENAME_EXCHANGE:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(from_folder, source, to_folder, target, flags)

    monkeypatch.setattr(kernel, "renameat2", refuse)


@pytest.mark.long
@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "no exchange"])
def test_a_kill_before_any_call_leaves_all_or_nothing(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, *, exchange: bool
) -> None:
    """Recovered, the workspace is as before or as applied, and holds nothing of the apply's own."""
    if not exchange:
        without_exchange(monkeypatch)
    done = prepared(yard)
    before = look(done)
    apply_all(done)
    after = look(done)
    outcomes: list[str] = []
    for number in range(MOST_CALLS):
        one = prepared(yard)
        if not killed_before(one, number):
            break
        with open_stage(one.session) as stage:
            recover(stage)
            left = compute_changes(stage).changes
        now = look(one)
        assert now in (before, after), number
        assert (now == after) == (left == ()), number
        outcomes.append("applied" if now == after else "as before")
        shutil.rmtree(one.top)
    else:
        raise AssertionError("the apply never came to its end")

    assert outcomes == sorted(outcomes, reverse=True)
    assert {"applied", "as before"} == set(outcomes)


@pytest.mark.long
def test_a_recovery_that_is_killed_too_is_finished_by_the_next_and_then_all_can_be_applied(
    yard: Yard,
) -> None:
    """Whatever two kills leave, the third look makes whole, and a second apply brings the rest."""
    done = prepared(yard)
    before = look(done)
    apply_all(done)
    after = look(done)
    killed = 0
    for first in range(STEP // 2, MOST_CALLS, STEP):
        one = prepared(yard)
        if not killed_before(one, first):
            break
        second = first % STEP
        while killed_before(one, second, recover_all):
            killed += 1
            second += STEP
        recover_all(one)
        assert look(one) in (before, after), first
        apply_all(one)
        assert look(one) == after, first
        with open_stage(one.session) as stage:
            assert compute_changes(stage).changes == ()
        shutil.rmtree(one.top)

    assert killed > STEP
