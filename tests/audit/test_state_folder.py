"""The state folder is private, local, and of a format that is known; an id never leads out of it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audit.errors import StateFolderError, UnknownSessionError
from audit.local_disk import check_filesystem
from audit.state import StateFiles, checked_id, prepare, write_private


def test_a_state_folder_is_made_private(state: Path) -> None:
    files = prepare(state)

    assert state.stat().st_mode & 0o777 == 0o700
    assert files.format.read_text() == "1\n"
    assert prepare(state) == files


def test_sessions_of_one_process_that_begin_at_once_make_the_state_folder_together(tmp_path: Path) -> None:
    """Each MCP client has a session in the server's process; two took one temporary name, and one failed."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        for number in range(40):
            fresh = tmp_path / str(number)

            files = list(pool.map(prepare, [fresh] * 8))

            assert files[0].format.read_text() == "1\n"
            assert [path.name for path in fresh.glob(".*")] == []


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_state_folder_that_others_can_write_is_refused(state: Path, mode: int) -> None:
    prepare(state)
    state.chmod(mode)

    with pytest.raises(StateFolderError):
        prepare(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder away needs root")
def test_a_state_folder_of_somebody_else_is_refused(state: Path) -> None:
    prepare(state)
    os.chown(state, 65_534, 65_534)

    with pytest.raises(StateFolderError):
        prepare(state)


@pytest.mark.parametrize("found", ["2", "", "1.1", "\x1b[2J"])
def test_a_state_of_another_format_is_refused(state: Path, found: str) -> None:
    prepare(state).format.write_text(found)

    with pytest.raises(StateFolderError):
        prepare(state)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_filesystem_is_refused_and_a_local_one_is_not(tmp_path: Path, kind: str) -> None:
    device = tmp_path.stat().st_dev
    place = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"

    mounts.write_text(f"22 1 0:1 / /proc rw - {kind} x rw\n23 1 {place} / / rw shared:1 - ext4 /dev/vda rw\n")
    check_filesystem(tmp_path, mounts=mounts)
    mounts.write_text(
        f"22 1 0:1 / /proc rw - proc proc rw\n23 1 {place} / / rw shared:1 - {kind} host:/x rw\n"
    )
    with pytest.raises(StateFolderError):
        check_filesystem(tmp_path, mounts=mounts)
    check_filesystem(tmp_path, mounts=tmp_path / "none")


@pytest.mark.parametrize(
    "given",
    [
        "",
        "../x",
        "0123456789a",
        "0123456789abc",
        "0123456789aB",
        "0123456789ai",
        "\x00" * 12,
        "0123456789ab\n",
    ],
)
def test_what_is_no_id_is_refused(given: str) -> None:
    with pytest.raises(UnknownSessionError):
        checked_id(given)


def test_only_whole_ids_count_as_sessions(state: Path) -> None:
    files = prepare(state)
    for name in ("0123456789ab", "..x", "0123456789ab.old", "README"):
        (state / "sessions" / name).mkdir()

    assert list(StateFiles(state).session_ids()) == ["0123456789ab"]
    assert files.session("0123456789ab").segments() == []


def test_stray_files_are_no_segments(state: Path) -> None:
    session = prepare(state).session("0123456789ab")
    session.folder.mkdir()
    for name in (
        "events.jsonl",
        "events.jsonl.2",
        "events.jsonl.10",
        "events.jsonl.01",
        "events.jsonl.x",
        "events.jsonl.0",
    ):
        (session.folder / name).write_text("")

    assert [number for number, _ in session.segments()] == [0, 2, 10]


def test_a_symlink_in_the_place_of_a_private_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "file").symlink_to(victim)

    write_private(tmp_path / "file", b"new")

    assert (victim.read_text(), (tmp_path / "file").read_bytes()) == ("untouched", b"new")
