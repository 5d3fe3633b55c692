"""The walk before the start finds exactly what the matcher means, however little the matcher is asked."""

from __future__ import annotations

import json
import os
import string
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.errors import BadValueError
from policies.files_block import FilesBlock
from policies.globs import Glob
from sandbox.stage.errors import StageError
from sandbox.stage.lastnames import LastNames
from sandbox.stage.matching import Globs, HiddenBy
from sandbox.stage.scan import scan
from sandbox.stage.start import load_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from conftest import Yard

    from sandbox.stage.layout import PathMatcher

NAMES = st.text(
    alphabet=st.sampled_from(string.ascii_letters[:3] + "AÉé.k\u200d\u0301\u0130ß\n"), min_size=1, max_size=5
).filter(lambda name: name not in {".", ".."})
PATTERN_NAMES = st.text(alphabet=st.sampled_from("abAEÉé.k*?ß"), min_size=1, max_size=5) | st.just("**")


class Counting:
    """A matcher that counts how often it is asked."""

    def __init__(self, matcher: HiddenBy) -> None:
        self._matcher = matcher
        self.asked: list[str] = []

    def matches(self, path: str) -> bool:
        """Ask the matcher."""
        self.asked.append(path)
        return self._matcher.matches(path)

    def suspects(self) -> Callable[[Sequence[str]], frozenset[str]]:
        """Hand out its own quick test."""
        return self._matcher.suspects()


def meant_by(matcher: PathMatcher, path: str) -> bool:
    parts = path.split("/")
    return any(matcher.matches("/".join(parts[: n + 1])) for n in range(len(parts)))


@given(
    patterns=st.lists(st.lists(PATTERN_NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=4),
    path=st.lists(NAMES, min_size=1, max_size=4).map("/".join),
)
@example(patterns=["a/**"], path="a")
@example(patterns=["**/a/"], path="b/A")
@example(patterns=["*"], path="x")
@example(patterns=["\u00e9*"], path="e\u0301a")
@example(patterns=["a*k?b"], path="akkb")
@example(patterns=["ss"], path="\u00df")
@example(patterns=["a.k"], path="a.k\n")
@example(patterns=["*k"], path="\u200d/ak\n")
def test_no_name_is_ruled_out_that_a_glob_means(patterns: list[str], path: str) -> None:
    """A path that belongs to a set has a part, itself or above, which the quick test does not rule out."""
    try:
        globs = [Glob.parse(pattern) for pattern in patterns]
    except BadValueError:
        return
    names = LastNames.of(globs)

    for glob in globs:
        if glob.matches(path):
            assert names.among(path.split("/"))


def test_an_ordinary_name_is_asked_of_no_glob(yard: Yard) -> None:
    """100,000 of them would cost seconds; one that looks like a secret's is asked, and what is not stays."""
    yard.fill({"src/main.py": "x", "README": "x", "keys.py": "x", "server.key": "s", "config.json": "x"})
    matcher = Counting(HiddenBy(FilesBlock()))

    found = scan(yard.workspace, matcher)

    assert sorted(matcher.asked) == ["config.json", "server.key"]
    assert found.hidden == ("server.key",)
    assert sorted(found.start.paths()) == ["", "README", "config.json", "keys.py", "src", "src/main.py"]


def test_below_a_folder_that_an_exception_shows_everything_is_asked(yard: Yard) -> None:
    """A name is excepted, not what lies below it: a folder `.env.example` must not carry secrets in."""
    yard.fill(
        {".env.example/a": "s", ".env.example/b/c": "s", ".env.sample": "x", "d/.docker/config.json": "s"}
    )
    matcher = HiddenBy(FilesBlock())

    found = scan(yard.workspace, matcher)

    everything = {str(path.relative_to(yard.workspace)) for path in yard.workspace.rglob("*")}
    assert set(found.start.paths()) == {"", *(path for path in everything if not meant_by(matcher, path))}
    assert found.hidden == (".env.example/a", ".env.example/b", "d/.docker/config.json")


def test_a_record_holds_every_visible_path_and_a_copys_what_one_lstat_said(yard: Yard) -> None:
    yard.fill({"a": "x", "d/b": "y", "d/e/c": "z", "gone.key": "s", "odd\nname \udcff": "x"})
    os.link(yard.workspace / "gone.key", yard.workspace / "d/other")
    (yard.workspace / "link").symlink_to("a")
    facts = yard.plan("*.key").facts
    names = {"", "a", "d", "d/b", "d/e", "d/e/c", "link", "odd\nname \udcff"}

    start = load_record(facts.folder.record)
    asked = start.asked(yard.workspace)

    assert (set(start.paths()), set(start.known)) == (names, set())
    assert set(asked.paths()) == set(asked.known) == names
    for path, seen in asked.known.items():
        status = (yard.workspace / path).lstat()
        assert seen == (
            status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        )  # fmt: skip


def test_links_to_what_is_hidden_are_looked_for_on_its_own_filesystem(yard: Yard) -> None:
    """Another that is mounted in a hidden folder may be large, and its inodes are those of other files."""
    vault = yard.workspace / "vault"
    with _tmpfs(yard.workspace):
        yard.fill({"vault/secret": "s", "keep": "x"})
        os.link(vault / "secret", yard.workspace / "link")
        yard.fill({f"f{n}": "x" for n in range(40)})
        (vault / "mounted").mkdir()
        with _tmpfs(vault / "mounted"):
            for n in range(40):
                (vault / f"mounted/m{n}").touch()
                os.link(vault / f"mounted/m{n}", vault / f"mounted/l{n}")
            there = {path.stat().st_ino for path in (vault / "mounted").iterdir()}
            below = scan(yard.workspace, Globs.parse(["vault"]))
        with _tmpfs(vault):
            (vault / "m").touch()
            os.link(vault / "m", vault / "l")
            covered = scan(yard.workspace, Globs.parse(["vault"]))
        shared = [n for n in range(40) if (yard.workspace / f"f{n}").stat().st_ino in there]

    assert shared, "the two filesystems number their files alike, or this test says nothing"
    assert (below.hidden, below.linked) == (("vault",), ("link",))
    assert "link" not in below.start.names[""]
    assert covered.linked == ()


@contextmanager
def _tmpfs(at: Path) -> Iterator[None]:
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "tmpfs", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/umount", str(at)], check=True)


def test_a_pattern_of_wildcards_alone_is_asked_of_every_name() -> None:
    names = LastNames.of(Globs.parse(["?*", "a/*b*/**"]).globs.globs)

    assert names.among(["x", "", "B"]) == {"x", "", "B"}
    assert LastNames.of(Globs.parse(["a/*b*/**"]).globs.globs).among(["a", "ab"]) == {"ab"}


def test_a_folder_that_can_be_listed_and_not_looked_into_is_hidden_and_stops_nothing(yard: Yard) -> None:
    """Mode 0600 on a folder gives its names and not what they are: one such folder, and nothing started."""
    yard.fill({"blind/.env": "secret", "blind/sub/a": "x", "seen/.env": "secret", "seen/a": "x"})
    (yard.workspace / "blind").chmod(0o604)

    def look() -> str:
        found = scan(yard.workspace, Globs.parse([".env"]))
        return json.dumps(
            [found.unreadable, found.hidden, sorted(found.start.paths()), sorted(found.start.folders)]
        )

    unreadable, hidden, entries, folders = json.loads(yard.as_user(65534, look))

    assert (unreadable, hidden) == (["blind"], ["seen/.env"])
    assert (entries, folders) == (["", "seen", "seen/a"], ["", "seen"])


def test_a_workspace_that_is_gone_is_told_in_one_line(yard: Yard) -> None:
    with pytest.raises(StageError) as told:
        scan(yard.top / "gone", Globs.parse([".env"]))

    assert told.value.message == f"workspace `{yard.top}/gone` cannot be listed: no such file or directory"


def test_a_walk_that_nobody_waits_for_ends_before_the_next_folder(yard: Yard) -> None:
    """A session that is refused, or interrupted, does not wait for 100,000 files."""
    yard.fill({f"d{n}/f": "x" for n in range(20)})
    asked = 0

    def ended() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(StageError, match="was ended"):
        scan(yard.workspace, Globs.parse([".env"]), ended=ended)

    assert asked == 4


def test_a_workspace_that_can_be_listed_and_not_looked_into_is_refused(yard: Yard) -> None:
    yard.fill({"a": "x"})
    yard.as_user(65534, lambda: "")
    yard.workspace.chmod(0o604)

    def look() -> str:
        try:
            scan(yard.workspace, Globs.parse([".env"]))
        except StageError as error:
            return str(error)
        return "scanned"

    said = yard.as_user(65534, look)
    yard.workspace.chmod(0o755)

    assert said.partition("` ")[2] == "cannot be listed: permission denied"
