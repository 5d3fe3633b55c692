"""Give the browser's tests one browser, and pages of an ordinary, a hostile and a very long session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.report.gather import Pins, gather_report
from agent_runner.report.page import render
from policies.source import parse_policy
from tests.agent_runner.report.story import SESSION, ordinary
from tests.browser import sessions
from tests.browser.chromium import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

POLICY = "version: 1\nname: fix\ngrant: [files, exec]\nbudget: {turns: 6, tokens: 8000, wall_time: 60s}\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a browser."""
    with chromium() as found:
        yield found


def _page(state: Path) -> Path:
    path = state.parent / "report.html"
    path.write_text(render(gather_report(state, SESSION, Pins())), "utf-8")
    return path


@pytest.fixture(scope="module")
def ordinary_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of an ordinary session."""
    state = tmp_path_factory.mktemp("ordinary") / "state"
    policy = parse_policy(POLICY, origin="pairlock.yaml")
    sessions.written(ordinary(state, digest=policy.digest))
    (state / "sessions" / SESSION / "policy.yaml").write_text(policy.as_yaml())
    return _page(state)


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a session in which everything that can be chosen is hostile."""
    state = tmp_path_factory.mktemp("hostile") / "state"
    sessions.written(sessions.hostile(state))
    return _page(state)


@pytest.fixture(scope="module")
def broken_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a session in whose ledger a word was changed."""
    state = tmp_path_factory.mktemp("broken") / "state"
    sessions.written(ordinary(state))
    log = state / "sessions" / SESSION / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"pytest","-q"', b'"pytest","-x"', 1))
    return _page(state)


@pytest.fixture(scope="module")
def long_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a session of 20,000 entries."""
    state = tmp_path_factory.mktemp("long") / "state"
    sessions.written(sessions.long(state, 20_000))
    return _page(state)


@pytest.fixture(scope="module")
def shorter_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a session of 2,000 entries."""
    state = tmp_path_factory.mktemp("shorter") / "state"
    sessions.written(sessions.long(state, 2_000))
    return _page(state)
