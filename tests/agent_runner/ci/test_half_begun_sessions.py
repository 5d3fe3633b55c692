"""What is kept of a session whose process was killed: all that is whole, and nothing that cannot be read."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.all import Run, _kept
from agent_runner.ci.findings import findings_of
from agent_runner.ci.keeping import Kept
from agent_runner.ci.outcome import TaskResult
from agent_runner.ci.plan import begun
from agent_runner.ci.telling import Unseen
from audit.errors import BrokenLedgerError
from tests.agent_runner.stand import FINISH, SESSION, saying

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.stand import Stand

RESULT = TaskResult(
    name="mend", task="mend", origin="t.yaml", policy="p", grant="files", model="m", code=1, reason="killed"
)


@pytest.mark.parametrize("missing", ["", "policy.yaml", "meta.json", "events.jsonl"])
async def test_a_runner_killed_before_its_session_began_fails_its_task_with_its_own_reason(
    stand: Stand, tmp_path: Path, missing: str
) -> None:
    await stand.run(saying(FINISH))
    if missing:
        (stand.state / "sessions" / SESSION / missing).unlink()

    with begun(tmp_path / "results", [], state=tmp_path / "state", resume=False) as made:
        run = Run(state=stand.state, begun=made, onlooker=Unseen(), jobs=1)
        result = _kept(RESULT, run, SESSION)
        findings_of([result], stand.state)

    assert (result.reason, result.verdict) == ("killed", "failed")
    assert (result.session == SESSION) == (missing in {"", "meta.json"})
    told = json.loads((tmp_path / "results/mend/result.json").read_text())
    assert told["session"] == result.session


@pytest.mark.parametrize("missing", ["", "checkpoint", "host.vkey"])
async def test_a_bundle_that_is_refused_leaves_no_file_that_looks_like_evidence(
    stand: Stand, tmp_path: Path, missing: str
) -> None:
    await stand.run(saying(FINISH))
    if missing:
        (stand.state / missing).unlink()

    with suppress(BrokenLedgerError) if missing else nullcontext():
        Kept(tmp_path).task(replace(RESULT, session=SESSION), stand.state)

    assert [path.name for path in (tmp_path / "mend").glob("ledger*")] == (
        [] if missing else ["ledger.tar.gz"]
    )
