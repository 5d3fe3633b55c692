"""Remember, for each engine, what was built on it: `state/engines/<engine id>.json`; nothing is built here.

A name of ours is never trusted: anybody who may use the engine can make a volume of that name first. What
counts is what this record says, and it says it only after the thing was filled by us.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from audit.errors import LedgerError
from audit.lock import take_after_work
from audit.waiting import let_go
from sandbox.runtime.errors import RuntimeBuildError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Sources(BaseModel):
    """The files of this machine from which something was built."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    files: tuple[str, ...]
    """Single files, absolute."""
    folders: tuple[str, ...]
    """Folders of which every file counts, absolute."""
    skip: tuple[str, ...]
    """Names in those folders that do not count."""


class Built(BaseModel):
    """One thing that was built on an engine."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    """The volume's name or the image's id."""
    digest: str
    """Hash of what it was made of, SHA-256 in hexadecimal."""
    fingerprint: str
    """Hash of the sources' sizes and dates when it was made, SHA-256 in hexadecimal."""
    sources: Sources
    """What it was made of."""


class KnownImage(BaseModel):
    """What a name that may move stood for, when it was seen for the first time or accepted by a person."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reference: str
    """Name and tag."""
    image: str
    """The image's id."""
    repository_digest: str
    """`name@sha256:…` under which a registry knows it; empty for an image that was made here."""


class MadeImage(BaseModel):
    """An image that was made by `pairlock image build`, beside the starter."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    """Name and tag."""
    image: str
    """The image's id."""
    base: str
    """Id of the image that it stands on; empty for one that a Dockerfile made."""
    made_of: str
    """What a person sees: the manifests, or the agent and its version."""
    made_of_digest: str
    """SHA-256 over every manifest, in hexadecimal."""
    source: str
    """The folder or the agent that it was made for."""


class EngineRecord(BaseModel):
    """What was built on one engine; None where nothing was, yet."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: int = 1
    """Of this file's shape."""
    empty: str | None = None
    """Id of the empty image."""
    runtime: Built | None = None
    """The runtime volume."""
    starter: Built | None = None
    """The starter image."""
    node: Built | None = None
    """The starter image with this machine's Node.js over it."""
    outdated_volumes: tuple[str, ...] = ()
    """Volumes that were replaced, or never finished, for `pairlock clean`: a session may still use them."""
    outdated_images: tuple[str, ...] = ()
    """Images that were replaced, likewise."""
    known: tuple[KnownImage, ...] = ()
    """What names stand for."""
    sound: tuple[str, ...] = ()
    """Ids of images in which nothing stands where sandboxes mount; the last ones that were looked at."""
    made: tuple[MadeImage, ...] = ()
    """Images that a person had made."""

    def replaced(self, *, starter: Built | None = None, node: Built | None = None) -> EngineRecord:
        """Return the record with another starter, or another one with Node.js; the old one is outdated."""
        old = (self.starter if starter else None, self.node if node else None)
        outdated = (*self.outdated_images, *(built.name for built in old if built is not None))
        fresh = {"starter": starter or self.starter, "node": node or self.node, "outdated_images": outdated}
        return self.model_copy(update=fresh)


def fingerprint(sources: Sources, *, salt: str) -> str:
    """Return a hash of the paths, sizes and dates of files: quick, and different after any upgrade.

    Args:
        sources: The files; one that is not there counts as such.
        salt: What else decides the outcome.
    """
    total = hashlib.sha256(salt.encode())
    for name in sources.files:
        total.update(_facts(name, _stat(name)))
    for name in sources.folders:
        for facts in _folder_facts(name, frozenset(sources.skip)):
            total.update(facts)
    return total.hexdigest()


def _folder_facts(folder: str, skip: frozenset[str]) -> Iterator[bytes]:
    """Yield what there is to say of every file below a folder, in order; quicker than `tree.walk`."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(
                (entry for entry in listing if entry.name not in skip), key=lambda entry: entry.name
            )
    except OSError:
        yield _facts(folder, None)
        return
    for entry in entries:
        if entry.is_dir():
            yield from _folder_facts(entry.path, skip)
        else:
            yield _facts(entry.path, _stat(entry.path))


def _facts(path: str, facts: os.stat_result | None) -> bytes:
    if facts is None:
        return f"\0{path}\0absent".encode()
    return f"\0{path}\0{facts.st_size}\0{facts.st_mtime_ns}\0{facts.st_ino}".encode()


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116  a thousand of them at every start: no Path for each
    except OSError:
        return None


class RecordFile:
    """The record of one engine, on this machine.

    Args:
        state: The state folder.
        engine: What the engine calls itself.
    """

    def __init__(self, state: Path, engine: str) -> None:
        name = engine.replace(":", "-")
        if not _SAFE_ID.fullmatch(name):
            name = hashlib.sha256(engine.encode()).hexdigest()
        self._folder = state / "engines"
        self._path = self._folder / f"{name}.json"
        self._lock = self._folder / f"{name}.lock"

    def read(self) -> EngineRecord:
        """Return the record; an empty one where there is none, or none that can be read."""
        try:
            return EngineRecord.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return EngineRecord()

    def write(self, record: EngineRecord) -> None:
        """Replace the record, so that a reader sees the old one or the new one.

        Raises:
            RuntimeBuildError: When the state folder cannot be written.
        """
        fresh = self._path.with_suffix(".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(record.model_dump_json(indent=1))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as exc:
            raise _unwritable(self._path, exc) from exc

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the record against other processes: whoever comes second finds the first one's work.

        Raises:
            RuntimeBuildError: When the state folder cannot be written, or another process does not let go.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise _unwritable(self._lock, exc) from exc
        try:
            await take_after_work(descriptor, f"{self._folder.name}/{self._lock.name}")
        except LedgerError as exc:
            raise RuntimeBuildError(exc.message, hint=exc.hint) from exc
        try:
            yield
        finally:
            let_go(descriptor)


def _unwritable(path: Path, exc: OSError) -> RuntimeBuildError:
    return RuntimeBuildError(
        f"`{path}` cannot be written: {exc.strerror}", hint="look at the state folder's owner and disk"
    )
