"""A diff of a long file is applied as to a short one if its hunks name their lines, or not at all."""

from __future__ import annotations

import difflib
import tempfile
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.guest import hunks, placing
from sandbox.guest.refusal import RefusedError
from sandbox.guest.text import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_END = b"\\ No newline at end of file\n"
LINES = st.lists(st.sampled_from([b"", b"a", b"b", b"  a", b"\xff"]), max_size=12)


@pytest.fixture
def stream() -> Iterator[IO[bytes]]:
    """Return an empty file."""
    with tempfile.TemporaryFile() as opened:
        yield opened


def filled(stream: IO[bytes], content: bytes) -> int:
    stream.seek(0)
    stream.truncate()
    stream.write(content)
    stream.flush()
    return stream.fileno()


def applied(descriptor: int, diff: bytes) -> bytes:
    return b"".join(placing.changed(descriptor, placing.placed(descriptor, hunks.parse(diff))))


def content_of(lines: list[bytes], *, ends: bool) -> bytes:
    return b"\n".join(lines) + (b"\n" if ends and lines else b"")


def diff_of(old: bytes, new: bytes, context: int) -> bytes:
    before, after = (lines_of(old), lines_of(new))
    made = difflib.diff_bytes(difflib.unified_diff, before, after, b"a/f", b"b/f", n=context, lineterm=b"\n")
    end = b"\n\\ No newline at end of file\n"
    return b"".join(line if line.endswith(b"\n") else line + end for line in made)


@given(LINES, LINES, st.tuples(st.booleans(), st.booleans()), st.integers(0, 3), st.integers(1, 9))
def test_a_difference_applied_block_by_block_gives_the_new_content(
    old: list[bytes], new: list[bytes], ends: tuple[bool, bool], context: int, block: int
) -> None:
    """Whatever the size of a block, and where in one a line ends."""
    before, after = content_of(old, ends=ends[0]), content_of(new, ends=ends[1])
    diff = diff_of(before, after, context)
    if not diff:
        return
    usual, placing.BLOCK_BYTES = placing.BLOCK_BYTES, block
    try:
        with tempfile.TemporaryFile() as stream:
            made = applied(filled(stream, before), diff)
    finally:
        placing.BLOCK_BYTES = usual

    assert made == after


@st.composite
def hunks_that_fit(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw content and a diff whose old lines stand where it says, often one hunk right behind another."""
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = lines_of(content_of(draw(LINES), ends=draw(st.booleans())))
    diff, line = b"", 0
    for _ in range(draw(st.integers(1, 3))):
        line = draw(st.integers(line, len(lines)))
        old = lines[line : draw(st.integers(line, len(lines)))]
        new = lines_of(content_of(draw(LINES), ends=draw(st.booleans())))
        if old == new:
            continue
        diff += b"@@ -%d,%d +1,%d @@\n" % (line + 1 if old else line, len(old), len(new))
        diff += b"".join(marked(b"-", each) for each in old) + b"".join(marked(b"+", each) for each in new)
        line += len(old)
    return b"".join(lines).replace(b"\n", end), diff


def marked(mark: bytes, line: bytes) -> bytes:
    return mark + line + (b"" if line.endswith(b"\n") else b"\n\\ No newline at end of file\n")


@given(hunks_that_fit(), st.integers(1, 9))
def test_what_a_long_file_takes_a_short_one_takes_with_the_same_result(
    drawn: tuple[bytes, bytes], block: int
) -> None:
    """Strictness is the one difference: nothing fits here that would not fit there."""
    text, diff = drawn
    if not diff:
        return
    usual, placing.BLOCK_BYTES = placing.BLOCK_BYTES, block
    try:
        with tempfile.TemporaryFile() as stream:
            made = applied(filled(stream, text), diff)
    except RefusedError:
        return
    finally:
        placing.BLOCK_BYTES = usual

    assert made == hunks.apply(text, hunks.parse(diff))[0]


@given(LINES, LINES, LINES, st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_a_diff_of_other_files_is_taken_by_a_long_file_only_where_a_short_one_takes_it(
    content: list[bytes], old: list[bytes], new: list[bytes], ends: tuple[bool, bool, bool]
) -> None:
    text = content_of(content, ends=ends[0])
    diff = diff_of(content_of(old, ends=ends[1]), content_of(new, ends=ends[2]), 1)
    if not diff:
        return
    with tempfile.TemporaryFile() as stream:
        try:
            made = applied(filled(stream, text), diff)
        except RefusedError:
            return

    assert made == hunks.apply(text, hunks.parse(diff))[0]


@given(LINES.filter(bool), LINES.filter(bool), st.integers(0, 3), st.integers(1, 9))
def test_in_a_long_file_with_cr_lf_a_diff_with_lf_keeps_the_line_ends(
    old: list[bytes], new: list[bytes], context: int, block: int
) -> None:
    """As in a short one: what `diff` wrote of the lines is applied to them."""
    before, after = content_of(old, ends=True), content_of(new, ends=True)
    diff = diff_of(before, after, context)
    if not diff:
        return
    usual, placing.BLOCK_BYTES = placing.BLOCK_BYTES, block
    try:
        with tempfile.TemporaryFile() as stream:
            made = applied(filled(stream, before.replace(b"\n", b"\r\n")), diff)
    finally:
        placing.BLOCK_BYTES = usual

    assert made == after.replace(b"\n", b"\r\n")


@pytest.mark.parametrize(
    ("diff", "code"),
    [
        (b"@@ -2 +2 @@\n-one\n+x\n", "no-match"),
        (b"@@ -1 +1 @@\n-on\n+x\n", "no-match"),
        (b"@@ -9 +9 @@\n-one\n+x\n", "no-match"),
        (b"@@ -9,0 +9 @@\n+x\n", "no-match"),
        (b"@@ -3,0 +4 @@\n+x\n", "no-match"),
        (b"@@ -2 +2 @@\n-two\n+x\n\\ No newline at end of file\n", "no-match"),
        (b"@@ -2 +2 @@\n-two\n+x\n@@ -1 +1 @@\n-one\n+y\n", "diff"),
        (b"@@ -1,2 +1,2 @@\n-one\n two\n+x\n@@ -2 +2 @@\n-two\n+y\n", "diff"),
    ],
)
def test_a_hunk_that_is_not_where_it_says_changes_nothing(stream: IO[bytes], diff: bytes, code: str) -> None:
    """Another line, part of one, beyond the end, behind a last line without newline, out of order."""
    descriptor = filled(stream, b"one\ntwo\nthree")

    with pytest.raises(RefusedError) as refusal:
        applied(descriptor, diff)

    assert refusal.value.code == code


@pytest.mark.parametrize(
    "first",
    [b"@@ -2 +2 @@\n-two\n+2\n" + NO_END, b"@@ -2,0 +3 @@\n+3\n" + NO_END],
    ids=["replaced", "added"],
)
def test_a_hunk_is_not_glued_to_the_one_before_it(stream: IO[bytes], first: bytes) -> None:
    """Its lines would become part of a line that the hunk before left without a newline."""
    descriptor = filled(stream, b"one\ntwo\n")
    second = b"@@ -2,0 +3 @@\n+four\n"

    with pytest.raises(RefusedError) as refusal:
        applied(descriptor, first + second)

    assert refusal.value.code == "no-match"
    assert refusal.value.message == "hunk 2 puts lines after one that has no newline"
    assert applied(descriptor, first.replace(NO_END, b"") + second).endswith(b"\nfour\n")


def test_in_a_file_with_both_line_ends_a_hunk_means_what_it_says(stream: IO[bytes]) -> None:
    """As in a short one: only where every line has CR LF does LF stand for it."""
    descriptor = filled(stream, b"one\r\ntwo\n")

    with pytest.raises(RefusedError) as refusal:
        applied(descriptor, b"@@ -1 +1 @@\n-one\n+1\n")

    assert refusal.value.code == "no-match"
    assert applied(descriptor, b"@@ -2 +2 @@\n-two\n+2\n") == b"one\r\n2\n"


def test_the_same_hunks_where_they_say_are_applied(stream: IO[bytes]) -> None:
    diff = (
        b"@@ -1 +1,2 @@\n-one\n+1\n+1.5\n@@ -3 +4 @@\n-three\n\\ No newline at end of file\n+3\n"
        b"\\ No newline at end of file\n"
    )

    assert applied(filled(stream, b"one\ntwo\nthree"), diff) == b"1\n1.5\ntwo\n3"


def test_a_file_that_is_changed_while_it_is_read_is_not_written(stream: IO[bytes]) -> None:
    descriptor = filled(stream, b"one\ntwo\n")
    places = placing.placed(descriptor, hunks.parse(b"@@ -2 +2 @@\n-two\n+x\n"))
    filled(stream, b"one\nTWO\n")

    with pytest.raises(RefusedError) as refusal:
        b"".join(placing.changed(descriptor, places))

    assert refusal.value.code == "busy"
