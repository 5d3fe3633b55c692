from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from audit.lock import is_held
from policies.capability import Capability
from policies.lineage import Contribution, Label
from sandbox.stage.errors import LabelError
from sandbox.stage.labels import LabelChange, Labels
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Yard

FETCHED = Label((Contribution("aaaa", frozenset({Capability.NETWORK})),))
RAN = Label((Contribution("bbbb", frozenset({Capability.EXEC})),))


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    return Labels(tmp_path / "workspaces")


def test_a_label_is_raised_read_and_lowered(yard: Yard, labels: Labels) -> None:
    identity = open_workspace(yard.workspace, state=yard.top / "state").identity
    assert labels.read(identity) == Label()

    labels.raise_to(identity, FETCHED)
    change = labels.raise_to(identity, RAN)

    assert change.before == FETCHED
    assert labels.read(identity) == FETCHED.joined(RAN)
    labels.lower(identity, FETCHED)
    assert labels.read(identity) == RAN
    labels.lower(identity, RAN)
    assert labels.read(identity) == Label()


def test_a_label_follows_the_folder_and_not_the_path(yard: Yard, labels: Labels) -> None:
    """Moved, or seen through a bind mount: the same folder; another folder at the old path: not."""
    state = yard.top / "state"
    labels.raise_to(open_workspace(yard.workspace, state=state).identity, FETCHED)
    moved = yard.workspace.rename(yard.top / "moved")
    bound = yard.top / "bound"
    bound.mkdir()
    yard.workspace.mkdir()

    assert labels.read(open_workspace(moved, state=state).identity) == FETCHED
    assert labels.read(open_workspace(yard.workspace, state=state).identity) == Label()
    subprocess.run(["/usr/bin/mount", "--bind", moved, bound], check=True)
    try:
        assert labels.read(open_workspace(bound, state=state).identity) == FETCHED
    finally:
        subprocess.run(["/usr/bin/umount", bound], check=True)


def test_a_label_survives_a_restart_that_renumbers_devices(yard: Yard, labels: Labels) -> None:
    now = open_workspace(yard.workspace, state=yard.top / "state").identity
    labels.raise_to(replace(now, device=now.device + 1), FETCHED)

    assert labels.read(now) == FETCHED
    labels.raise_to(now, RAN)
    assert labels.read(now) == FETCHED.joined(RAN)
    assert len(labels.all()) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', "\0", '{"version": 1, "workspace": 3}'])
def test_a_damaged_label_is_an_error_and_not_an_empty_label(yard: Yard, labels: Labels, text: str) -> None:
    identity = open_workspace(yard.workspace, state=yard.top / "state").identity
    labels.raise_to(identity, FETCHED)
    (labels.folder / f"{identity.key}.json").write_text(text)

    with pytest.raises(LabelError):
        labels.read(identity)
    with pytest.raises(LabelError):
        labels.raise_to(identity, RAN)


def test_writers_at_the_same_time_lose_nothing(yard: Yard, labels: Labels) -> None:
    """Two runners raise one workspace's label: the lock makes it one after the other."""
    identity = open_workspace(yard.workspace, state=yard.top / "state").identity
    children = []
    for number in range(6):
        child = os.fork()
        if child == 0:
            try:
                for step in range(5):
                    part = Contribution(f"s{number}-{step}", frozenset({Capability.FILES}))
                    labels.raise_to(identity, Label((part,)))
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)

    assert len(labels.read(identity).contributions) == 30


def test_a_raise_is_noted_before_anybody_else_can_change_the_label(yard: Yard, labels: Labels) -> None:
    """Else a review would be noted first, and the log would say that the label stands."""
    identity = open_workspace(yard.workspace, state=yard.top / "state").identity
    held = []

    def noted(_: LabelChange) -> None:
        held.append((is_held(labels.lock), labels.read(identity)))

    labels.raise_to(identity, FETCHED, noted=noted)
    labels.lower(identity, FETCHED, noted=noted)

    assert held == [(True, FETCHED), (True, FETCHED)]
    assert not is_held(labels.lock)


def test_a_part_that_holds_more_than_was_shown_stays(yard: Yard, labels: Labels) -> None:
    """It was raised after the look; its twin, which holds what was shown, comes off."""
    identity = open_workspace(yard.workspace, state=yard.top / "state").identity
    labels.raise_to(identity, FETCHED)
    labels.raise_to(identity, RAN)
    labels.raise_to(identity, Label((Contribution("aaaa", frozenset({Capability.FILES})),)))

    labels.lower(identity, FETCHED.joined(RAN))

    (left,) = labels.read(identity).contributions
    assert left == Contribution("aaaa", frozenset({Capability.FILES, Capability.NETWORK}))


def test_a_raise_that_cannot_be_noted_loses_no_label(yard: Yard, labels: Labels) -> None:
    """Also not the part that was kept under another device's number."""
    now = open_workspace(yard.workspace, state=yard.top / "state").identity
    labels.raise_to(replace(now, device=now.device + 1), FETCHED)

    def full(_: LabelChange) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        labels.raise_to(now, RAN, noted=full)

    assert labels.read(now).capabilities == FETCHED.joined(RAN).capabilities
    assert len(labels.all()) == 2
