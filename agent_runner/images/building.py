"""Make an image from manifests, in a session with network and exec: its turns are a recipe's steps.

It is an ordinary session, with an ordinary ledger: housed, attested, its programs behind the egress gate. It
sees the manifests and nothing else of this machine. What it hands out comes over the link and is hostile.
"""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import Call, Reply
from agent_runner.images.recipes import TAR_NAME, Recipe
from cli_tools.action import LineProposal
from sandbox.images.errors import BuildTreeError
from sandbox.images.tree import MOST_BYTES, TreeFacts, clean_tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message
    from agent_runner.housing import Housed, Housing, Order
    from cli_tools.observation import Observation
    from cli_tools.schema import Tool
    from sandbox.guest.objects import Object
    from sandbox.runtime.engine import Progress
    from sandbox.session import Sandbox

CHUNK_BYTES: Final = 4 * 1024 * 1024
TOLD_LINES: Final = 12


class RecipeBackend:
    """Propose a recipe's steps one by one, as a model would, and stop at the first that fails.

    Args:
        recipe: What to do.
        progress: Told of each step.
    """

    def __init__(self, recipe: Recipe, progress: Progress) -> None:
        self._recipe = recipe
        self._progress = progress
        self._done = 0
        self._failed = ""
        self.finished = False
        """Whether every step went well."""
        self.last_words = ""
        """What the last program said."""

    @property
    def kind(self) -> str:
        """Return `recipe`."""
        return "recipe"

    @property
    def model(self) -> str:
        """Return what stands in a model's place."""
        return "image build"

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - a recipe listens to exit codes alone
        """Return the next step, or the end."""
        steps = self._recipe.steps
        if self._failed:
            line = f"finish --status failed {shlex.quote(self._failed)}"
        elif self._done == len(steps):
            line = "finish --status done built"
        else:
            step = steps[self._done]
            self._progress(step.what, done=self._done, total=len(steps))
            line = f"run --cwd {step.cwd} --timeout {step.seconds} -- {shlex.join(step.argv)}"
        self._done += 1
        self.finished = self._done > len(steps) and not self._failed
        return Reply(text="", calls=(Call(call_id=str(self._done), proposal=LineProposal(line=line)),))

    async def close(self) -> None:
        """Do nothing: a recipe has no connection."""

    def said(self, turn: int, reply: Reply) -> None:
        """Take no note of its own words."""

    def saw(self, observation: Observation) -> None:
        """Remember what came of the step; `agent_runner.transcript.Watcher`."""
        if observation.ends_session:
            return
        self.last_words = "\n".join(observation.text.splitlines()[-TOLD_LINES:])
        if observation.kind != "done" or observation.exit_code:
            self._failed = f"{self._recipe.steps[self._done - 1].what} failed"


@dataclass(slots=True, kw_only=True)
class BuildHousing:
    """Give a session its sandbox with a recipe's files in it, and take the tree out at its end."""

    recipe: Recipe
    target: Path
    """The tar file that is written: clean, fit for an image."""
    backend: RecipeBackend
    """Who knows whether every step went well, so that there is a tree."""
    housing: Housing
    base: str = ""
    """Id of the image that the session ran on, once it stands."""
    facts: TreeFacts | None = None
    """What was taken out; None before, and when something failed."""

    @asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Give a sandbox for the session.

        Raises:
            BuildTreeError: When what comes out cannot become an image.
            sandbox.errors.SandboxError: When the sandbox cannot be made or asked.
        """
        async with self.housing.house(order) as housed:
            sandbox = housed.sandbox
            self.base = sandbox.spec.image
            longest = max(step.seconds for step in self.recipe.steps)
            sandbox.limits = replace(sandbox.limits, action_seconds=float(longest))
            for name, content in self.recipe.files:
                arguments: Object = {"path": name, "create_parents": True, "mode": 0o644}
                await sandbox.call("files.write", arguments, body=content)
            yield housed
            if self.backend.finished:
                order.progress("taking out what was built", done=0, total=0)
                self.facts = await self._taken_out(sandbox)

    async def _taken_out(self, sandbox: Sandbox) -> TreeFacts:
        with tempfile.TemporaryFile(prefix="pairlock-") as raw:
            size = 0
            while True:
                reply = await sandbox.call(
                    "files.read", {"path": TAR_NAME, "offset": size, "limit_bytes": CHUNK_BYTES}
                )
                if not reply.body:
                    break
                size += len(reply.body)
                if size > 2 * MOST_BYTES:
                    raise BuildTreeError(f"it holds more than {MOST_BYTES} bytes")
                await asyncio.to_thread(raw.write, reply.body)
            raw.seek(0)

            def chunks() -> Iterator[bytes]:
                while chunk := raw.read(CHUNK_BYTES):
                    yield chunk

            return await asyncio.to_thread(
                clean_tree,
                chunks(),
                self.target,
                tops=self.recipe.tops,
                programs=self.recipe.programs,
                wrappers=self.recipe.wrappers,
            )
