"""Over generated histories, with merges, renames, modes and links, what is answered is what git answers."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from sandbox.guest.blame import MAX_BYTES
from sandbox.guest.git import MAX_SECONDS
from sandbox.guest.refusal import RefusedError
from sandbox.guest.repository import Store
from tests.cli_tools.repositories import ENVIRONMENT, GIT, ask, new_repository

if TYPE_CHECKING:
    from pathlib import Path

    from dulwich.objects import ObjectID, ShaFile

NAMES = ["a", "b.txt", "d/a", "d/b", "d/e/f", "x y", "\u00e9", "d2/a", "z"]
_BLAMED = re.compile("([0-9a-f]{10})[0-9a-f]{30} [0-9]+ [0-9]+")
WORDS = ["one", "two\r", "", "  three", "-- ", "@@"]


class _History:
    """A repository, and git to ask about it.

    Args:
        folder: where it is made.
        seed: of its choices.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = new_repository(folder)
        self._choose = random.Random(seed)  # noqa: S311 (a test's choices)
        self._seconds = 1700000000
        self._lines = 0
        self._branches = ["main"]
        self.change()
        self.commit()
        for _ in range(self._choose.randint(3, 9)):
            self._step()
        if self._choose.random() < 0.3:
            self.git("gc", "-q")
        self.change()
        if self._choose.random() < 0.6:
            self.git("add", "-A")
            self.change()

    def git(self, *words: str) -> bytes:
        """Run git; whatever comes of it."""
        moment = f"{self._seconds} {self._choose.choice(['+0100', '-0330', '+0000', '+1400'])}"
        dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        settings = ("-c", "core.quotePath=false", "-c", "core.autocrlf=false", "-c", "merge.renames=true")
        return subprocess.run(
            [GIT, *settings, *words],
            cwd=self.folder,
            env={**ENVIRONMENT, **dates},
            capture_output=True,
            check=False,
        ).stdout

    def pairs(self, *words: str) -> list[tuple[str, str]]:
        """Return the paths and letters that git tells."""
        told = [word for word in self.git(*words).decode().strip("\n").split("\0") if word]
        return sorted(zip(told[1::2], told[::2], strict=True))

    def commit(self) -> None:
        self._seconds += self._choose.choice([0, 1, 60, -30])
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", f"m{self._seconds}")

    def _step(self) -> None:
        kind = self._choose.random()
        if kind < 0.6:
            self.change()
            self.commit()
        elif kind < 0.75:
            self._branches.append(f"b{len(self._branches)}")
            self.git("branch", self._branches[-1])
        elif kind < 0.87:
            self.git("checkout", "-q", "-f", self._choose.choice(self._branches))
        else:
            self._seconds += 5
            self.git("merge", "-q", "-X", "ours", "--no-edit", self._choose.choice(self._branches))
            self.commit()

    def change(self) -> None:
        for _ in range(self._choose.randint(1, 3)):
            path, kind = self.folder / self._choose.choice(NAMES), self._choose.random()
            try:
                self._change(path, kind)
            except OSError:
                continue  # a folder stands where a file was, or the other way round

    def _change(self, path: Path, kind: float) -> None:
        if kind < 0.6:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                path.unlink()
            path.write_bytes(self._edited(path.read_bytes() if path.exists() else b""))
        elif kind < 0.7:
            path.unlink()
        elif kind < 0.8:
            path.chmod(path.stat().st_mode ^ 0o111)
        elif kind < 0.92:
            path.rename(self.folder / self._choose.choice(NAMES))
        else:
            path.unlink(missing_ok=True)
            path.symlink_to(self._choose.choice(["a", "d", "nowhere"]))

    def _edited(self, content: bytes) -> bytes:
        """Insert a few lines, each unlike any other: which of two equal lines is new is a matter of taste."""
        if self._choose.random() < 0.05:
            return b"\0" + content
        lines = content.split(b"\n")
        for _ in range(self._choose.randint(1, 6)):
            self._lines += 1
            lines.insert(
                self._choose.randint(0, len(lines)),
                f"{self._lines} {self._choose.choice(WORDS)}".encode(),
            )
        return b"\n".join(lines)


def compare(history: _History) -> None:
    folder = history.folder
    told = [
        line
        for line in history.git("status", "--porcelain", "--no-renames", "-z").decode().split("\0")
        if line
    ]
    status = [f"{entry['letters']} {entry['path']}" for entry in ask(folder, "status")[0][1:]]
    assert sorted(status) == sorted(told)

    for paths in ([], ["d"], ["a"]):
        log, _ = ask(folder, "log", limit=1000, paths=paths)
        assert [entry["commit"] for entry in log] == history.git(
            "log", "--format=%H", "--", *paths
        ).decode().split()

    names = ("--no-renames", "--name-status", "-z")
    for staged in (False, True):
        changed, _ = ask(folder, "diff", staged=staged)
        wanted = history.pairs("diff", *names, *(["--staged"] if staged else []))
        assert sorted((entry["path"], entry["letter"]) for entry in changed) == wanted

    for name in history.git("rev-list", "--all").decode().split():
        shown, _ = ask(folder, "show", revision=[name])
        wanted = history.pairs("show", "-m", "--first-parent", "--format=", *names, name)
        assert sorted((entry["path"], entry["letter"]) for entry in shown[1:]) == wanted

    for entry in history.git("ls-tree", "-r", "-z", "HEAD").decode().split("\0"):
        facts, _, path = entry.partition("\t")
        if facts.startswith("100") and b"\0" not in history.git("show", f"HEAD:{path}"):
            answered, told_lines = blamed(history, path)
            assert answered == told_lines, path


def blamed(history: _History, path: str, **asked: object) -> tuple[list[str], list[str]]:
    """Return the commit of each line, as it is answered and as git tells it."""
    answered, _ = ask(history.folder, "blame", paths=[path], **asked)
    told = history.git("blame", "--porcelain", "HEAD", "--", path).decode().split("\n")
    made = [found[1] for line in told if (found := _BLAMED.match(line))]
    return [line["commit"] for line in answered], made


def merged(history: _History) -> None:
    """Merge two branches that both kept the file's one line, so that it stands twice in what came of it."""
    path = history.folder / "twice"
    for name, start, content in (("base", "main", "X\n"), ("p", "base", "X\nA\n"), ("q", "base", "B\nX\n")):
        history.git("checkout", "-q", "-f", "-B", name, start)
        path.write_text(content)
        history.commit()
    history.git("merge", "-q", "-s", "ours", "--no-commit", "p")
    path.write_text("X\nA\nB\nX\n")
    history.commit()


def test_a_line_that_two_parents_have_is_handed_on_by_each_of_them(tmp_path: Path) -> None:
    """Two lines of a merge may be one line of its base; none of them is the merge's own."""
    history = _History(tmp_path, 1)
    merged(history)

    answered, told = blamed(history, "twice")

    assert answered == told
    assert answered[0] == answered[3] == history.git("rev-parse", "base").decode()[:10]
    assert len(set(answered)) == 3


def test_lines_that_are_not_asked_about_are_not_followed(tmp_path: Path) -> None:
    """An older version that is too long to be read matters only where a line may have come from it."""
    history = _History(tmp_path, 1)
    for content in ("x\n" * (MAX_BYTES // 2 + 1), "x\n", "x\nnew\n"):
        (history.folder / "grown").write_text(content)
        history.commit()
    newest = history.git("rev-parse", "HEAD").decode()[:10]

    new, told = blamed(history, "grown", first=2, last=9)
    with pytest.raises(RefusedError) as caught:
        blamed(history, "grown", first=1, last=1)

    assert (new, told[1:]) == ([newest], [newest])
    assert caught.value.code == "limit"


def test_a_file_that_a_commit_leaves_alone_is_not_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long history of a large file costs what changed in it."""
    history = _History(tmp_path, 1)
    for content in ("x\n", "x\ny\n"):
        (history.folder / "large").write_text(content)
        history.commit()
        for number in range(3):
            (history.folder / "other").write_text(f"{number} {content}")
            history.commit()
    names = history.git("rev-parse", "HEAD:large", "HEAD~4:large").split()
    load, loaded = Store.__getitem__, list[bytes]()

    def counting(store: Store, name: ObjectID) -> ShaFile:
        loaded.append(bytes(name))
        return load(store, name)

    monkeypatch.setattr(Store, "__getitem__", counting)
    answered, told = blamed(history, "large")

    assert answered == told
    assert len(set(told)) == 2
    assert [loaded.count(name) for name in names] == [1, 3], "the older: is it a file, what is in it, whence"


def test_when_time_is_up_the_lines_that_were_found_until_then_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old version that takes for ever costs the lines that came before it, and no others."""
    history = _History(tmp_path, 1)
    for content in ("x\n", "x\ny\n", "x\ny\nz\n"):
        (history.folder / "slow").write_text(content)
        history.commit()
    oldest = history.git("rev-parse", "HEAD~2:slow").strip()
    load = Store.__getitem__

    def lagging(store: Store, name: ObjectID) -> ShaFile:
        if bytes(name) == oldest:
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.05)  # as the operation's own does, later
            time.sleep(600)
        return load(store, name)

    monkeypatch.setattr(Store, "__getitem__", lagging)
    found, result = ask(history.folder, "blame", paths=["slow"], seconds=MAX_SECONDS)

    told = history.git("blame", "--porcelain", "HEAD", "--", "slow").decode().split("\n")
    newest = next(made[1] for line in told if (made := _BLAMED.match(line)) and line.split()[2] == "3")
    assert [(line["line"], line["commit"]) for line in found] == [(3, newest)]
    assert result == {"ended": "time", "entries": 1}


@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.long)])
def test_answers_over_generated_histories_are_gits(tmp_path: Path, count: int) -> None:
    """Status, log, differences, commits and blame, packed or not, with files that changed since."""
    for seed in range(count):
        history = _History(tmp_path / str(seed), seed)
        try:
            compare(history)
        except AssertionError as error:
            raise AssertionError(f"history {seed}") from error
