"""Containers are known by the state folder itself: another machine's may have the same path."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from agent_runner.state_label import state_label
from audit.errors import StateFolderError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_state_folder_keeps_its_label(tmp_path: Path) -> None:
    state = tmp_path / "state"

    label = state_label(state)

    assert re.fullmatch(r"[0-9a-f]{16}", label)
    assert state_label(state) == label
    assert (state / "label").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in state.iterdir()} == {"format", "sessions", "label"}


def test_a_moved_state_folder_keeps_its_label(tmp_path: Path) -> None:
    label = state_label(tmp_path / "state")

    (tmp_path / "state").rename(tmp_path / "moved")

    assert state_label(tmp_path / "moved") == label


def test_state_folders_of_one_path_have_labels_of_their_own(tmp_path: Path) -> None:
    """CI jobs in containers share an engine's socket, and all keep their state at the same path."""
    state = tmp_path / "state"
    one = state_label(state)
    shutil.rmtree(state)

    another = state_label(state)

    assert another != one


def test_those_who_ask_at_once_agree(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    state_label(state)  # the folder is there; only the file is raced for
    (state / "label").unlink()

    with ThreadPoolExecutor(8) as threads:
        labels = set(threads.map(state_label, [state] * 32))

    assert len(labels) == 1


@pytest.mark.parametrize(
    "content", [b"", b"0123456789abcdef", b"0123456789ABCDEF\n", b"0" * 17 + b"\n", b"\xff"]
)
def test_junk_in_place_of_the_label_is_refused(tmp_path: Path, content: bytes) -> None:
    state_label(tmp_path / "state")
    (tmp_path / "state" / "label").write_bytes(content)

    with pytest.raises(StateFolderError, match="is not the state folder's label") as caught:
        state_label(tmp_path / "state")

    assert caught.value.hint is not None
    assert "\n" not in str(caught.value)


def test_a_link_in_place_of_the_label_is_refused(tmp_path: Path) -> None:
    """Even to another state folder's: two of them must not share a label."""
    state_label(tmp_path / "one")
    state_label(tmp_path / "two")
    (tmp_path / "two" / "label").unlink()
    (tmp_path / "two" / "label").symlink_to(tmp_path / "one" / "label")

    with pytest.raises(StateFolderError, match="is not the state folder's label"):
        state_label(tmp_path / "two")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_place_of_the_label_is_refused(tmp_path: Path, make: object) -> None:
    """And a pipe is not waited for."""
    assert callable(make)
    state_label(tmp_path / "state")
    (tmp_path / "state" / "label").unlink()
    make(tmp_path / "state" / "label")

    with pytest.raises(StateFolderError, match="is not the state folder's label"):
        state_label(tmp_path / "state")


def test_a_label_that_others_can_write_is_refused(tmp_path: Path) -> None:
    state_label(tmp_path / "state")
    (tmp_path / "state" / "label").chmod(0o666)

    with pytest.raises(StateFolderError, match="is not the state folder's label"):
        state_label(tmp_path / "state")
