"""Measure what needs no engine: the ledger beside the disk, a policy beside its YAML."""

from __future__ import annotations

import os
from statistics import median
from typing import TYPE_CHECKING, Final

from ruamel.yaml import YAML

from agent_runner.bench.row import Row, timed, timed_async
from agent_runner.ids import new_session_id
from audit.event import ActionIntended
from audit.journal import Journal, Registration
from audit.verify import verify_session
from policies.capability import Capability
from policies.decide import decide
from policies.library import library_policy
from policies.request import ActionRequest, PathUse, SessionFacts
from policies.source import parse_policy

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES: Final = 400
LINE_BYTES: Final = 800
POLICY: Final = "fix-tests"


def durable_write(descriptor: int) -> None:
    """Append 800 bytes and wait for the disk."""
    os.write(descriptor, b"x" * LINE_BYTES)
    os.fdatasync(descriptor)


async def ledger_rows(folder: Path) -> list[Row]:
    """Return the speeds of the ledger, beside an append and fdatasync on the same disk, by turns."""
    raw, ours, session = [], [], new_session_id()
    descriptor = os.open(folder / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    state = folder / "state"
    try:
        async with Journal.create(state, session, registration=Registration(grant="none")) as journal:
            for number in range(ENTRIES):
                raw.append(timed(lambda: durable_write(descriptor), 1))
                entry = _entry(session, number)
                ours.append(await timed_async(lambda entry=entry: journal.record(entry)))  # type: ignore[misc]  # mypy has no type for a default of a lambda
    finally:
        os.close(descriptor)
    reading = timed(lambda: verify_session(state, session), 5) / ENTRIES * 1000
    return [
        Row(
            name="an entry of the ledger, durable",
            unit="ms",
            ours=median(ours),
            floor=median(raw),
            most_ratio=1.6,
        ),
        Row(name="verifying an entry", unit="us", ours=reading, floor=None),
    ]


def _entry(session: str, number: int) -> ActionIntended:
    return ActionIntended(
        action=f"{session}/{number}",
        argv=("files", "write", "src/app/module.py", "x" * 400),
        command="files write",
        arguments={"path": "src/app/module.py"},
        verdict="allowed",
    )


def policy_rows() -> list[Row]:
    """Return the speeds of a policy of the library, beside reading the same text as YAML."""
    source = library_policy(POLICY)
    if source is None:
        raise LookupError(POLICY)
    policy = parse_policy(source.text, origin=source.origin)
    facts = SessionFacts(grant=policy.grant)
    request = ActionRequest(
        command=("files", "read"),
        needs=frozenset({Capability.FILES}),
        arguments={"path": "src/app/module.py"},
        paths=(PathUse(path="src/app/module.py", access="read"),),
    )
    yaml = timed(lambda: YAML(typ="safe", pure=True).load(source.text), 15)
    parsed = timed(lambda: parse_policy(source.text, origin=source.origin), 15)
    decided = timed(lambda: decide(policy, facts, request), 2000) * 1000
    return [
        Row(name=f"parsing the policy `{POLICY}`", unit="ms", ours=parsed, floor=yaml, most=50.0),
        Row(name="a decision", unit="us", ours=decided, floor=None, most=50.0),
    ]
