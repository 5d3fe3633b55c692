"""A session with a stage, made without an engine: a real ledger, a real overlay, and the command line."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import secrets
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from agent_runner.cli.main import main
from agent_runner.meta import Meta, write_meta
from audit.journal import Journal, Registration
from audit.state import StateFiles
from policies.source import parse_policy
from sandbox.stage import Access, HiddenBy, Overlay, plan_stage
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POLICY = 'version: 1\nname: made\ngrant: [files, network]\ncommands: {allow: ["files *"]}\n'
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Said:
    """What came of a command."""

    code: int
    out: str
    err: str = ""


@dataclass(frozen=True)
class Made:
    """A workspace and a state folder."""

    top: Path

    @property
    def workspace(self) -> Path:
        """The user's folder."""
        return self.top / "workspace"

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.top / "state"

    def fill(self, files: dict[str, str], *, below: Path | None = None) -> None:
        """Write files below the workspace, or another folder."""
        for path, text in files.items():
            target = (below or self.workspace) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)

    def session(self, act: Callable[[Path], object], *, policy: str = POLICY) -> str:
        """Let an agent act on a stage of the workspace, and return the ended session's id."""
        session = "".join(secrets.choice(ALPHABET) for _ in range(12))
        parsed = parse_policy(policy, origin="made.yaml")
        asyncio.run(self._ledger(session, parsed.grant.label))
        folder = StateFiles(self.state).session(session).folder
        meta = Meta(
            session=session, policy="made", policy_origin="made.yaml", policy_digest=parsed.digest,
            grant=parsed.grant.label, workspace=str(self.workspace), model="scripted:made",
            started="2026-01-01T00:00:00+00:00", process=os.getpid(),
        )  # fmt: skip
        write_meta(folder, meta, parsed.as_yaml())
        assert parsed.files is not None
        plan = plan_stage(
            open_workspace(self.workspace, state=self.state), folder, access=Access.STAGE,
            hide=HiddenBy(parsed.files), uid=os.geteuid(), gid=os.getegid(), engine_obstacle="",
            executable=False,
        )  # fmt: skip
        assert isinstance(plan, Overlay)
        point = self.top / "mounted"
        point.mkdir(exist_ok=True)
        subprocess.run(["/usr/bin/mount", "-t", "overlay", "overlay", "-o", plan.options, point], check=True)
        try:
            act(point)
        finally:
            subprocess.run(["/usr/bin/umount", point], check=True)
        return session

    async def _ledger(self, session: str, grant: str) -> None:
        registration = Registration(grant=grant, workspace=str(self.workspace), owner_uid=os.getuid())
        async with Journal.create(self.state, session, registration=registration):
            pass

    def pairlock(self, *words: str, **environment: str) -> Said:
        """Run the command line as a program does."""
        with TemporaryFile() as out, TemporaryFile() as err, open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            child = os.fork()
            if child == 0:
                _be_pairlock(words, self._environment(environment), (nothing, out, err))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            said = [_text(stream) for stream in (out, err)]
        return Said(code, *said)

    def at_terminal(self, *words: str, typed: str = "n\n" * 9, columns: int = 80, **environment: str) -> Said:
        """Run it as a person does, who types all of `typed`; `out` is what the screen was sent."""
        here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        child = os.fork()
        if child == 0:
            os.setsid()
            fcntl.ioctl(there, termios.TIOCSCTTY, 0)
            os.close(here)
            with os.fdopen(there, "r+b", buffering=0) as terminal:
                _be_pairlock(words, self._environment(environment), (terminal, terminal, terminal))
        os.close(there)
        os.write(here, typed.encode())
        screen = _until_closed(here, child)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(here)
        return Said(code, screen.decode(errors="replace").replace("\r\n", "\n"))

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _OURS}
        return {**kept, "PAIRLOCK_STATE": str(self.state), "PAGER": "cat", "TERM": "xterm", **more}


_OURS = {"CI", "NO_COLOR", "LESS", "COLUMNS"}
"""Variables of whoever runs the tests, which would decide how the command line looks."""


def _be_pairlock(words: tuple[str, ...], environment: dict[str, str], streams: tuple[IO[bytes], ...]) -> None:
    """Become the command line, in a child process that has it imported already; never return."""
    code = 99
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = (open(n, mode) for n, mode in enumerate("rww"))  # noqa: PTH123, SIM115 - the three standard streams
        sys.argv = ["pairlock", *words]
        os.environ.clear()
        os.environ.update(environment)
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "surrogateescape")


def _until_closed(terminal: int, child: int) -> bytes:
    screen, end = b"", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # nobody holds the other side any more
            break
        screen += piece
    else:
        os.kill(child, signal.SIGKILL)
    return screen
