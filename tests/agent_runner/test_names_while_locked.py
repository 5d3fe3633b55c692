"""Somebody else's lock on the folder of mounts keeps no session's loop from beating for its sandboxes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent_runner.container import Ground
from sandbox.docker_store import DockerStore
from sandbox.neutral import NeutralNames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONG = 60.0


class NoPlanError(Exception):
    """Raised when a placement or a command comes as far as it should."""


class Store(DockerStore):
    """A store whose engine refuses everything."""

    def __init__(self) -> None:
        """Connect to nothing."""

    async def _ask(self, question: object) -> Any:  # noqa: ARG002 - the store's parameter
        raise NoPlanError


class Nowhere(Ground):
    """A ground on which no plan can be mounted."""

    def __init__(self) -> None:
        """Have nothing."""

    async def _mount(self, plan: object, names: object) -> Any:  # noqa: ARG002 - the ground's parameters
        raise NoPlanError


async def place(_: Path) -> None:
    """Describe a container."""
    await Nowhere().placed(cast("Any", "a plan"))


async def empty(folder: Path) -> None:
    """Empty a folder as root."""
    await Store().empty_folder_as_root(folder, image="", guest_volume="", argv=())


@contextmanager
def held(runtime: Path) -> Iterator[Path]:
    """Hold the folder of mounts, as a runner that makes its own names there does."""
    folder = runtime / "pairlock-mounts"
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("act", [place, empty])
async def test_the_loop_goes_on_while_somebody_holds_the_folder_of_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], Any]
) -> None:
    """Standing, it would lose the lease of every sandbox of the process; let go, the folder is used."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with held(tmp_path) as folder:
        acting = asyncio.ensure_future(act(tmp_path))
        ended, _ = await asyncio.wait({acting}, timeout=0.3)

    with pytest.raises(NoPlanError):
        await asyncio.wait_for(acting, LONG)
    assert not ended
    assert list(folder.iterdir()) == []


async def test_names_that_nobody_waits_for_any_more_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    removed, remove = asyncio.Event(), NeutralNames.remove

    def removed_and_told(names: NeutralNames) -> None:
        remove(names)
        removed.set()

    monkeypatch.setattr(NeutralNames, "remove", removed_and_told)
    with held(tmp_path) as folder:
        making = asyncio.ensure_future(NeutralNames.made())
        await asyncio.sleep(0.05)
        making.cancel()
        await asyncio.wait({making})

    await asyncio.wait_for(removed.wait(), LONG)
    assert making.cancelled()
    assert list(folder.iterdir()) == []
