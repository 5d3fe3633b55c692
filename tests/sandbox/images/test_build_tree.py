"""What a build session hands out is hostile: plain files, folders and links below named folders go on."""

from __future__ import annotations

import contextlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.images import tree as tree_module
from sandbox.images.errors import BuildTreeError
from sandbox.images.tree import TreeFacts, clean_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDERS = ("opt", "opt/pairlock", "opt/pairlock/bin")


def member(
    path: str, *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, target: str = ""
) -> tarfile.TarInfo:
    """Describe one entry."""
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.linkname = kind, mode, target
    return info


def stream(*entries: tuple[tarfile.TarInfo, bytes], folders: tuple[str, ...] = FOLDERS) -> list[bytes]:
    """Write a tar stream, the usual folders first, in chunks of an odd size."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in folders:
            tar.addfile(member(folder, kind=tarfile.DIRTYPE, mode=0o755))
        for info, content in entries:
            info.size = len(content) if info.type == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))
    raw = buffer.getvalue()
    return [raw[at : at + 777] for at in range(0, len(raw), 777)]


def cleaned(
    chunks: list[bytes], target: Path
) -> tuple[TreeFacts, dict[str, tarfile.TarInfo], dict[str, bytes]]:
    """Clean a stream, and read what came of it."""
    facts = clean_tree(chunks, target, tops=("opt",), programs=("opt/pairlock/bin",))
    with tarfile.open(target) as tar:
        members = {info.name: info for info in tar}
        contents = {
            name: file.read()
            for name, info in members.items()
            if info.isreg() and (file := tar.extractfile(info))
        }
    return facts, members, contents


def test_plain_files_folders_and_links_go_on_as_roots(tmp_path: Path) -> None:
    """Content whole, owners and dates ours, modes of two kinds only."""
    chunks = stream(
        (member("opt/pairlock/bin/tool", mode=0o4775), b"#!/bin/sh\n" * 200),
        (member("opt/pairlock/data", mode=0o666), b"x" * 1500),
        (member("opt/pairlock/again", kind=tarfile.LNKTYPE, target="opt/pairlock/data"), b""),
        (member("opt/pairlock/out", kind=tarfile.SYMTYPE, target="/etc/passwd"), b""),
    )

    facts, members, contents = cleaned(chunks, tmp_path / "x.tar")

    assert facts == TreeFacts(entries=7, content_bytes=3500, programs=("tool",))
    assert contents == {
        "opt/pairlock/bin/tool": b"#!/bin/sh\n" * 200,
        "opt/pairlock/data": b"x" * 1500,
    }
    assert {name: oct(info.mode) for name, info in members.items() if info.isreg()} == {
        "opt/pairlock/bin/tool": "0o755",
        "opt/pairlock/data": "0o644",
    }
    assert {(info.uid, info.gid, info.mtime) for info in members.values()} == {(0, 0, 0)}
    assert members["opt/pairlock/again"].islnk()
    assert members["opt/pairlock/out"].linkname == "/etc/passwd"
    assert members["usr/local/bin/tool"].linkname == "/opt/pairlock/bin/tool"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (member("etc/passwd"), "lies beside opt"),
        (member("/opt/x"), "is no path"),
        (member("opt/../etc/passwd"), "has a name that could do harm"),
        (member("opt/.wh.pairlock"), "has a name that could do harm"),
        (member("opt/.wh..wh..opq"), "has a name that could do harm"),
        (member("opt/" + "x" * 256), "has a name that could do harm"),
        (member("opt/" + "x/" * 1600 + "x"), "is no path"),
        (member("opt/missing/x"), "does not lie in a folder"),
        (member("opt/null", kind=tarfile.CHRTYPE), "is a device, a pipe or a socket"),
        (member("opt/disk", kind=tarfile.BLKTYPE), "is a device, a pipe or a socket"),
        (member("opt/pipe", kind=tarfile.FIFOTYPE), "is a device, a pipe or a socket"),
        (member("opt/link", kind=tarfile.SYMTYPE, target=""), "links to nothing"),
        (member("opt/hard", kind=tarfile.LNKTYPE, target="/etc/shadow"), "is no path"),
        (member("opt/hard", kind=tarfile.LNKTYPE, target="opt/pairlock"), "second name of what is no file"),
        (member("opt/hard", kind=tarfile.LNKTYPE, target="opt/absent"), "second name of what is no file"),
        (member("opt/pairlock"), "is there twice"),
        (member("opt/sparse", kind=tarfile.GNUTYPE_SPARSE), "entry of unknown type"),
    ],
)
def test_an_entry_that_breaks_a_rule_ends_the_build(entry: tarfile.TarInfo, why: str, tmp_path: Path) -> None:
    """The reason is the one of that entry."""
    with pytest.raises(BuildTreeError, match=why):
        clean_tree(stream((entry, b"")), tmp_path / "x.tar", tops=("opt",), programs=())


@pytest.mark.parametrize(
    "entry",
    [
        member("opt/evil", kind=tarfile.DIRTYPE),
        member("opt/evil"),
        member("opt/pairlock2"),
        member("opt/pairlock", kind=tarfile.SYMTYPE, target="/etc"),
        member("etc", kind=tarfile.DIRTYPE),
    ],
)
def test_only_the_way_to_a_folder_of_ours_may_be_beside_it(entry: tarfile.TarInfo, tmp_path: Path) -> None:
    """`/opt` of the base is its own, but for `/opt/pairlock`, which is a folder."""
    way = tarfile.TarInfo("opt")
    way.type = tarfile.DIRTYPE
    ours = tarfile.TarInfo("opt/pairlock")
    ours.type = tarfile.DIRTYPE
    plain, bad = io.BytesIO(), io.BytesIO()
    for target, members in ((plain, [way, ours]), (bad, [way, entry])):
        with tarfile.open(fileobj=target, mode="w") as tar:
            for info in members:
                tar.addfile(info)

    facts = clean_tree([plain.getvalue()], tmp_path / "x.tar", tops=("opt/pairlock",), programs=())
    with pytest.raises(BuildTreeError, match="lies beside opt/pairlock"):
        clean_tree([bad.getvalue()], tmp_path / "y.tar", tops=("opt/pairlock",), programs=())

    assert facts.entries == 2


def test_a_file_below_a_link_is_refused(tmp_path: Path) -> None:
    """Unpacked, it would be written where the link leads."""
    chunks = stream(
        (member("opt/out", kind=tarfile.SYMTYPE, target="/etc"), b""), (member("opt/out/passwd"), b"x")
    )

    with pytest.raises(BuildTreeError, match="does not lie in a folder"):
        clean_tree(chunks, tmp_path / "x.tar", tops=("opt",), programs=())


def test_a_name_in_another_form_is_the_same_name(tmp_path: Path) -> None:
    """`./opt//x` and `opt/x` are one file, and the second one is refused."""
    chunks = stream((member("./opt//x"), b"1"), (member("opt/x"), b"2"))

    with pytest.raises(BuildTreeError, match="is there twice"):
        clean_tree(chunks, tmp_path / "x.tar", tops=("opt",), programs=())


@pytest.mark.parametrize("name", ["-rf", "a b", "a\nb", "..", ".hidden", "x" * 200, "$(id)", "a/b"])
def test_a_program_with_an_odd_name_gets_no_link(name: str, tmp_path: Path) -> None:
    """Its file goes on all the same, if it is a file name at all."""
    with contextlib.suppress(BuildTreeError):
        facts, _, _ = cleaned(
            stream((member(f"opt/pairlock/bin/{name}", mode=0o755), b"x")), tmp_path / "x.tar"
        )
        assert facts.programs == ()


def test_a_tree_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in files, before it is written whole."""
    monkeypatch.setattr(tree_module, "MOST_BYTES", 1000)
    with pytest.raises(BuildTreeError, match="more than 1000 bytes"):
        clean_tree(stream((member("opt/x"), b"x" * 1001)), tmp_path / "x.tar", tops=("opt",), programs=())

    monkeypatch.setattr(tree_module, "MOST_ENTRIES", 5)
    many = [(member(f"opt/{number}"), b"") for number in range(6)]
    with pytest.raises(BuildTreeError, match="more than 5 files"):
        clean_tree(stream(*many), tmp_path / "y.tar", tops=("opt",), programs=())


def test_a_stream_that_ends_early_is_refused(tmp_path: Path) -> None:
    """A build whose container died in the middle makes no image."""
    chunks = stream((member("opt/x"), b"x" * 4000))

    with pytest.raises(BuildTreeError, match="ended early"):
        clean_tree(chunks[:2], tmp_path / "x.tar", tops=("opt",), programs=())


def test_scripts_of_ours_are_added_where_the_tree_has_no_program_of_that_name(tmp_path: Path) -> None:
    """They are where every session's PATH looks first; an interpreter of the tree never gets a link there."""
    target = tmp_path / "x.tar"
    tools = [
        (member(f"opt/pairlock/bin/{name}", mode=0o755), b"x") for name in ("go", "python3.11", "python")
    ]
    ours = b"#!/bin/sh\n"

    clean_tree(
        stream(*tools),
        target,
        tops=("opt",),
        programs=("opt/pairlock/bin",),
        wrappers=(("go", ours), ("python", ours)),
    )

    with tarfile.open(target) as tar:
        found = {info.name: (info.issym(), oct(info.mode)) for info in tar if info.name.startswith("usr/")}
    assert found == {"usr/local/bin/go": (True, "0o777"), "usr/local/bin/python": (False, "0o755")}


def _bodies(raw: bytes) -> Iterator[bytes]:
    yield raw


@settings(max_examples=200)
@given(st.binary(max_size=3000), st.integers(0, 4000))
def test_no_bytes_break_the_reader_but_by_its_own_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    """A well-formed stream with noise in it, at any place."""
    raw = b"".join(stream((member("opt/x", mode=0o755), b"x" * 700)))
    hostile = raw[:at] + noise + raw[at + len(noise) :]

    with contextlib.suppress(BuildTreeError):
        clean_tree(_bodies(hostile), tmp_path_factory.mktemp("t") / "x.tar", tops=("opt",), programs=())
