"""Run another Docker engine beside the machine's, to reach in other ways, to stop, and to kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

T = TypeVar("T")
LONG = 120.0
"""Seconds after which something that should have happened has not."""


def wait_for(ready: Callable[[], T], what: str, *, seconds: float = LONG) -> T:
    """Return the first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ready():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


STARTS = 4
CONTAINERD_SLOW = "timeout waiting for containerd to start"
"""How dockerd ends on a busy machine: it gives its containerd 15 s (Docker 20.10), and is started again."""


class SecondEngine:
    """A dockerd with folders, socket and containerd of its own, and no network; needs root.

    Args:
        options: More options for dockerd.
        prefix: A command that starts it elsewhere, such as `unshare -m`.
        root: Where it keeps images and volumes; a folder of its own when None.
    """

    def __init__(
        self, *options: str, prefix: Sequence[str] = (), root: Path | None = None, live_restore: bool = False
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pl-"))  # short: sockets lie below it
        self.socket = self.folder / "d.sock"
        self.root = root or self.folder / "root"
        self._options = options
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "daemon.json").write_text(json.dumps({"live-restore": live_restore}))

    @property
    def host(self) -> str:
        """Return its address for DOCKER_HOST."""
        return f"unix://{self.socket}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        arguments = [
            *("dockerd", "--config-file", str(self.folder / "daemon.json"), "--data-root", str(self.root)),
            *("--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")),
            *("--bridge=none", "--iptables=false", "--ip6tables=false", "-H", self.host, *self._options),
        ]
        for tries_left in reversed(range(STARTS)):
            with (self.folder / "log").open("wb") as log:
                self._process = subprocess.Popen([*self._prefix, *arguments], stdout=log, stderr=log)
            try:
                wait_for(self._answers, f"the second engine: {self.folder / 'log'}")
            except AssertionError as error:
                if not tries_left or CONTAINERD_SLOW not in str(error):
                    raise
            else:
                return

    def signal(self, number: signal.Signals) -> None:
        """Send dockerd a signal."""
        os.kill(self._pid(), number)

    def end(self, number: signal.Signals) -> None:
        """End dockerd by a signal, and wait until it has."""
        self.signal(number)
        assert self._process is not None
        self._process.wait(LONG)

    def docker(self, *words: str) -> str:
        """Run one command of Docker's own client against it, and return what it prints."""
        command = ["docker", "--host", self.host, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def close(self) -> None:
        """End it and everything that it started, and remove its folders."""
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self.end(signal.SIGTERM)
        for _ in range(50):
            left = [pid for pid in _processes() if _names(pid, self.folder)]
            if not left:
                break
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        for target in _mounts_below(self.folder):
            subprocess.run(["umount", "-l", target], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        with socket.socket(socket.AF_UNIX) as asking, suppress(OSError):
            asking.settimeout(5)
            asking.connect(str(self.socket))
            asking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in asking.recv(100)
        return False


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _names(pid: int, folder: Path) -> bool:
    """Tell whether a process was started with a path in this folder: containerd and its shims are."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return (
        pid != os.getpid() and f"{folder}/".encode() in words and words.startswith((b"containerd", b"/usr"))
    )


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split(" ")[4] for line in lines]
    return sorted((target for target in targets if target.startswith(f"{folder}/")), reverse=True)
