"""A folder that a guest serves, beside a file that must never be reached from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.errors import OperationFailedError

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.guest.objects import Object
    from tests.sandbox.guest.launch import Running

SHADOW = b"not yours"


async def code_of(guest: Running, operation: str, arguments: Object, body: bytes = b"") -> str:
    """Return the code that an operation was refused with, `done` when it was not."""
    try:
        await guest.link.call(operation, arguments, body=body)
    except OperationFailedError as error:
        return error.code
    return "done"


def names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted."""
    return sorted(entry.name for entry in folder.iterdir())


def leaving(shared: Path) -> list[str]:
    """Lay out ways to leave, and return their paths."""
    (shared / "folder").mkdir()
    (shared / "absolute").symlink_to("/etc/hostname")
    (shared / "up").symlink_to("../outside")
    (shared / "chain").symlink_to("up")
    (shared / "out").symlink_to("..")
    (shared / "magic").symlink_to("/proc/self/root")
    (shared / "loop").symlink_to("loop")
    return [
        "../outside",
        "folder/../../outside",
        "/etc/hostname",
        str(shared / "inside"),
        "absolute",
        "up",
        "chain",
        "out/outside",
        "magic/etc/hostname",
        "loop",
        "./" * 3000 + "x",
        "",
        "a\0b",
    ]
