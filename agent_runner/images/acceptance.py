"""Remember for which image a name stands: in the engine's record, and in the host's log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_runner.package import pairlock_version
from agent_runner.person import who
from audit.host import HostLog
from audit.host_event import ImageTrusted
from sandbox.runtime.record import KnownImage

if TYPE_CHECKING:
    from pathlib import Path

    from audit.fields import Event
    from sandbox.runtime.record import RecordFile


async def accept(
    file: RecordFile, state: Path, reference: str, image: str, repository_digest: str
) -> KnownImage | None:
    """Let a name stand for an image from now on, and return for which it stood before.

    Args:
        file: The engine's record.
        state: The state folder, with the host's log.
        reference: Name and tag, as policies have it.
        image: The image's id.
        repository_digest: What a registry calls it; empty for an image that was made here.

    Raises:
        audit.errors.LedgerError: When it cannot be written down; then it is not remembered either.
    """
    async with file.locked():
        record = file.read()
        before = next((entry for entry in record.known if entry.reference == reference), None)
        await append(
            state,
            ImageTrusted(
                reference=reference,
                image=image,
                repository_digest=repository_digest,
                before=before.image if before else "",
                by=who(),
            ),
        )
        known = KnownImage(reference=reference, image=image, repository_digest=repository_digest)
        others = tuple(entry for entry in record.known if entry.reference != reference)
        file.write(record.model_copy(update={"known": (*others, known)}))
        return before


async def append(state: Path, event: Event) -> None:
    """Write one entry into the host's log."""

    def write() -> None:
        with HostLog(state, writer=pairlock_version()) as log:
            log.append(event)

    await asyncio.to_thread(write)
