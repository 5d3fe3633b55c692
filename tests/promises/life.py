"""Run `pairlock run` in a process of its own, with an action that takes long, to end it from outside."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.promises.second_engine import LONG, wait_for

if TYPE_CHECKING:
    from types import TracebackType

CHECKOUT = Path(__file__).resolve().parents[2]
POLICY = """\
version: 1
name: p
grant: [files, exec]
files: {access: ACCESS}
exec: {programs: any, image: IMAGE}
commands: {allow: ["files *", run]}
"""
SCRIPT = """\
version: 1
turns:
  - actions: [{command: files write made.txt, content: made}]
  - actions: ["run sleep 300"]
  - actions: ["finish --status done"]
"""


class Session:
    """A session with `exec`, on an engine that its environment names.

    Args:
        folder: Where its files lie.
        state: Its state folder.
        environment: Variables that lead to the engine.
        image: Of its programs.
        access: How it sees the workspace.
    """

    def __init__(
        self, folder: Path, state: Path, *, environment: dict[str, str], image: str, access: str = "stage"
    ) -> None:
        self.state = state
        self._folder = folder
        (folder / "p.yaml").write_text(POLICY.replace("IMAGE", image).replace("ACCESS", access))
        (folder / "s.yaml").write_text(SCRIPT)
        (folder / "work").mkdir(exist_ok=True)
        (folder / "work" / "there.txt").write_text("there")
        self._environment = {
            **os.environ,
            "PAIRLOCK_STATE": str(state),
            "PYTHONPATH": str(CHECKOUT),
            "CI": "true",
            **environment,
        }
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        words = ["run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml", "--json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent_runner", *words],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def until_waiting(self) -> str:
        """Wait until the long action runs, and return the session's id."""
        return wait_for(self._waiting, "the long action")

    def ended(self) -> tuple[int, str]:
        """Wait for the end, and return its code and what it said on stderr after the last action began."""
        assert self.process is not None
        _, said = self.process.communicate(timeout=LONG * 2)
        return self.process.returncode, said

    def pairlock(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run another pairlock on the same state."""
        return subprocess.run(
            [sys.executable, "-m", "agent_runner", *arguments],
            cwd=self._folder,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def resumed(self, name: str) -> subprocess.CompletedProcess[str]:
        """Go on with a session: the turn after the long action finishes."""
        return self.pairlock("resume", name)

    def entries(self, name: str, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of the ledger's entries of one type."""
        file = self.state / "sessions" / name / "events.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
        return [line["body"] for line in lines if line["type"] == kind]

    def _waiting(self) -> str:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the session ended before it was to: {self.ended()}")
        for file in (self.state / "sessions").glob("*/events.jsonl"):
            if len(self.entries(file.parent.name, "action.intended")) == 2:
                return file.parent.name
        return ""


def busybox_tar(folder: Path) -> Path:
    """Write a root file system that holds busybox and its names: the smallest image with programs."""
    path = folder / "busybox.tar"
    with tarfile.open(path, "w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "sleep", "cat", "ls"):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry, io.BytesIO())
    return path
