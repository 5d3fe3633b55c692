"""Give an agent its workspace in each of the ways that a stage is held, and take it back."""

from __future__ import annotations

import io
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sandbox.stage.collecting import collect
from sandbox.stage.opened import open_stage
from sandbox.stage.parcel import pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Yard

STRATEGIES: Final = ("Overlay", "OverlayOnCopy", "Copy")
NOBODY: Final = 65532


@contextmanager
def session(yard: Yard, strategy: str, *hide: str) -> Iterator[Path]:
    """Yield the workspace as the agent sees it; what it does there is in the stage afterwards."""
    plan = yard.plan(
        *hide, uid=NOBODY if strategy == "OverlayOnCopy" else None, engine_local=strategy != "Copy"
    )
    assert type(plan).__name__ == strategy
    if strategy != "Copy":
        with yard.mounted(plan) as inside:
            yield inside
        return
    inside = yard.top / "inside"
    inside.mkdir()
    with open_stage(yard.session) as stage:
        stream = io.BytesIO(b"".join(pack(stage, uid=0, gid=0)))
        with tarfile.open(fileobj=stream) as archive:
            archive.extractall(inside, filter="fully_trusted")  # noqa: S202 - our own archive
        yield inside
        back = io.BytesIO()
        with tarfile.open(fileobj=back, mode="w") as archive:
            archive.add(inside, "")
        collect(stage, [back.getvalue()], limit_bytes=1 << 30, limit_entries=1000)
