"""Build the clients' image once for all workers of a run; the last one that holds it removes it."""

from __future__ import annotations

import asyncio
import fcntl
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.promises.client_image import make_clients
from tests.sandbox.egress.ground import load_authority, make_authority
from tests.sandbox.images.made import forget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sandbox.egress.ground import Authority


@dataclass(frozen=True)
class Clients:
    """An image with every client in it, and who signs for the servers that it trusts."""

    image: str
    authority: Authority


@contextmanager
def shared_clients(built: Path, folder: Path) -> Iterator[Clients]:
    """Hold the image, which whoever comes first builds.

    Args:
        built: The state folder in which the starter is.
        folder: One that all workers of the run share.
    """
    place = folder / "clients"
    place.mkdir(mode=0o700, exist_ok=True)
    name = _hold(built, place)
    try:
        yield Clients(name, load_authority(place))
    finally:
        _let_go(place)


def _hold(built: Path, place: Path) -> str:
    with _record(place) as record:
        if not record.get("users"):
            record["image"] = asyncio.run(make_clients(built, make_authority(place).file))
        record["users"] = record.get("users", 0) + 1
        return str(record["image"])


def _let_go(place: Path) -> None:
    with _record(place) as record:
        record["users"] -= 1
        if not record["users"]:
            forget(record["image"])


@contextmanager
def _record(place: Path) -> Iterator[dict[str, Any]]:
    """Yield what is known of the image, under a lock; it is kept when nothing failed."""
    file = place / "record.json"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = json.loads(file.read_text()) if file.exists() else {}
        yield record
        file.write_text(json.dumps(record))
