"""However much a session leaves in its stage, the page that tells of it stays light enough to open."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from agent_runner.report import changes
from agent_runner.report.changes import (
    LARGEST_FILE_BYTES,
    LONGEST_TROUBLE,
    MOST_TROUBLES,
    NAMES_BYTES,
    ROOM_BYTES,
    StageShown,
    read_stage,
)
from agent_runner.report.page import render
from agent_runner.report.visible import plain
from audit.state import SessionFiles, StateFiles
from policies.source import parse_policy
from sandbox.stage import Access, plan_stage
from sandbox.stage.matching import Globs
from sandbox.workspace import open_workspace
from tests.agent_runner.report.reading import Page, report_of
from tests.agent_runner.report.story import SESSION, ordinary

if TYPE_CHECKING:
    from pathlib import Path

POLICY = parse_policy("version: 1\nname: fix\ngrant: [files, exec]\n", origin="pairlock.yaml")
NO_ROOM = "no room is left on this page; `pairlock diff` shows it"
BESIDE_BYTES = 512 * 1024
"""More than a page of an ordinary session takes without its stage."""


@pytest.fixture
def session(tmp_path: Path) -> SessionFiles:
    """Return an ordinary session whose stage holds no change yet."""
    state, workspace = tmp_path / "state", tmp_path / "workspace"
    asyncio.run(ordinary(state, digest=POLICY.digest))
    workspace.mkdir()
    files = StateFiles(state).session(SESSION)
    plan_stage(
        open_workspace(workspace, state=state),
        files.folder,
        access=Access.STAGE,
        hide=Globs.parse(()),
        uid=os.geteuid(),
        gid=os.getegid(),
        engine_obstacle="",
        executable=True,
    )
    (files.folder / "policy.yaml").write_text(POLICY.as_yaml())
    return files


def upper(session: SessionFiles) -> Path:
    return session.folder / "stage" / "upper"


def told(session: SessionFiles) -> tuple[StageShown, Page, int]:
    """Return what the report shows of the stage, its page, and the bytes of what stands on that."""
    report = report_of(session.folder.parent.parent)
    page = Page(render(report))
    return report.stage, page, len(page.scripts["application/json"]) + len(page.text.encode())


def test_an_ordinary_change_is_shown_whole(session: SessionFiles) -> None:
    """The positive twin."""
    (upper(session) / "made.txt").write_text("made\n")

    shown = read_stage(session)

    assert [(file.path, file.why_not, file.patch[-6:]) for file in shown.files] == [
        ("made.txt", "", "+made\n")
    ]
    assert (shown.left_out, shown.troubles, shown.troubles_left_out) == (0, (), 0)


def test_differences_full_of_hidden_characters_take_no_more_than_their_room(session: SessionFiles) -> None:
    """Each byte of theirs takes seventeen on the page: 2 MiB of them would make a page of 34 MiB."""
    for number in range(2):
        (upper(session) / f"a{number}").write_bytes(b"\x1b" * (LARGEST_FILE_BYTES - 4096))
    (upper(session) / "fits").write_bytes(b"\x1b" * 1000)

    stage, page, taken = told(session)
    shown = {file.path: file for file in stage.files}

    assert {name: file.why_not for name, file in shown.items()} == {
        **{f"a{number}": NO_ROOM for number in range(2)},
        "fits": "",
    }
    assert plain(shown["fits"].as_json()["patch"]).count("\\x1b") == 1000  # type: ignore[arg-type]  # a text
    assert len(page.data["files"]) == 3
    assert taken < ROOM_BYTES + NAMES_BYTES + BESIDE_BYTES


def test_rendering_without_end_for_nothing_is_not_to_be_had(session: SessionFiles) -> None:
    """What does not fit costs room too: later ones are not even read."""
    for number in range(6):
        (upper(session) / f"a{number}").write_bytes(b"\x1b" * (LARGEST_FILE_BYTES - 4096))
    (upper(session) / "z").write_bytes(b"\n" * 200_000)

    assert {file.why_not for file in read_stage(session).files} == {NO_ROOM}


def test_names_full_of_hidden_characters_take_no_more_than_their_room(session: SessionFiles) -> None:
    """What has no room is counted, and short names are still told."""
    deep = upper(session) / "/".join(["\x1b" * 250] * 13)
    deep.mkdir(parents=True)
    for number in range(90):
        (deep / f"{number}{chr(1) * 200}").touch()
    (upper(session) / "z").write_text("z\n")

    shown, page, taken = told(session)

    assert 50 < len(shown.files) < 80
    assert shown.left_out == 13 + 90 + 1 - len(shown.files)
    assert shown.files[-1].path == "z"
    assert shown.files[-1].patch.endswith("+z\n")
    assert f"{shown.left_out} more changes are not shown" in page.text
    assert taken < NAMES_BYTES + ROOM_BYTES + BESIDE_BYTES


def test_a_change_is_told_with_the_sizes_or_kinds_of_the_sides_that_there_are(session: SessionFiles) -> None:
    """Nothing is 0 bytes long that is not there, or is no file."""
    (upper(session) / "made").mkdir()
    (upper(session) / "made" / "new").write_text("12345")
    (upper(session) / "made" / "link").symlink_to("new")

    shown, _, _ = told(session)

    sizes = {file.path: file.sizes for file in shown.files}
    assert sizes == {"made": "folder", "made/new": "5 B", "made/link": "symlink"}


def test_no_number_of_other_files_pushes_one_off_that_runs_later(
    session: SessionFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST_FILES", 4)
    for number in range(6):
        (upper(session) / f"a{number}").write_text("a\n")
    (upper(session) / "z").mkdir()
    (upper(session) / "z" / "Makefile").write_text("all:\n")

    shown, page, _ = told(session)

    assert [file.path for file in shown.files] == ["a0", "a1", "a2", "z/Makefile"]
    assert [file.path for file in shown.later] == ["z/Makefile"]
    assert shown.files[-1].patch.endswith("+all:\n")
    assert (shown.left_out, shown.later_left_out) == (4, 0)
    assert "4 more changes are not shown: " in page.text


def test_files_that_run_later_and_have_no_room_are_counted_as_such(
    session: SessionFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MOST_FILES", 2)
    for folder in ("a", "b", "c"):
        (upper(session) / folder).mkdir()
        (upper(session) / folder / "Makefile").write_text("all:\n")

    shown, page, _ = told(session)

    assert [file.path for file in shown.files] == ["a/Makefile", "b/Makefile"]
    assert (shown.left_out, shown.later_left_out) == (4, 1)
    assert "4 more changes are not shown, 1 of which run on your machine later: " in page.text


def test_paths_that_could_not_be_read_are_told_and_from_some_number_on_counted(
    session: SessionFiles,
) -> None:
    """A sparse file of any length costs the session nothing, nor does one more of them."""
    deep = upper(session) / "/".join(["d" * 250] * 6)
    deep.mkdir(parents=True)
    for number in range(MOST_TROUBLES + 50):
        with (deep / f"f{number:03}").open("wb") as file:
            file.truncate(17 * 2**30)

    shown, page, taken = told(session)

    assert (len(shown.troubles), shown.troubles_left_out) == (MOST_TROUBLES, 50)
    assert all(
        f"more characters): it is too long to be read: {17 * 2**30} bytes" in t for t in shown.troubles
    )
    assert page.text.count("could not be read: ") == MOST_TROUBLES + 1
    assert f"50 more could not be read: pairlock diff {SESSION}" in page.text
    assert taken < MOST_TROUBLES * (LONGEST_TROUBLE + 200) + BESIDE_BYTES


def test_a_stage_that_cannot_be_read_says_why(session: SessionFiles) -> None:
    (session.folder / "stage" / "record").write_text("damaged")

    shown = read_stage(session)

    assert shown == StageShown(why_not=shown.why_not)
    assert shown.why_not
