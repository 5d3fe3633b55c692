"""The report and `audit show` call the ways in which a workspace is held by the same words."""

from __future__ import annotations

from typing import get_args

import pytest

from agent_runner.report.happenings import happening
from agent_runner.report.moment import Moment
from audit import event
from audit.sandbox_event import STAGE_WORDS
from audit.summary import told
from sandbox.stage import StagePlan

STRATEGIES = sorted({"none", *(plan.__name__.lower() for plan in get_args(StagePlan))})


def test_there_are_words_for_each_strategy() -> None:
    assert sorted(STAGE_WORDS) == STRATEGIES


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_report_and_ledger_say_the_same_of_a_stage(strategy: str) -> None:
    created = event.SandboxCreated(
        runtime="runc", engine_version="20.10", image_digest="sha256:" + "5d" * 32, container="c0ffee",
        spec_digest="12" * 32, stage_strategy=strategy, stage_reason="",
    )  # fmt: skip

    step = happening(Moment(seq=1, at="2026-01-01T00:00:00.000Z", ms=0), created)

    assert f"stage_strategy={STAGE_WORDS[strategy]}" in told("sandbox.created", created.model_dump())
    assert step is not None
    assert step.title.endswith(f"stage by {STAGE_WORDS[strategy]}")
