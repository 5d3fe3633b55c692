"""What `files patch` makes of a diff is what GNU patch or git make of it, byte for byte; or it is refused."""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from sandbox.guest import hunks
from sandbox.guest.refusal import RefusedError
from tests.cli_tools.repositories import ENVIRONMENT, GIT

if TYPE_CHECKING:
    from pathlib import Path

PATCH = shutil.which("patch")
DIFF = shutil.which("diff") or "diff"
LINES = [
    b"", b"a", b"b", b"c", b"  a", b"-x", b"+x", b"--- a", b"+++ b", b"@@ -1 +1 @@", b"\\ x", b"\xff",
    b"a\r", b"b\r", b"-- ", b"-", b"-- a", b"++ b",
]  # fmt: skip
STRAY = [
    b" a",
    b"-a",
    b"+a",
    b"\\ No newline at end of file",
    b"@@ -1 +1 @@",
    b"",
    b"-- ",
    b"--- f",
    b"+++ f",
]


class _Maker:
    """Makes files, what became of them, and diffs that were tampered with.

    Args:
        seed: of its choices.
    """

    def __init__(self, seed: int) -> None:
        self._choose = random.Random(seed)  # noqa: S311 (a test's choices)

    def lines(self, most: int) -> list[bytes]:
        return [self._choose.choice(LINES) for _ in range(self._choose.randint(0, most))]

    def edited(self, lines: list[bytes]) -> list[bytes]:
        made = list(lines)
        for _ in range(self._choose.randint(1, 4)):
            place = self._choose.randint(0, len(made))
            taken = self._choose.choice((0, 0, 1, 1, 2))
            made[place : place + taken] = [self._choose.choice(LINES)] * (taken != 2)
        return made

    def content(self, lines: list[bytes]) -> bytes:
        returns = b"\r" if self._choose.random() < 0.1 else b""
        end = b"\n" if lines and self._choose.random() < 0.8 else b""
        return b"\n".join(line + returns for line in lines) + end

    def target(self, lines: list[bytes], content: bytes) -> bytes:
        """Return the file that the diff was made of, or one that has moved on since."""
        if self._choose.random() < 0.4:
            return content
        return self.content(self.edited(lines) if self._choose.random() < 0.7 else [*self.lines(3), *lines])

    def tampered(self, diff: bytes) -> bytes:
        if self._choose.random() < 0.5:
            return diff
        lines = diff.split(b"\n")
        for _ in range(self._choose.randint(1, 2)):
            place = self._choose.randrange(len(lines))
            line = lines[place]
            kind = self._choose.randrange(5)
            lines[place : place + 1] = {
                0: [],
                1: [self._choose.choice(STRAY), line],
                2: [line.rstrip(b" ")],
                3: [line.replace(b"1", self._choose.choice([b"0", b"2", b"3"]), 1)],
                4: [line + b"\r"],
            }[kind] or ([] if len(lines) > 1 else [b""])
        return b"\n".join(lines)

    def context(self) -> int:
        return self._choose.randint(0, 3)


def ours(content: bytes, diff: bytes) -> bytes | None:
    try:
        return hunks.apply(content, hunks.parse(diff))[0]
    except RefusedError:
        return None


def theirs(folder: Path, content: bytes, diff: bytes) -> list[bytes]:
    """Return what GNU patch (without its fuzz) and git make of it, where they take it."""
    file = folder / "f"
    found: list[bytes] = []
    whole = diff if diff.endswith(b"\n") else diff + b"\n"  # (a model leaves the last end out; we take that)
    programs = [[GIT, "apply", "--unidiff-zero", "--whitespace=nowarn", "-p0", "-"]]
    if PATCH:
        programs.append([PATCH, "-s", "-F0", "--binary", "-N", "--no-backup-if-mismatch", "-r-", "f"])
    for words in programs:
        file.write_bytes(content)
        done = subprocess.run(
            words, cwd=folder, input=whole, env=ENVIRONMENT, capture_output=True, check=False
        )
        if done.returncode == 0:
            found.append(file.read_bytes() if file.exists() else b"")
    return found


def difference(folder: Path, old: bytes, new: bytes, context: int) -> bytes:
    (folder / "o").write_bytes(old)
    (folder / "n").write_bytes(new)
    words = [DIFF, f"-U{context}", "-a", "--label", "f", "--label", "f", "o", "n"]
    return subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, check=False).stdout


def compare(folder: Path, seed: int, count: int) -> tuple[int, int]:
    """Hold so many diffs against the others; returns how many were taken, and how many only they took."""
    maker = _Maker(seed)
    taken = stricter = 0
    for _ in range(count):
        lines = maker.lines(12)
        old = maker.content(lines)
        diff = difference(folder, old, maker.content(maker.edited(lines)), maker.context())
        if not diff:
            continue
        diff, content = maker.tampered(diff), maker.target(lines, old)
        below = diff[diff.find(b"@@") :].split(b"\n")
        marked = [line for line in below if line[:1] in (b" ", b"-", b"+")]
        if hunks.ends_with_returns(content) and not any(line.endswith(b"\r") for line in marked):
            continue  # there we add the CRs, which the others do not; the test below holds it
        made = ours(content, diff)
        others = theirs(folder, content, diff)

        assert made is None or made in others, (seed, content, diff, made, others)

        taken += made is not None
        stricter += made is None and bool(others)
    return taken, stricter


def test_what_is_taken_is_applied_as_gnu_patch_or_git_apply_it(tmp_path: Path) -> None:
    taken, stricter = compare(tmp_path, 1, 120)

    assert taken > stricter


@pytest.mark.long
@pytest.mark.skipif(PATCH is None, reason="where lines repeat, git and GNU patch may each be right")
@pytest.mark.parametrize("seed", [2, 3])
def test_what_is_taken_of_thousands_of_diffs_is_applied_as_the_others_apply_it(
    tmp_path: Path, seed: int
) -> None:
    taken, stricter = compare(tmp_path, seed, 1500)

    assert taken > stricter


@pytest.mark.parametrize(
    ("content", "diff", "made"),
    [
        (b"a\nb\r\n", b"@@ -2 +2 @@\n-b\r\n+c\r\n", b"a\nc\r\n"),
        (b"a\n", b"@@ -1 +1,2 @@\n a\n+b\r\n", b"a\nb\r\n"),
        (b"a\r\nb\r\n", b"@@ -1 +1 @@\n-a\r\n+a\n", b"a\nb\r\n"),
        (b"a\r\n", b"@@ -1 +1 @@\n-a\n+b\n", b"b\r\n"),
        (b"a\n", b"@@ -1 +1 @@\r\n-a\r\n+b\r\n", b"b\n"),
    ],
)
def test_a_carriage_return_belongs_to_its_line_unless_all_of_the_diff_or_file_has_them(
    content: bytes, diff: bytes, made: bytes
) -> None:
    assert ours(content, diff) == made


@pytest.mark.parametrize(
    ("diff", "message"),
    [
        (
            b"--- f\n+++ f\n-lost\n@@ -1 +1 @@\n-a\n+b\n",
            "`-lost` belongs to no hunk: expected `@@ -1,3 +1,4 @@` below the names",
        ),
        (
            b"@@ -1 +1 @@\n-a\n+b\n-- \n@@ -9 +9 @@\n-lost\n+x\n",
            "`@@ -9 +9 @@` stands below `-- `, which ends the diff",
        ),
        (
            b"@@ -1 +1 @@\n\\ No newline at end of file\n-a\n+b\n",
            "hunk 1: `\\ No newline at end of file` stands below no line",
        ),
    ],
)
def test_no_line_of_a_diff_is_passed_over_in_silence(diff: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        hunks.parse(diff)

    assert (caught.value.code, caught.value.message) == ("diff", message)
