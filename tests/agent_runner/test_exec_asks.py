"""A command that runs in a session: who is asked where its policy says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner import models
from agent_runner.cli import exec as command_line
from agent_runner.cli import place

if TYPE_CHECKING:
    from pathlib import Path

AT = "https://a.example"
KEY = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
HOOK = f"approvals: {{ask: {AT}, answers: {AT}, public_key: '{KEY}'}}\n"


@pytest.mark.parametrize(("hook", "headless"), [("", True), (HOOK, False)])
def test_where_nobody_sits_a_webhook_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: str, *, headless: bool
) -> None:
    (tmp_path / "config.yaml").write_text(f"version: 1\n{hook}")
    (tmp_path / "script.yaml").write_text("version: 1\nturns: [{actions: [finish --status done ok]}]\n")
    (tmp_path / "exec.yaml").write_text("version: 1\nname: x\ngrant: [exec]\n")
    monkeypatch.setenv("PAIRLOCK_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(models, "configuration_path", lambda: tmp_path / "config.yaml")
    monkeypatch.setattr(place, "nobody_is_there", lambda: True)

    request = command_line._request(
        ("true",), str(tmp_path / "exec.yaml"), None, f"scripted:{tmp_path / 'script.yaml'}"
    )

    assert request.headless is headless
