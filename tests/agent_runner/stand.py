"""Run whole sessions without an engine: a real guest in namespaces of its own, a real ledger, a real gate."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agent_runner.backends.backend import Call, Reply
from agent_runner.backends.scripted import Script, ScriptedBackend
from agent_runner.errors import BackendError
from agent_runner.housing import Housed
from agent_runner.request import SessionRequest, SessionResult
from agent_runner.resume import ResumeRequest, resume_session
from agent_runner.session import run_session
from agent_runner.watch import StageWatch
from cli_tools.action import LineProposal, ToolProposal
from policies.source import parse_policy
from sandbox.limits import Limits
from sandbox.session import Sandbox
from sandbox.workspace import open_workspace
from tests.agent_runner.people import SilentPerson
from tests.sandbox.guest.launch import running

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Sequence

    from agent_runner.backends.backend import Backend, Message
    from agent_runner.budget_limits import BudgetLimits
    from agent_runner.housing import Order
    from cli_tools.observation import Observation
    from cli_tools.schema import Tool
    from sandbox.spec import ContainerSpec

SESSION = "0123456789ab"
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
"""An interpreter that the guest's user can read."""
# SIOCSIFFLAGS with IFF_UP and IFF_RUNNING: netdevice(7).
RAISE_LOOPBACK = (
    "import fcntl, socket, struct; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 0x1 | 0x40))"
)
POLICY = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\n'


class GuestHousing:
    """Give a guest at a folder; there is no container, and so nothing to attest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.process: asyncio.subprocess.Process | None = None
        self.error: Exception | None = None
        """Raised instead of giving a sandbox."""
        self.limits = Limits()

    @property
    def guest(self) -> int:
        """Return the process id of the guest itself, the child of the program that made its namespaces."""
        assert self.process is not None
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return int(Path(children).read_text().split()[0])

    def kill(self) -> None:
        """Kill the guest."""
        os.kill(self.guest, signal.SIGKILL)

    def raise_loopback(self) -> None:
        """Bring the loopback up, as an engine does for its containers."""
        own_user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(self.guest), "--net", *own_user]
        subprocess.run([*enter, PYTHON, "-I", "-c", RAISE_LOOPBACK], check=True)

    @asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Give a sandbox."""
        if self.error is not None:
            raise self.error
        flags = ["--exec"] if "exec" in order.policy.grant.label else []
        flags += ["--loopback"] if order.models else []
        async with running(self._folder, *flags) as guest:
            self.process = guest.process
            if order.models:
                self.raise_loopback()
            sandbox = Sandbox(
                spec=cast("ContainerSpec", None),  # there is no container
                container_id="",
                limits=self.limits,
                evidence=(),
                link=guest.link,
                started_seconds=0.0,
            )

            async def stop() -> None:
                self.kill()

            yield Housed(
                sandbox=sandbox,
                plan=None,
                watch=StageWatch(upper=None, newcomers=None),
                stop=stop,
                interpreter=(PYTHON, "-I", "-S"),
            )


@dataclass
class Eyes:
    """Watch a session."""

    seen: list[Observation] = field(default_factory=list)

    def said(self, turn: int, reply: Reply) -> None:
        """Take no note."""

    def saw(self, observation: Observation) -> None:
        """Keep what was seen."""
        self.seen.append(observation)


class Model:
    """Answer with what a function makes of the conversation; keep every conversation."""

    kind = "test"
    model = "test"

    def __init__(self, answer: Callable[[Sequence[Message], int], Reply]) -> None:
        self._answer = answer
        self.heard: list[tuple[Message, ...]] = []

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - the protocol's parameter
        """Return the reply."""
        self.heard.append(tuple(messages))
        return self._answer(messages, len(self.heard))

    async def close(self) -> None:
        """Do nothing."""


def saying(*replies: Reply) -> Model:
    """Return a model that says these one by one, and then fails."""

    def answer(_: Sequence[Message], turn: int) -> Reply:
        if turn > len(replies):
            raise BackendError("the model has nothing more to say")
        return replies[turn - 1]

    return Model(answer)


def lines(*commands: str, text: str = "") -> Reply:
    """Return a reply that proposes command lines."""
    calls = (Call(call_id=f"c{n}", proposal=LineProposal(line=line)) for n, line in enumerate(commands))
    return Reply(text=text, calls=tuple(calls))


def tool(name: str, arguments: str) -> Reply:
    """Return a reply that calls one tool."""
    return Reply(text="", calls=(Call(call_id="t", proposal=ToolProposal(tool=name, arguments=arguments)),))


IN_ITS_SANDBOX: dict[str, Any] = {"may_repeat": True}
"""Of a session whose model is asked once there is a sandbox, as a program is; else the two overlap."""
FINISH = lines("finish --status done ok")


@dataclass
class Stand:
    """A workspace, a state folder, and sessions on them."""

    place: Path
    eyes: Eyes = field(default_factory=Eyes)

    def __post_init__(self) -> None:
        self.housing = GuestHousing(self.folder)
        self.state.mkdir(mode=0o700, exist_ok=True)

    @property
    def folder(self) -> Path:
        """Return the folder in which the guest works."""
        return self.place / "workspace"

    @property
    def state(self) -> Path:
        """Return the state folder."""
        return self.place / "state"

    def request(self, backend: Backend, policy: str = POLICY, **changes: Any) -> SessionRequest:
        """Return what a session is started with."""
        parsed = parse_policy(policy, origin="test.yaml")
        files = "files" in parsed.grant.label
        asked: dict[str, Any] = {
            "task": "a test",
            "policy": parsed,
            "policy_origin": "test.yaml",
            "workspace": open_workspace(self.folder, state=self.state) if files else None,
            "backend": backend,
            "state": self.state,
            "headless": True,
            "task_is_origin": False,
            "approver": SilentPerson(),
            "watcher": self.eyes,
            "progress": quiet,
            "housing": self.housing,
            "session": SESSION,
        }
        return SessionRequest(**asked | changes)

    async def run(self, backend: Backend, policy: str = POLICY, **changes: Any) -> SessionResult:
        """Run a session to its end."""
        return await run_session(self.request(backend, policy, **changes))

    async def resume(
        self,
        backend: Backend,
        *,
        added: BudgetLimits | None = None,
        session: str = SESSION,
        **changes: Any,
    ) -> SessionResult:
        """Go on with a session."""
        asked: dict[str, Any] = {
            "session": session,
            "state": self.state,
            "backend": backend,
            "headless": True,
            "approver": SilentPerson(),
            "watcher": self.eyes,
            "progress": quiet,
            "housing": self.housing,
            **({"added": added} if added else {}),
        }
        return await resume_session(ResumeRequest(**asked | changes))

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of the ledger's entries of one type."""
        path = self.state / "sessions" / SESSION / "events.jsonl"
        return [
            entry["body"] for entry in map(json.loads, path.read_text().splitlines()) if entry["type"] == kind
        ]


def script(*turns: Sequence[Any], name: str = "scripted:test") -> ScriptedBackend:
    """Return a backend that proposes these actions turn by turn."""
    told = {"version": 1, "turns": [{"actions": list(actions)} for actions in turns]}
    return ScriptedBackend(Script.model_validate(told), name=name)


def quiet(message: str, /, *, done: int, total: int) -> None:
    """Say nothing."""
