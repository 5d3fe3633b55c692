"""What a session exercised: never less than its ledger tells, and all that it held where that is in doubt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent_runner.exercised import exercised
from agent_runner.meta import Meta, write_meta
from audit import event
from audit.journal import Journal, Registration
from audit.state import StateFiles
from policies.grant import Grant
from policies.source import parse_policy

if TYPE_CHECKING:
    from pathlib import Path

    from audit.fields import Event

SESSION = "0123456789ab"


def intended(command: str, verdict: str = "allowed") -> Event:
    told = {"action": f"{SESSION}/1", "argv": (command,), "command": command, "arguments": {}}
    return event.ActionIntended.model_validate({**told, "verdict": verdict})


def not_done() -> Event:
    return event.ActionFinished(
        action=f"{SESSION}/1", outcome="denied", exit_code=None, duration_ms=0, output_bytes=0
    )


def opened() -> Event:
    return event.EgressOpened(
        connection=f"{SESSION}/c1", host="example.com", port=443, scheme="https", verdict="denied"
    )


def told(state: Path, grant: Grant, *happened: Event, begun: bool = True, parent: str = "") -> frozenset[str]:
    """Return what counts as exercised by a session of which its ledger tells this."""
    labels = ", ".join(sorted(held.value for held in grant.capabilities))
    policy = parse_policy(f"version: 1\nname: x\ngrant: [{labels}]\n", origin="x")

    async def ledger() -> None:
        registration = Registration(grant=grant.label, workspace=None, owner_uid=0)
        async with Journal.create(state, SESSION, registration=registration) as journal:
            if begun:
                await journal.record(
                    event.SessionOpened(
                        session=SESSION, task=journal.commit(b"t"), task_is_origin=False, grant=grant.label,
                        policy_origin="x", policy_digest=policy.digest, workspace=None, model="m",
                        backend="scripted", pairlock_version="0", headless=True,
                    )
                )  # fmt: skip
            for each in happened:
                await journal.record(each)

    asyncio.run(ledger())
    folder = StateFiles(state).session(SESSION).folder
    meta = Meta(
        session=SESSION, policy="x", policy_origin="x", policy_digest=policy.digest, grant=grant.label,
        workspace=None, model="m", started="2026-01-01T00:00:00+00:00", process=1, parent=parent,
    )  # fmt: skip
    write_meta(folder, meta, policy.as_yaml())
    return frozenset(held.value for held in exercised(folder, grant))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


FILES, NETWORK, EXEC = frozenset(["files"]), frozenset(["files", "network"]), frozenset(["files", "exec"])


@pytest.mark.parametrize(
    ("grant", "happened", "expected"),
    [
        (Grant.FILES_NETWORK, [intended("files write"), intended("git status"), intended("finish")], FILES),
        (Grant.FILES_NETWORK, [intended("http get", "denied")], FILES),
        (Grant.FILES_NETWORK, [intended("http get")], NETWORK),
        (Grant.FILES_NETWORK, [intended("http get", "needs_approval")], NETWORK),
        (Grant.FILES_NETWORK, [intended("http get", "needs_approval"), not_done()], FILES),
        (Grant.FILES_NETWORK, [opened()], NETWORK),
        (Grant.FILES_NETWORK, [intended("acme upload")], NETWORK),
        (Grant.FILES_EXEC, [intended("files write")], FILES),
        (Grant.FILES_EXEC, [intended("run")], EXEC),
        (Grant.FILES_EXEC, [intended("exec")], EXEC),
        (Grant.NETWORK_EXEC, [intended("http get")], frozenset(["network"])),
        (Grant.NETWORK_EXEC, [intended("run")], frozenset(["network", "exec"])),
    ],
)
def test_what_was_done_counts_and_what_was_denied_does_not(
    state: Path, grant: Grant, happened: list[Event], expected: frozenset[str]
) -> None:
    assert told(state, grant, *happened) == expected


def test_a_delegated_session_counts_with_all_that_it_and_those_above_it_held(state: Path) -> None:
    assert told(state, Grant.FILES_NETWORK, intended("files write"), parent="ba9876543210") == NETWORK


def test_a_ledger_that_does_not_begin_tells_nothing(state: Path) -> None:
    assert told(state, Grant.FILES_NETWORK, begun=False) == NETWORK


def test_a_ledger_that_was_tampered_with_tells_nothing(state: Path) -> None:
    """Cut off, the fetch is gone from it: then everything counts."""
    assert told(state, Grant.FILES_NETWORK, intended("files write"), intended("http get")) == NETWORK
    events = StateFiles(state).session(SESSION).events
    lines = events.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b"http get" not in line]
    assert len(kept) < len(lines)

    events.write_bytes(b"".join(kept))

    held = exercised(events.parent, Grant.FILES_NETWORK)
    assert held == Grant.FILES_NETWORK.capabilities
