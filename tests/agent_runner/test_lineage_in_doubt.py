"""What cannot be read never counts as nothing: labels, mounts, folders, facts of sessions that run."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.descent import kept_line
from agent_runner.errors import RefusedError
from agent_runner.lineage import labels_of, require_lineage, wrote_unreviewed
from agent_runner.lineage_beside import running_beside
from agent_runner.lineage_mounts import Mounts
from agent_runner.meta import FILE, POLICY
from audit.journal import Journal, Registration
from audit.state import StateFiles
from policies.capability import Capability
from policies.grant import Grant
from sandbox.stage.errors import LabelError
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox.workspace import Workspace

SESSION = "0123456789ab"
LONG_NAME = "d" * 250
PATH_MAX = 4096


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, state: Path) -> Workspace:
    (tmp_path / "workspace").mkdir()
    return open_workspace(tmp_path / "workspace", state=state)


@pytest.mark.parametrize("name", [FILE, POLICY])
@pytest.mark.parametrize("content", [None, b"\xff{"], ids=["missing", "damaged"])
def test_a_running_session_whose_facts_are_damaged_refuses_who_starts(
    state: Path, workspace: Workspace, name: str, content: bytes | None
) -> None:
    """Its twin has only begun: its facts are not there yet, and it looks for others when they are."""

    async def look() -> list[str]:
        async with Journal.create(state, SESSION, registration=Registration(grant="files")):
            folder = StateFiles(state).session(SESSION).folder
            if content is not None:
                facts = {FILE: _FACTS, POLICY: b"version: 1\nname: x\ngrant: [files]\n", name: content}
                for file, text in facts.items():
                    (folder / file).write_bytes(text)
            return [found.session for found in running_beside(state, workspace.identity)]

    if content is None:
        assert asyncio.run(look()) == []
    else:
        with pytest.raises(RefusedError, match=f"`{SESSION}` is running, and what it may do cannot be read"):
            asyncio.run(look())


_FACTS = (
    b'{"session": "x", "policy": "x", "policy_origin": "x", "policy_digest": "x", "grant": "files", '
    b'"workspace": null, "model": "x", "started": "x", "process": 1}'
)


def test_a_session_whose_facts_are_damaged_counts_with_everything(tmp_path: Path) -> None:
    """Who is above it, and what it found, stands there and nowhere else; whole facts are the twin."""
    (tmp_path / FILE).write_bytes(_FACTS)
    whole = kept_line(tmp_path, Grant.FILES)
    (tmp_path / FILE).write_bytes(_FACTS[:-1])

    assert kept_line(tmp_path, Grant.FILES) == frozenset(Capability)
    assert whole == Grant.FILES.capabilities


def test_labels_that_cannot_be_listed_are_not_none(state: Path, workspace: Workspace) -> None:
    """A folder that is not there holds none: the twin."""
    require_lineage(state, workspace, Grant.FILES_EXEC)
    (state / "workspaces").symlink_to("workspaces")

    with pytest.raises(LabelError, match="cannot be read: too many levels of symbolic links"):
        require_lineage(state, workspace, Grant.FILES_EXEC)


def test_mounts_that_cannot_be_read_are_not_none(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"the table of mounts .* cannot be read: is a directory"):
        Mounts.now(tmp_path)

    assert Mounts.now(tmp_path / "none").mounts == ()


def test_a_folder_that_cannot_be_looked_through_may_hold_what_was_moved(
    state: Path, workspace: Workspace
) -> None:
    """Deeper than a path may be long; with nothing lost there is nothing to look for."""
    lost = replace(workspace.identity, inode=1, birth_ns=1, path="/nonexistent/lost")
    with _deep(workspace.path):
        require_lineage(state, workspace, Grant.FILES_EXEC)
        wrote_unreviewed(state, lost, SESSION, Grant.FILES_NETWORK.capabilities, why="a test")

        with pytest.raises(LabelError, match="cannot be looked through for labelled folders: file name too"):
            require_lineage(state, workspace, Grant.FILES_EXEC)

    assert labels_of(state).read(lost).contributions
    require_lineage(state, workspace, Grant.FILES_EXEC)


@contextmanager
def _deep(top: Path) -> Iterator[None]:
    """Nest folders until no path leads to the last of them."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    opened = [os.open(top, flags)]
    try:
        while len(opened) * len(LONG_NAME) < PATH_MAX + 2 * len(LONG_NAME):
            os.mkdir(LONG_NAME, dir_fd=opened[-1])
            opened.append(os.open(LONG_NAME, flags, dir_fd=opened[-1]))
        yield
    finally:
        os.close(opened.pop())
        for folder in reversed(opened):
            os.rmdir(LONG_NAME, dir_fd=folder)
            os.close(folder)
