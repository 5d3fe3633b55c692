"""Keep, on the host, which sessions' writes in a workspace nobody has reviewed.

What a label means is `policies.lineage`. Here is one small file for each workspace, found by the folder's
identity and not by its name, changed under a lock and replaced as a whole. A label that cannot be read is an
error, never an empty label.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from audit.errors import LedgerError
from audit.lock import take
from audit.waiting import let_go
from policies.capability import Capability
from policies.lineage import Contribution, Label
from sandbox.stage.errors import LabelError
from sandbox.stage.layout import write_private
from sandbox.workspace import WorkspaceIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChange:
    """What happened to a label; for the ledger."""

    workspace: WorkspaceIdentity
    """Which folder."""
    before: Label
    after: Label
    merged: tuple[str, ...] = ()
    """Other names under which this folder's label was kept, and which are dropped now."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of every workspace, in `state/workspaces`."""

    folder: Path
    """The folder; made when the first label is written."""

    def read(self, workspace: WorkspaceIdentity) -> Label:
        """Return a workspace's label; an empty one when nobody has ever written in it.

        Raises:
            LabelError: When a label's file cannot be read or is damaged.
        """
        return _joined(label for _, _, label in self._matching(workspace))

    def raise_to(
        self,
        workspace: WorkspaceIdentity,
        added: Label,
        *,
        noted: Callable[[LabelChange], None] = lambda _: None,
    ) -> LabelChange:
        """Add what sessions exercised.

        Args:
            workspace: The folder.
            added: Their contributions.
            noted: Told once the label holds it, before anybody else can change it: what fails there, or is
                killed, leaves a label that holds more than was noted.

        Raises:
            LabelError: When the label cannot be read or written.
        """
        with self._locked():
            before = self.read(workspace)
            change = self._change(workspace, before, before.joined(added))
            self._write(workspace, change.after)
            noted(change)
            self._drop_others(workspace)
            return change

    def lower(
        self,
        workspace: WorkspaceIdentity,
        reviewed: Label,
        *,
        noted: Callable[[LabelChange], None] = lambda _: None,
    ) -> LabelChange:
        """Take off the contributions of sessions that a person reviewed.

        Args:
            workspace: The folder.
            reviewed: The parts that were shown; one that holds more by now stays.
            noted: Told what will change before it does: what fails there, or is killed, lowers nothing.

        Raises:
            LabelError: When the label cannot be read or written.
        """
        with self._locked():
            before = self.read(workspace)
            seen = {part.session: part.exercised for part in reviewed.contributions}
            kept = tuple(
                part
                for part in before.contributions
                if part.session not in seen or not part.exercised <= seen[part.session]
            )
            change = self._change(workspace, before, Label(kept))
            noted(change)
            self._write(workspace, change.after)
            self._drop_others(workspace)
            return change

    def damaged(self) -> tuple[str, ...]:
        """Return the keys of folders whose labels cannot be read."""
        return tuple(path.stem for path in self._files() if not _is_readable(path))

    def rewrite(
        self,
        workspace: WorkspaceIdentity,
        label: Label,
        *,
        noted: Callable[[LabelChange], None] = lambda _: None,
    ) -> None:
        """Write a label over one that cannot be read.

        Args:
            workspace: The folder.
            label: What it has to hold.
            noted: Told once it does.

        Raises:
            LabelError: When it cannot be written.
        """
        with self._locked():
            self._write(workspace, label)
            noted(LabelChange(workspace=workspace, before=Label(), after=label))

    def all(self) -> tuple[tuple[WorkspaceIdentity, Label], ...]:
        """Return every label that is kept, for `audit verify` and `ps`.

        Raises:
            LabelError: When one of them cannot be read.
        """
        return tuple((identity, label) for _, identity, label in self._every())

    def _write(self, workspace: WorkspaceIdentity, label: Label) -> None:
        """Write the label under the workspace's own name; an empty one needs no file."""
        with _told(workspace):
            if label.contributions:
                write_private(self._own(workspace), _encoded(workspace, label))
            else:
                self._own(workspace).unlink(missing_ok=True)

    def _drop_others(self, workspace: WorkspaceIdentity) -> None:
        """Drop files that name the workspace otherwise; its own holds what they held."""
        with _told(workspace):
            for path, _, _ in self._matching(workspace):
                if path != self._own(workspace):
                    path.unlink()

    def _own(self, workspace: WorkspaceIdentity) -> Path:
        return self.folder / f"{workspace.key}.json"

    def _change(self, workspace: WorkspaceIdentity, before: Label, after: Label) -> LabelChange:
        keys = {identity.key for _, identity, _ in self._matching(workspace)} - {workspace.key}
        return LabelChange(workspace=workspace, before=before, after=after, merged=tuple(sorted(keys)))

    def _matching(self, workspace: WorkspaceIdentity) -> Iterator[tuple[Path, WorkspaceIdentity, Label]]:
        """Yield the files that speak of this folder: as it is named now, and as it was before a restart."""
        for path, identity, label in self._every():
            if identity.same_folder(workspace):
                yield path, identity, label

    def _every(self) -> Iterator[tuple[Path, WorkspaceIdentity, Label]]:
        for path in self._files():
            yield path, *_decoded(path)

    def _files(self) -> tuple[Path, ...]:
        try:
            with os.scandir(self.folder) as entries:
                names = sorted(entry.name for entry in entries)
        except FileNotFoundError:
            return ()
        except OSError as error:
            why = (error.strerror or "").lower()
            raise LabelError(f"the labels in `{self.folder}` cannot be read: {why}") from error
        return tuple(
            self.folder / name for name in names if name.endswith(".json") and not name.startswith(".")
        )

    @property
    def lock(self) -> Path:
        """The file that is locked while a label changes and is noted."""
        return self.folder / "lock"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LabelError(f"the labels in `{self.folder}` cannot be locked: {error.strerror}") from error
        try:
            take(lock, f"{self.folder.name}/{self.lock.name}")
        except LedgerError as error:
            raise LabelError(error.message, hint=error.hint) from error
        try:
            yield
        finally:
            let_go(lock)


@contextmanager
def _told(workspace: WorkspaceIdentity) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LabelError(f"the label of `{workspace.path}` cannot be written: {error.strerror}") from error


def _joined(labels: Iterator[Label]) -> Label:
    whole = Label()
    for label in labels:
        whole = whole.joined(label)
    return whole


def _encoded(workspace: WorkspaceIdentity, label: Label) -> bytes:
    told = {
        "version": _VERSION,
        "workspace": asdict(workspace),
        "contributions": [
            {"session": part.session, "exercised": sorted(held.value for held in part.exercised)}
            for part in label.contributions
        ],
    }
    return json.dumps(told, indent=1).encode()


def _is_readable(path: Path) -> bool:
    try:
        _decoded(path)
    except LabelError:
        return False
    return True


def _decoded(path: Path) -> tuple[WorkspaceIdentity, Label]:
    try:
        told = json.loads(path.read_bytes())
        if told["version"] != _VERSION:
            raise LabelError(f"the label `{path}` is of version `{told['version']}`, expected `{_VERSION}`")
        contributions = tuple(
            Contribution(str(part["session"]), frozenset(map(Capability, part["exercised"])))
            for part in told["contributions"]
        )
        return WorkspaceIdentity(**told["workspace"]), Label(contributions)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabelError(
            f"the label `{path}` cannot be read: {error}",
            hint="`pairlock review DIR`, of any workspace, restores it from the host's log",
        ) from error
