from __future__ import annotations

import io
import os
import shutil
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.stage import Copy
from sandbox.stage.apply import apply_changes
from sandbox.stage.changes import compute_changes
from sandbox.stage.collecting import collect
from sandbox.stage.errors import StageLimitError
from sandbox.stage.layout import StageFolder
from sandbox.stage.opened import open_stage
from sandbox.stage.parcel import is_out, pack
from sandbox.stage.tars import TarError, read_tar
from tests.sandbox.stage.killing import die_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Yard

GIB = 1 << 30


def out(yard: Yard) -> Path:
    """Send the workspace to where the sandbox would have it, with the real tar of Python's library."""
    inside = yard.top / "inside"
    if inside.exists():
        shutil.rmtree(inside)
    inside.mkdir()
    with open_stage(yard.session) as stage:
        stream = io.BytesIO(b"".join(pack(stage, uid=os.getuid(), gid=os.getgid())))
    with tarfile.open(fileobj=stream) as archive:
        archive.extractall(inside, filter="fully_trusted")  # noqa: S202 - our own archive
    return inside


def back(yard: Yard, inside: Path) -> None:
    """Fetch it back as `docker cp` does: everything under one name."""
    with open_stage(yard.session) as stage:
        chunks = packed(inside)
        collect(stage, chunks, limit_bytes=GIB, limit_entries=10_000, prefix="workspace")


def packed(inside: Path, *, form: int = tarfile.PAX_FORMAT) -> Iterator[bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        archive.add(inside, "workspace")
    stream.seek(0)
    return iter(lambda: stream.read(700), b"")


def names(yard: Yard) -> list[tuple[str, str]]:
    with open_stage(yard.session) as stage:
        return [(change.kind.value, change.path) for change in compute_changes(stage).changes]


def copied(yard: Yard, act: Callable[[Path], object], *hide: str) -> None:
    assert isinstance(yard.plan(*hide, engine_local=False), Copy)
    inside = out(yard)
    act(inside)
    back(yard, inside)


def test_a_copy_that_comes_back_unchanged_is_no_change(yard: Yard) -> None:
    yard.fill({"a": "1", "d/e/f": "2", ("n" * 120) + "/" + ("m" * 120): "long"})
    (yard.workspace / "link").symlink_to("a")
    (yard.workspace / "d").chmod(0o2755)

    copied(yard, lambda _: None)

    assert names(yard) == []
    assert list((yard.session / "stage/upper").iterdir()) == []


def test_hidden_paths_are_not_sent(yard: Yard) -> None:
    yard.fill({".env": "secret", "a": "1"})
    seen: list[str] = []

    copied(yard, lambda inside: seen.extend(path.name for path in inside.iterdir()), ".env")

    assert seen == ["a"]
    assert names(yard) == []


def test_changes_come_back_as_from_an_overlay(yard: Yard) -> None:
    """And a second session on the same stage goes on from there."""
    yard.fill({"mod": "1", "del": "2", "dir/x": "3", "keep": "4", "mode": "5"})

    def act(inside: Path) -> None:
        (inside / "mod").write_text("agent")
        (inside / "del").unlink()
        shutil.rmtree(inside / "dir")
        (inside / "mode").chmod(0o755)
        (inside / "new").write_text("n")
        os.link(inside / "keep", inside / "linked")
        os.link(inside / "new", inside / "linked too")

    first = [
        ("deleted", "del"), ("deleted", "dir"), ("deleted", "dir/x"), ("added", "linked"),
        ("added", "linked too"), ("modified", "mod"), ("mode", "mode"), ("added", "new"),
    ]  # fmt: skip
    copied(yard, act)
    assert names(yard) == first

    inside = out(yard)
    assert (inside / "mod").read_text() == "agent"
    assert not (inside / "dir").exists()
    (inside / "mod").write_text("1")
    (inside / "new").write_text("again")
    back(yard, inside)

    assert names(yard) == [item for item in first if item != ("modified", "mod")]
    with open_stage(yard.session) as stage:
        result = apply_changes(stage, compute_changes(stage).changes)
    assert result.complete
    assert (yard.workspace / "new").read_text() == "again"
    assert (yard.workspace / "linked").read_text() == "4"


def come_back_and_die(yard: Yard, inside: Path, number: int) -> bool:
    """Take a copy back in a child that kills itself before that call after the last byte; tell if it did."""
    child = os.fork()
    if child == 0:
        try:
            with open_stage(yard.session) as stage:
                collect(
                    stage, packed(inside), limit_bytes=GIB, limit_entries=99, prefix="workspace",
                    vouch=lambda: die_at(number),
                )  # fmt: skip
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_copy_whose_runner_is_killed_has_come_back_whole_or_not_at_all(yard: Yard) -> None:
    """What was deleted and what was written are one thing, at whichever call the kill comes."""
    before, after = [("deleted", "first")], [("added", "new"), ("deleted", "first"), ("deleted", "second")]
    outcomes = []
    for number in range(99):
        one = yard.again()
        one.fill({"first": "1", "second": "2"})
        copied(one, lambda inside: (inside / "first").unlink())
        inside = out(one)
        one.fill({"new": "3"}, below=inside)
        (inside / "second").unlink()
        if not come_back_and_die(one, inside, number):
            break
        lost = is_out(StageFolder(one.session / "stage"))  # asked first, as `resume` does
        found = sorted(names(one))
        assert (found, lost) in ((before, True), (after, False)), number
        outcomes.append(found == after)

    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {True, False}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_common_form_of_tar_is_read(yard: Yard, form: int) -> None:
    yard.plan(engine_local=False)
    inside = out(yard)
    yard.fill({("d" * 90) + "/" + ("f" * 90): "x"}, below=inside)

    with open_stage(yard.session) as stage:
        collect(stage, packed(inside, form=form), limit_bytes=GIB, limit_entries=99, prefix="workspace")

    assert names(yard) == [("added", "d" * 90), ("added", ("d" * 90) + "/" + ("f" * 90))]


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def stream_of(*entries: tarfile.TarInfo) -> list[bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info in entries:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return [stream.getvalue()]


HOSTILE = {
    "outside by dots": [entry("../evil", size=1)],
    "outside by a leading slash": [entry("/etc/evil", size=1)],
    "through a symlink": [entry("d", type=tarfile.SYMTYPE, linkname="/etc"), entry("d/evil", size=1)],
    "through a symlink to a folder": [
        entry("d", type=tarfile.SYMTYPE, linkname=".."),
        entry("d/evil", size=1),
    ],
    "a path twice": [entry("a", size=1), entry("a", size=1)],
    "a folder over a symlink": [
        entry("d", type=tarfile.SYMTYPE, linkname="/etc"),
        entry("d", type=tarfile.DIRTYPE),
    ],
    "a link to nothing": [entry("a", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
    "a link upwards": [entry("a", type=tarfile.LNKTYPE, linkname="../../../../etc/passwd")],
    "a file as a folder": [entry("a", size=1), entry("a/b", size=1)],
    "too many entries": [entry(f"f{n}", size=0) for n in range(11)],
    "too many bytes": [entry("a", size=2000)],
    "a name too long": [entry("/".join(["n" * 200] * 30), size=0)],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_stream_is_refused_and_nothing_is_kept(yard: Yard, case: str) -> None:
    """B06, and the classics of archive extraction."""
    yard.plan(engine_local=False)
    out(yard)
    with open_stage(yard.session) as stage:
        with pytest.raises((TarError, StageLimitError)):
            collect(stage, stream_of(*HOSTILE[case]), limit_bytes=1000, limit_entries=10)

        assert compute_changes(stage).changes == ()
        collect(stage, stream_of(entry("fine", size=1)), limit_bytes=1000, limit_entries=10)
    assert names(yard) == [("added", "fine")]


def test_a_stream_that_is_cut_anywhere_is_refused() -> None:
    """No prefix of a stream passes for the whole."""
    (whole,) = stream_of(entry("a", size=700), entry("b", size=3))

    for length in range(0, 512 * 6, 101):
        with pytest.raises(TarError):
            for _ in read_tar([whole[:length]]):
                pass
    assert [item.path for item in read_tar([whole])] == ["a", "b"]


@pytest.mark.parametrize("at", [0, 100, 124, 148, 156, 157])
def test_a_damaged_header_is_refused(at: int) -> None:
    """Name, mode, size, checksum, type and link are all under the checksum."""
    (whole,) = stream_of(entry("a", size=700))
    damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]

    with pytest.raises(TarError, match=r"checksum|octal"):
        list(read_tar([damaged]))


def raw_header(flag: bytes, size: int) -> bytes:
    """Return a header with a good checksum and a type and size of one's choice."""
    fields = b"n".ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    whole = (fields + b" " * 8 + flag).ljust(512, b"\0")
    return whole[:148] + b"%06o\0 " % sum(whole) + whole[156:]


FLAGS = st.sampled_from([b"x", b"L", b"K", b"g", b"0", b"2", b"5", b"S", b"\xff"])


@given(parts=st.lists(st.tuples(FLAGS, st.binary(max_size=80)), max_size=4), tail=st.binary(max_size=600))
def test_any_stream_is_read_or_refused_in_our_own_words(
    parts: list[tuple[bytes, bytes]], tail: bytes
) -> None:
    """Headers with a good checksum around bytes that mean nothing."""
    stream = b"".join(
        raw_header(flag, len(content)) + content + b"\0" * (-len(content) % 512) for flag, content in parts
    )

    with suppress(TarError):
        for item in read_tar([stream, tail]):
            assert item.size >= 0


@given(
    records=st.lists(
        st.tuples(st.sampled_from(["path", "size", "linkpath"]), st.text(max_size=20)), max_size=3
    )
)
def test_any_extended_header_is_read_or_refused(records: list[tuple[str, str]]) -> None:
    content = b"".join(pax_record(key, value) for key, value in records)
    stream = raw_header(b"x", len(content)) + content.ljust(-(-len(content) // 512) * 512, b"\0")

    with suppress(TarError):
        for item in read_tar([stream, raw_header(b"0", 3), b"abc".ljust(512, b"\0"), b"\0" * 1024]):
            assert item.size >= 0


def pax_record(key: str, value: str) -> bytes:
    body = b" " + key.encode() + b"=" + value.encode("utf-8", "surrogateescape") + b"\n"
    length = len(body)
    while length != len(str(length)) + len(body):
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def test_devices_and_pipes_arrive_as_something_that_cannot_be_applied(yard: Yard) -> None:
    yard.plan(engine_local=False)
    out(yard)
    with open_stage(yard.session) as stage:
        collect(
            stage,
            stream_of(entry("null", type=tarfile.CHRTYPE), entry("pipe", type=tarfile.FIFOTYPE)),
            limit_bytes=10, limit_entries=10,
        )  # fmt: skip
        found = compute_changes(stage)

        refused = apply_changes(stage, found.changes).not_applied

    assert {item.path: item.code.value for item in refused} == {"null": "special", "pipe": "special"}
