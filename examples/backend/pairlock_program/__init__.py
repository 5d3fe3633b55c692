"""A program on this machine is the model: one JSON object in, one out, a process for each question."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, assert_never

from agent_runner.backends.backend import (
    Call,
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.errors import BackendError
from cli_tools.action import LineProposal, Proposal, ToolProposal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cli_tools.schema import Tool


class ProgramBackend:
    """Ask a program.

    Args:
        settings: `command`, the program and its arguments on one line; `seconds`, how long it may take (60).
        name: What the configuration calls the model.
    """

    def __init__(self, settings: Mapping[str, object], *, name: str) -> None:
        self._argv = shlex.split(str(settings["command"]))
        self._seconds = float(str(settings.get("seconds", 60)))
        self._name = name

    @property
    def kind(self) -> str:
        """Return `program`."""
        return "program"

    @property
    def model(self) -> str:
        """Return the configured name and the program."""
        return f"{self._name} ({self._argv[0]})"

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Return the program's answer.

        Raises:
            BackendError: When the program fails, takes too long or answers with what is no reply.
        """
        asked = {
            "messages": [_message(message) for message in messages],
            "tools": [
                {"name": t.name, "description": t.description, "parameters": t.parameters} for t in tools
            ],
        }
        try:
            return _reply(json.loads(await self._run(json.dumps(asked).encode())))
        except (ValueError, KeyError, TypeError) as error:
            raise BackendError(f"`{self._argv[0]}` answered with what is no reply: {error}") from error

    async def _run(self, question: bytes) -> bytes:
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv, stdin=pipe, stdout=pipe, start_new_session=True
            )
        except OSError as error:
            raise BackendError(f"`{self._argv[0]}` cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._seconds):
                answer, _ = await process.communicate(question)
        except TimeoutError as error:
            raise BackendError(f"`{self._argv[0]}` did not answer within {self._seconds:g} s") from error
        finally:
            # With all that it started, also where it ended before them: what holds its output is waited for.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.returncode:
            raise BackendError(f"`{self._argv[0]}` ended with exit code {process.returncode}")
        return answer

    async def close(self) -> None:
        """Do nothing: no program outlives its question."""


def _message(message: Message) -> dict[str, object]:
    match message:
        case SystemMessage(text=text):
            return {"role": "system", "text": text}
        case UserMessage(text=text):
            return {"role": "user", "text": text}
        case ModelMessage(reply=reply):
            calls = [{"id": call.call_id, "call": _proposal(call.proposal)} for call in reply.calls]
            return {"role": "model", "text": reply.text, "calls": calls}
        case ObservationMessage(call_id=call_id, text=text):
            return {"role": "observation", "id": call_id, "text": text}
        case _:
            assert_never(message)


def _proposal(proposal: Proposal) -> str:
    return proposal.line if isinstance(proposal, LineProposal) else f"{proposal.tool} {proposal.arguments}"


def _reply(answer: Mapping[str, object]) -> Reply:
    given = answer.get("calls", [])
    calls = tuple(
        Call(
            call_id=str(call["id"]),
            proposal=ToolProposal(tool=str(call["tool"]), arguments=json.dumps(call["arguments"])),
        )
        for call in (given if isinstance(given, list) else [])
    )
    counts = {name: int(str(answer.get(name, 0))) for name in ("input_tokens", "output_tokens")}
    return Reply(text=str(answer.get("text", "")), calls=calls, usage=Usage(**counts))
