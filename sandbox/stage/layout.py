"""Name the files and folders of one session's stage; nothing here opens them, save to make them."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from policies.globs import Glob

YARD_PREFIX: Final = ".pairlock-apply-"
"""Begins the name of an apply's own folder, at the top of a workspace; random digits follow."""


class PathMatcher(Protocol):
    """Says whether a path belongs to a set, such as the hidden or the protected ones.

    It answers for every spelling that some filesystem takes for the same name (case, Unicode form, invisible
    characters), and for what lies below a path that it matches. `matching` makes these of a policy.
    """

    def matches(self, path: str) -> bool:
        """Tell whether `path`, relative to the workspace, with `/` between its parts, belongs to the set."""
        ...


class ProtectMatcher(PathMatcher, Protocol):
    """A matcher that says by which patterns it matches."""

    def patterns(self) -> tuple[Glob, ...]:
        """Return them all."""
        ...


class WalkMatcher(PathMatcher, Protocol):
    """A matcher that can be asked of 100,000 paths in one walk from the top."""

    def suspects(self) -> Callable[[Sequence[str]], frozenset[str]]:
        """Return a quick test of paths' last names, which returns those that must be asked.

        It may return any. It leaves out only a name with which no path belongs to the set, unless what it
        returned stands above it.
        """
        ...

    def reason(self, path: str) -> str:
        """Say by what a path belongs to the set, for people; empty when it does not."""
        ...


@dataclass(frozen=True, slots=True)
class MatchNothing:
    """The empty set of paths."""

    def matches(self, path: str) -> bool:  # noqa: ARG002 - the protocol's parameter
        """Return False."""
        return False

    def patterns(self) -> tuple[Glob, ...]:
        """Return none."""
        return ()

    def suspects(self) -> Callable[[Sequence[str]], frozenset[str]]:
        """Return a test that returns no name."""
        return lambda _: frozenset()

    def reason(self, path: str) -> str:  # noqa: ARG002 - the protocol's parameter
        """Return nothing."""
        return ""


@dataclass(frozen=True, slots=True)
class StageFolder:
    """Where a session's stage lies: `state/sessions/<id>/stage`."""

    path: Path
    """The folder, absolute."""

    @property
    def hidden(self) -> Path:
        """The lower layer that holds nothing but whiteouts for what is hidden."""
        return self.path / "hidden"

    @property
    def base(self) -> Path:
        """The copy of the workspace, where one was needed."""
        return self.path / "base"

    @property
    def upper(self) -> Path:
        """What the agent wrote, and nothing else. Untrusted."""
        return self.path / "upper"

    @property
    def work(self) -> Path:
        """The kernel's own work folder; holds one root-owned folder, `work`, once it has been mounted."""
        return self.path / "work"

    @property
    def deleted(self) -> Path:
        """A list of what the agent deleted, where the upper folder cannot hold whiteouts."""
        return self.path / "deleted.json"

    @property
    def deleted_next(self) -> Path:
        """The same for an upper folder that is about to take the other's place, and which folder that is."""
        return self.path / "upper.new.deleted"

    @property
    def sent(self) -> Path:
        """What was sent as a copy; it is there until that has come back."""
        return self.path / "sent.json"

    @property
    def record(self) -> Path:
        """What the workspace held when the session started."""
        return self.path / "record"

    @property
    def hashes(self) -> Path:
        """SHA-256 of the workspace's own content, for files that the agent changed."""
        return self.path / "hashes.json"

    @property
    def set_back(self) -> Path:
        """Empty; there once the clock was seen set back while a session ran."""
        return self.path / "clock-set-back"

    @property
    def about(self) -> Path:
        """How the stage was made: strategy, workspace, hidden paths."""
        return self.path / "stage.json"

    @property
    def journal(self) -> Path:
        """What an apply is about to do; present only while one is unfinished."""
        return self.path / "apply.json"

    def make(self) -> None:
        """Make the stage's folder and its three always present ones, private to this user."""
        self.path.mkdir(mode=0o700, parents=True)
        for folder in (self.hidden, self.upper, self.work):
            folder.mkdir(mode=0o700)


def write_private(target: Path, content: bytes) -> None:
    """Write a file of the stage's own atomically and durably, mode 0600."""
    # A name of its own: two that look at one stage may write down the same at once.
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
