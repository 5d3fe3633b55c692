"""Try from within what a parser that was taken over would try, and say what came of it on stderr."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.egress.confine import confine_without_network

if TYPE_CHECKING:
    from collections.abc import Callable


def main(arguments: list[str]) -> int:
    """Try before and after it is locked down."""
    pipe = socket.socket(fileno=int(arguments[0]))
    folder = Path(pipe.recv(4096).decode())
    before = _tried(folder)
    confine_without_network()
    sys.stderr.write(json.dumps([before, _tried(folder)]).replace(" ", ""))
    return 0


def _tried(folder: Path) -> dict[str, str]:
    return {
        "tcp": _outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()),
        "udp": _outcome(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()),
        "unix": _outcome(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()),
        "state": _outcome((folder / "host.key").read_bytes),
        "list": _outcome(lambda: list(folder.iterdir())),
        "write": _outcome(lambda: (folder / "new").write_bytes(b"x")),
        "run": _outcome(lambda: os.posix_spawn("/bin/true", ["true"], {})),
        "pair": _outcome(lambda: [end.close() for end in socket.socketpair()]),
    }


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"
