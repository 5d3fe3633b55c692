"""A diff that fits gives the new file, exactly; one that does not fit changes nothing and says where."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.guest import hunks
from sandbox.guest.refusal import RefusedError
from sandbox.guest.text import lines_of

LINE = st.sampled_from(
    [b"", b"a", b"b", b"  a", b"-x", b"+x", b"--- a", b"+++ b", b"@@ -1 +1 @@", b"\\ x", b"\xff"]
)
LINES = st.lists(LINE, max_size=12)


def content_of(lines: list[bytes], *, ends: bool, end: bytes = b"\n") -> bytes:
    return end.join(lines) + (end if ends and lines else b"")


def diff_of(old: bytes, new: bytes, context: int) -> bytes:
    """Write a diff as GNU diff does."""
    before, after = lines_of(old), lines_of(new)
    made = difflib.diff_bytes(difflib.unified_diff, before, after, b"a/f", b"b/f", n=context, lineterm=b"\n")
    end = b"\n\\ No newline at end of file\n"
    return b"".join(line if line.endswith(b"\n") else line + end for line in made)


@given(LINES, LINES, st.tuples(st.booleans(), st.booleans()), st.integers(0, 3))
def test_applying_the_difference_gives_the_new_content(
    old: list[bytes], new: list[bytes], ends: tuple[bool, bool], context: int
) -> None:
    """For any two files: what `diff` writes, `files patch` makes true."""
    before, after = content_of(old, ends=ends[0]), content_of(new, ends=ends[1])
    diff = diff_of(before, after, context)
    if not diff:
        return

    made, facts = hunks.apply(before, hunks.parse(diff))

    assert made == after
    assert facts["hunks"] == len(hunks.parse(diff).hunks)


@given(LINES.filter(bool), LINES.filter(bool))
def test_in_a_file_with_cr_lf_a_diff_with_lf_keeps_the_line_ends(old: list[bytes], new: list[bytes]) -> None:
    before = content_of(old, ends=True, end=b"\r\n")
    diff = diff_of(content_of(old, ends=True), content_of(new, ends=True), 3)
    if not diff:
        return

    made, _ = hunks.apply(before, hunks.parse(diff))

    assert made == content_of(new, ends=True, end=b"\r\n")


@given(st.binary(max_size=300), LINES)
def test_no_text_makes_the_reader_fail_otherwise_than_by_refusing(text: bytes, content: list[bytes]) -> None:
    for edit in (text, b"@@ -1,2 +1,2 @@\n" + text):
        try:
            hunks.apply(content_of(content, ends=True), hunks.parse(edit))
        except RefusedError as refusal:
            assert refusal.code in ("diff", "no-match", "many-matches")  # noqa: PT017 - either way is right


@pytest.mark.parametrize(
    ("diff", "message"),
    [
        (b"", "the diff has no hunk; expected `@@ -1,3 +1,4 @@` and the lines below it"),
        (b"@@ -1 +1 @@\n-a\n+a\n", "hunk 1 changes nothing"),
        (
            b"@@ -1,2 +1 @@\n-a\n+b\n",
            "hunk 1 says 2 old and 1 new lines and has 1 and 1; expected `@@ -1,1 +1,1 @@`",
        ),
        (b"@@ -1 +1 @@\n-a\n+b\n c\n", "` c` belongs to no hunk: the header above counts fewer lines"),
        (b"@@ -1 +1 @@\n-a\n?b\n", "hunk 1: line `?b` begins with none of ` `, `-`, `+`"),
        (b"@@ 1 1 @@\n-a\n+b\n", "hunk 1: `@@ 1 1 @@` is no header; expected `@@ -10,3 +10,4 @@`"),
        (b"--- a\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "the diff removes the file; `files remove` does that"),
        (b"--- a\n+++ a\n@@ -1 +1 @@\n-a\n+b\n--- c\n+++ c\n", "the diff is of 2 files; expected one"),
        (b"GIT binary patch\n", "`GIT binary patch` is no change of a file's lines"),
        (
            b"Binary files a/f and b/f differ\n",
            "`Binary files a/f and b/f differ` is no change of a file's lines",
        ),
        (
            b"diff --git a/f b/../../x\nsimilarity index 100%\nrename from f\nrename to ../../x\n",
            "`rename from f` is no change of a file's lines",
        ),
        *(
            (
                b"diff --git a/f b/f\n" + mode + b"\n--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+/etc/passwd\n",
                f"`{mode.decode()}`: modes and kinds of files are not changed; leave the line out",
            )
            for mode in (
                b"old mode 100644",
                b"new mode 100755",
                b"new file mode 120000",
                b"new file mode 104755",
                b"deleted file mode 100644",
            )
        ),
        (
            b"--- /dev/null\n+++ /dev/null\n@@ -0,0 +1 @@\n+x\n",
            "the diff removes the file; `files remove` does that",
        ),
    ],
)
def test_a_diff_that_is_none_is_refused_with_what_was_expected(diff: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        hunks.parse(diff)

    assert (caught.value.code, caught.value.message) == ("diff", message)


@pytest.mark.parametrize(
    ("diff", "code", "message"),
    [
        (b"@@ -2 +2 @@\n-x\n+y\n", "no-match", "hunk 1 does not fit: line 2 is `b`, the diff has `x`"),
        (
            b"@@ -9 +9 @@\n-x\n+y\n",
            "no-match",
            "hunk 1 does not fit: the file ends at line 4, the diff has `x` at line 9",
        ),
        (b"@@ -3 +3 @@\n-a\n+y\n", "many-matches", "hunk 1 does not fit at line 3, but at 1, 4"),
        (b"@@ -9,0 +9 @@\n+y\n", "no-match", "hunk 1 adds after line 9; the file has 4 lines"),
    ],
)
def test_a_diff_that_does_not_fit_says_where_and_what_is_there(diff: bytes, code: str, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        hunks.apply(b"a\nb\nc\na\n", hunks.parse(diff))

    assert (caught.value.code, caught.value.message) == (code, message)


def test_a_mail_from_git_format_patch_is_taken() -> None:
    mail = (
        b"From 1 Mon Sep 17\nSubject: x\n\n---\n f | 2 +-\n\ndiff --git a/f b/f\nindex 1..2 100644\n"
        b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n-- \n2.39.2\n\n"
    )

    made, _ = hunks.apply(b"a\n", hunks.parse(mail))

    assert made == b"b\n"


def test_a_diff_of_a_new_ordinary_file_is_taken_with_its_mode() -> None:
    """The twin of the modes that are refused."""
    head = (
        b"Subject: x\n\nnew mode of operation\n\ndiff --git a/f b/f\nnew file mode 100644\nindex 0000000..1\n"
    )
    diff = head + b"--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n"

    found = hunks.parse(diff)

    assert found.creates
    assert hunks.apply(b"", found)[0] == b"x\n"


@pytest.mark.parametrize(
    "name", [b"../f", b"/etc/f", b"b/../../f", b"b/other", b"a/F", b"b/f\0", b"b/f .", b'"b/f"']
)
def test_a_diff_that_names_another_file_is_refused(name: bytes) -> None:
    """The action's own path is where a diff is applied, and a header that names another is refused."""
    text = b"--- a/src/f\n+++ " + name + b"\n@@ -1 +1 @@\n-a\n+b\n"

    with pytest.raises(RefusedError) as caught:
        hunks.require_about(hunks.parse(text), b"src/f")

    assert caught.value.code == "diff"
    hunks.require_about(hunks.parse(text.replace(name, b"b/src/f")), b"./src/f")
