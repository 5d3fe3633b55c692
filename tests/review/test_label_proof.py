"""`pairlock audit verify` recomputes the workspaces' labels, and finds one that somebody changed."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.errors import RefusedError
from agent_runner.label_proof import LabelProof, prove_labels
from agent_runner.lineage import endorse, labels_of, require_lineage, wrote_unreviewed
from agent_runner.lineage_places import unreviewed
from agent_runner.lineage_wrote import wrote
from audit import event
from audit.journal import Journal, Registration
from policies.capability import Capability
from policies.grant import Grant
from policies.lineage import Contribution, Label
from sandbox.stage.errors import LabelError
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.stage.labels import LabelChange
    from tests.review.made import Made


def labelled(made: Made) -> tuple[str, Path]:
    """Return a session whose unseen changes label the workspace, and the label's file."""
    session = made.session(lambda inside: (inside / "a").write_text("x\n"))
    assert made.pairlock("apply", session, "--yes").code == 0
    return session, next((made.state / "workspaces").glob("*.json"))


def verdict(made: Made) -> tuple[int, list[str]]:
    said = made.pairlock("audit", "verify", "--all", "--json")
    last = json.loads(said.out.splitlines()[-1])
    return said.code, last["bad"] if last["log"] == "labels" else []


def review(made: Made) -> None:
    identity = open_workspace(made.workspace, state=made.state).identity
    endorse(made.state, identity, unreviewed(labels_of(made.state), identity))


def rewrite(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))


def test_a_label_as_it_was_made_verifies_and_so_does_one_that_was_taken_off(made: Made) -> None:
    labelled(made)

    before = verdict(made)
    review(made)
    after = made.pairlock("audit", "verify", "--all")

    assert before == (0, [])
    assert (after.code, "labels  verifies" in after.out) == (0, True)


TAMPERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "emptied": lambda told: told["contributions"].clear(),
    "narrowed": lambda told: told["contributions"][0]["exercised"].remove("network"),
    "given another folder": lambda told: told["workspace"].update(inode=1),
    "renamed": lambda told: told["contributions"][0].update(session="0" * 12),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_label_that_was_tampered_with_is_found(made: Made, how: str) -> None:
    session, file = labelled(made)

    rewrite(file, TAMPERED[how])
    code, bad = verdict(made)

    assert code == 6
    assert session in bad[0]
    assert "which nobody reviewed" in bad[0]


def test_a_label_that_was_deleted_or_damaged_is_found(made: Made) -> None:
    session, file = labelled(made)

    kept = file.read_bytes()
    file.unlink()
    deleted = verdict(made)
    file.write_bytes(b"{")
    damaged = verdict(made)
    file.write_bytes(kept)

    assert deleted[0] == damaged[0] == 6
    assert session in deleted[1][0]
    assert "cannot be read" in damaged[1][0]
    assert verdict(made) == (0, [])


def test_a_label_that_holds_more_is_noted_when_a_killed_runner_can_have_left_it(made: Made) -> None:
    """More of a known session lets nothing through, and is no fault; an unknown session is one."""
    known, file = labelled(made)
    kept = file.read_bytes()
    review(made)
    assert not file.exists()
    file.write_bytes(kept)
    rewrite(file, lambda told: told["contributions"].clear())

    rewrite(file, lambda told: told["contributions"].append({"session": known, "exercised": ["network"]}))
    noted = made.pairlock("audit", "verify", "--all")
    rewrite(file, lambda told: told["contributions"].append({"session": "0" * 12, "exercised": ["exec"]}))

    assert noted.code == 0
    assert f"holds more of session `{known}`" in noted.err
    assert verdict(made)[0] == 6


@pytest.mark.parametrize("how", ["removed", "emptied", "damaged", "narrowed"])
def test_a_review_restores_a_label_from_the_log_and_then_endorses_it(made: Made, how: str) -> None:
    """The way on that the error names works; what is restored refuses as before."""
    session, file = labelled(made)
    if how in TAMPERED:
        rewrite(file, TAMPERED[how])
    elif how == "damaged":
        file.write_text("{")
    else:
        file.unlink()
    assert verdict(made)[0] == 6

    shown = made.pairlock("review", str(made.workspace))
    restored = verdict(made)
    with pytest.raises(RefusedError, match=session):
        require_lineage(made.state, open_workspace(made.workspace, state=made.state), Grant.FILES_EXEC)
    endorsed = made.at_terminal("review", str(made.workspace), "--endorse", typed="y\n")

    assert f"the label of `{made.workspace}` was damaged or gone" in shown.err
    assert f"{session}  files+network, unreviewed" in shown.out
    assert restored == verdict(made) == (0, [])
    assert "the label is off" in endorsed.out


def test_a_damaged_label_refuses_every_start_and_its_error_says_what_helps(made: Made) -> None:
    """Of a folder that is gone as well: there only the person knows what was in it."""
    _, file = labelled(made)
    file.write_text("{")
    other = made.top / "other"
    other.mkdir()

    with pytest.raises(LabelError) as refused:
        require_lineage(made.state, open_workspace(other, state=made.state), Grant.FILES)
    made.workspace.rename(made.top / "moved")
    told = made.pairlock("review", str(other))
    file.unlink()

    assert refused.value.hint == "`pairlock review DIR`, of any workspace, restores it from the host's log"
    assert told.code == 4
    assert f"remove `workspaces/{file.name}` from the state folder" in told.err
    require_lineage(made.state, open_workspace(other, state=made.state), Grant.FILES)


OLDER: dict[str, Callable[[Made, Path, bytes], object]] = {
    "an older copy of the file": lambda _, file, older: file.write_bytes(older),
    "the folder removed": lambda _, file, __: shutil.rmtree(file.parent),
    "the folder empty": lambda _, file, __: [each.unlink() for each in file.parent.glob("*.json")],
    "another label over it": lambda _, file, older: file.write_bytes(older.replace(b'"network"', b'"files"')),
}


@pytest.mark.parametrize("how", OLDER)
def test_a_store_that_is_older_than_the_log_is_found(made: Made, how: str) -> None:
    """What was raised since is missing; the session whose part it is is named."""
    _, file = labelled(made)
    older = file.read_bytes()
    made.workspace.joinpath("a").unlink()
    second = made.session(lambda inside: (inside / "b").write_text("x\n"))
    assert made.pairlock("apply", second, "--yes").code == 0
    assert verdict(made) == (0, [])

    OLDER[how](made, file, older)
    code, bad = verdict(made)

    assert code == 6
    assert any(second in line and "which nobody reviewed" in line for line in bad)


def test_the_labels_of_two_hosts_in_one_folder_are_found(made: Made, tmp_path: Path) -> None:
    """The other host's sessions are unknown here: nobody can say what they held."""
    labelled(made)
    other = tmp_path / "other" / "workspaces" / "f00d.json"
    other.parent.mkdir(parents=True)
    told = json.loads(next((made.state / "workspaces").glob("*.json")).read_text())
    told["workspace"]["inode"] += 1
    told["contributions"][0]["session"] = "z" * 12
    other.write_text(json.dumps(told))

    shutil.copy(other, made.state / "workspaces")
    code, bad = verdict(made)

    assert code == 6
    assert any(f"more of session `{'z' * 12}`" in line for line in bad)


def test_a_ledger_that_is_gone_changes_no_verdict_on_a_label(made: Made) -> None:
    """The host's log says what a label has to hold; that a session's own is missing is its own verdict."""
    session, file = labelled(made)
    shutil.rmtree(made.state / "sessions" / session)

    code, bad = verdict(made)
    file.unlink()
    lowered = verdict(made)

    assert (code, bad) == (6, [])
    assert lowered[0] == 6
    assert session in lowered[1][0]


@pytest.mark.parametrize("labelled_first", [True, False])
def test_what_a_session_did_in_a_workspace_that_it_wrote_in_has_to_be_on_a_label(
    made: Made,
    labelled_first: bool,  # noqa: FBT001 - both ways
) -> None:
    """Its own ledger is a witness against a log of labels that leaves it out."""
    session, grant = "4" * 12, Grant.FILES_EXEC
    identity = open_workspace(made.workspace, state=made.state).identity

    async def ledger() -> None:
        registration = Registration(grant=grant.label, workspace=str(made.workspace), owner_uid=0)
        async with Journal.create(made.state, session, registration=registration) as journal:
            if labelled_first:
                wrote_unreviewed(made.state, identity, session, grant.capabilities, why="a test")
            await journal.record(
                event.SandboxCreated(
                    runtime="runc", engine_version="20", image_digest="sha256:0", container="c",
                    spec_digest="0" * 64, stage_strategy="direct", stage_reason="",
                )
            )  # fmt: skip
            await journal.record(event.ProcessStarted(action=f"{session}/1", argv=("true",), folder="."))

    asyncio.run(ledger())
    proof = prove_labels(made.state)

    where = "in a workspace that it wrote in at once"
    said = f"session `{session}` exercised exec {where}, and no label ever said so"
    assert proof.faults == (() if labelled_first else (said,))


def test_a_connectors_program_is_no_exec_of_the_session(made: Made) -> None:
    """It runs in a container of its own, without the workspace; the twin is a session with `exec`."""
    identity = open_workspace(made.workspace, state=made.state).identity

    async def ledger(session: str, grant: Grant) -> None:
        registration = Registration(grant=grant.label, workspace=str(made.workspace), owner_uid=0)
        async with Journal.create(made.state, session, registration=registration) as journal:
            wrote_unreviewed(made.state, identity, session, frozenset({Capability.FILES}), why="a test")
            await journal.record(
                event.SessionOpened(
                    session=session, task=journal.commit(b"t"), task_is_origin=False, grant=grant.label,
                    policy_origin="x", policy_digest="0" * 64, workspace=None, model="m",
                    backend="scripted", pairlock_version="0", headless=True,
                )
            )  # fmt: skip
            await journal.record(
                event.SandboxCreated(
                    runtime="runc", engine_version="20", image_digest="sha256:0", container="c",
                    spec_digest="0" * 64, stage_strategy="direct", stage_reason="",
                )
            )  # fmt: skip
            await journal.record(event.ProcessStarted(action=f"{session}/1", argv=("true",), folder="."))

    asyncio.run(ledger("5" * 12, Grant.FILES_NETWORK))
    connector = prove_labels(made.state).faults
    asyncio.run(ledger("6" * 12, Grant.FILES_EXEC))

    assert connector == ()
    assert [fault.split(" exercised")[0] for fault in prove_labels(made.state).faults] == [
        f"session `{'6' * 12}`"
    ]
    assert not wrote(made.state, "5" * 12, {}).programs
    assert wrote(made.state, "6" * 12, {}).programs


def test_a_review_whose_entry_cannot_be_written_lowers_nothing(made: Made) -> None:
    """The entry comes first: a label is never off without one."""
    labelled(made)
    identity = open_workspace(made.workspace, state=made.state).identity
    before = labels_of(made.state).read(identity)

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        labels_of(made.state).lower(identity, before, noted=full)

    assert labels_of(made.state).read(identity) == before


def test_labels_are_compared_when_no_change_is_half_made(made: Made) -> None:
    """A runner that is between its label and its entry, or between the two of a merge, is waited for."""
    labelled(made)
    identity = open_workspace(made.workspace, state=made.state).identity
    added = Label((Contribution("0" * 12, frozenset({Capability.EXEC})),))
    proofs: list[LabelProof] = []

    def half_made(_: LabelChange) -> None:
        prover = threading.Thread(target=lambda: proofs.append(prove_labels(made.state)))
        prover.start()
        prover.join(1)
        early.append(len(proofs))
        waited.append(prover)

    early: list[int] = []
    waited: list[threading.Thread] = []
    labels_of(made.state).raise_to(identity, added, noted=half_made)
    waited[0].join(60)

    assert early == [0]
    assert len(proofs) == 1
