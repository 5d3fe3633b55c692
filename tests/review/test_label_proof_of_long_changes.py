"""A label of so many sessions that its entry's body was moved out of the line is proved all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.label_proof import prove_labels
from agent_runner.lineage import labels_of, wrote_unreviewed
from audit.event import LabelChanged
from audit.host import HostLog
from policies.capability import Capability
from policies.grant import Grant
from policies.lineage import Contribution, Label
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.workspace import WorkspaceIdentity

MANY = 900


def identity_of(state: Path, name: str) -> WorkspaceIdentity:
    folder = state.with_name(name)
    folder.mkdir()
    return open_workspace(folder, state=state).identity


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def long(state: Path) -> WorkspaceIdentity:
    """Return a folder in which 900 sessions wrote, and one more, whose entry tells of all of them."""
    identity = identity_of(state, "long")
    parts = tuple(Contribution(f"{number:012}", Grant.FILES.capabilities) for number in range(MANY))
    labels_of(state).raise_to(identity, Label(parts))
    wrote_unreviewed(state, identity, "z" * 12, Grant.FILES_NETWORK.capabilities, why="a test")
    assert b'"overflow"' in (state / "ledger.jsonl").read_bytes().splitlines()[-1]
    return identity


def test_a_long_change_is_read_where_it_lies(state: Path, long: WorkspaceIdentity) -> None:
    proof = prove_labels(state)

    assert (proof.labels, proof.faults, proof.notes) == (1, (), ())
    labels_of(state).lower(long, _part("z"))
    assert prove_labels(state).faults == (
        f"label `{long.key}` lacks files, network of session `zzzzzzzzzzzz`, which nobody reviewed",
    )


def test_a_long_change_that_is_gone_is_a_fault_and_hides_no_other(
    state: Path, long: WorkspaceIdentity
) -> None:
    other = identity_of(state, "other")
    wrote_unreviewed(state, other, "a" * 12, Grant.FILES_NETWORK.capabilities, why="a test")
    for blob in (state / "blobs").iterdir():
        blob.unlink()

    gone, unexplained = prove_labels(state).faults
    labels_of(state).lower(other, _part("a"))
    lowered = {*prove_labels(state).faults} - {gone, unexplained}

    assert gone == "entry 1 of the host's log changed a label, and what it said is gone"
    assert unexplained.startswith(f"label `{long.key}` holds more of session")
    assert lowered == {
        f"label `{other.key}` lacks files, network of session `{'a' * 12}`, which nobody reviewed"
    }


def test_a_change_that_does_not_say_who_did_what_asks_for_no_more_than_it_says(state: Path) -> None:
    """An entry without contributions names the sessions, and what all of them exercised together."""
    identity = identity_of(state, "old")
    parts = (
        Contribution("a" * 12, Grant.FILES.capabilities),
        Contribution("b" * 12, frozenset({Capability.NETWORK})),
    )
    labels_of(state).raise_to(identity, Label(parts))
    with HostLog(state) as log:
        log.append(
            LabelChanged(
                workspace=identity.path,
                identity=identity.key,
                before=(),
                after=("files", "network"),
                sessions=("a" * 12, "b" * 12),
                why="a test",
            )
        )

    before = prove_labels(state).faults
    labels_of(state).lower(identity, _part("b"))

    assert before == ()
    assert prove_labels(state).faults == (f"label `{identity.key}` lacks network, which nobody reviewed",)


def _part(letter: str) -> Label:
    return Label((Contribution(letter * 12, frozenset(Capability)),))
