"""Who a person is, by their own git settings, or by the machine where those say nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent_runner import person
from agent_runner.person import Author, author, who

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder that git looks into, and nothing else of the environment's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_an_author_is_who_the_persons_own_git_settings_name(home: Path) -> None:
    (home / ".gitconfig").write_text("[user]\n\tname = A Person\n\temail = a@example.com\n")

    assert author() == Author("A Person", "a@example.com")


def test_settings_that_do_not_answer_name_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home on a server that is away, here a pipe in its place: whoever applies is named by the machine."""
    monkeypatch.setattr(person, "_ASKING_SECONDS", 0.5)
    os.mkfifo(home / ".gitconfig")

    assert author() == Author(who(), f"{who()}@localhost")
