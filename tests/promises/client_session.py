"""Run one session where names of the tests' own stand for loopback, and print what was seen as JSON.

A program of its own, in a mount namespace of its own, with another `/etc/hosts` over the machine's: names,
not addresses, because Go and Java pass a proxy by for what is on loopback.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18


def main() -> None:
    """Read what is to be done from stdin, do it, and print what came of it."""
    wanted = json.load(sys.stdin)
    stand_for_loopback(Path(wanted["hosts"]))
    sys.path.insert(0, wanted["root"])
    sys.stdout.write(json.dumps(asyncio.run(session(wanted))) + "\n")


def stand_for_loopback(hosts: Path) -> None:
    """Bind a file over `/etc/hosts`, for this process and what it starts."""
    user, group = os.geteuid(), os.getegid()
    checked(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | (CLONE_NEWUSER if user else 0)))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    mount(b"none", b"/", MS_REC | MS_PRIVATE)
    mount(bytes(hosts), b"/etc/hosts", MS_BIND)


def mount(source: bytes, target: bytes, flags: int) -> None:
    """Mount something, or raise."""
    checked(ctypes.CDLL(None, use_errno=True).mount(source, target, None, flags, None))


def checked(result: int) -> None:
    """Raise when a call of the kernel's failed."""
    if result:
        raise OSError(ctypes.get_errno(), "the namespace could not be made")


async def session(wanted: dict[str, Any]) -> dict[str, Any]:
    """Run a session in which the model proposes the actions one by one."""
    from tests.promises.conftest import Lab

    lab = Lab(new_state=lambda: Path(wanted["state"]), folder=Path(wanted["state"]))
    ran = await lab.arun(wanted["policy"], wanted["actions"])
    lines = [json.loads(line) for line in ran.result.ledger.read_text().splitlines()]
    return {
        "seen": [seen.text for seen in ran.seen],
        "entries": [[line["type"], line["body"]] for line in lines],
    }


if __name__ == "__main__":
    main()
