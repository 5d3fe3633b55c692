"""Cut the power from a session: what was not synced of its state is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.agent_runner import kills

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent_runner.stand import Stand

_FORKS: Final = multiprocessing.get_context("forkserver")
_SYNCED: Final = "synced"


def cut(name: str, stand: Stand, number: int, when: str) -> dict[str, int]:
    """Run a scenario until the power fails at an entry, and leave of the state what had been synced.

    Args:
        name: The scenario.
        stand: Where.
        number: Which entry that the process records.
        when: `before` it is written, or `after` it is durable.

    Returns:
        How many bytes each file has lost.
    """
    process = _FORKS.Process(target=_die, args=(name, str(stand.place), number, when))
    process.start()
    process.join(kills.LONG_SECONDS)
    assert process.exitcode == -signal.SIGKILL
    return restored(stand)


def _die(name: str, place: str, number: int, when: str) -> None:
    folder = Path(place, _SYNCED)
    folder.mkdir()
    os.fdatasync = _noting(os.fdatasync, folder)
    os.fsync = _noting(os.fsync, folder)
    kills.die_here(name, place, number, when, "run")


def _noting(sync: Callable[..., None], folder: Path) -> Callable[..., None]:
    """Return what syncs a file, and then keeps what is durable of it by now under its inode's number."""

    def noted(file: int) -> None:
        sync(file)
        facts = os.fstat(file)
        if stat.S_ISREG(facts.st_mode):
            fresh = folder / f"{facts.st_ino}.new"
            fresh.write_bytes(Path(f"/proc/self/fd/{file}").read_bytes())
            fresh.rename(folder / str(facts.st_ino))

    return noted


def restored(stand: Stand) -> dict[str, int]:
    """Give each file what was synced of it, and remove what never was; return the bytes that are lost."""
    lost: dict[str, int] = {}
    for path in sorted(path for path in stand.state.rglob("*") if path.is_file() and not path.is_symlink()):
        now = path.read_bytes()
        kept = stand.place / _SYNCED / str(path.stat().st_ino)
        if kept.exists():
            path.write_bytes(kept.read_bytes())
            lost[str(path.relative_to(stand.state))] = len(now) - kept.stat().st_size
        else:
            path.unlink()
            lost[str(path.relative_to(stand.state))] = len(now)
    return {name: size for name, size in lost.items() if size}
