"""Try the examples of a file of declared commands: what each line means, and what comes of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agent_runner.approvals import NobodyApprover
from agent_runner.ceiling import read_ceiling
from agent_runner.owned_file import read_owned_file
from agent_runner.place import Place
from agent_runner.policy_file import LoadedPolicy
from agent_runner.tools import call_line
from cli_tools.action import Catalogue, LineProposal
from cli_tools.catalogue import built_in
from cli_tools.declared import declared_commands
from cli_tools.errors import UsageError
from policies.capability import Capability, in_order
from policies.ceiling import under_ceiling
from policies.source import parse_policy
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cli_tools.command import Command
    from cli_tools.declared.document import DeclaredCommand, DeclaredExample
    from cli_tools.observation import Observation
    from policies.policy import Policy
    from sandbox.runtime.engine import Progress

NOTHING_SHOWN = "(no output)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of one example."""

    command: str
    line: str
    standing: Literal["ran", "refused", "parsed", "failed"]
    """Whether it ran, was refused as it should be, was only parsed, or is not as the file says."""
    why: str = ""
    """What is not as the file says."""


Declared = Sequence[tuple["DeclaredCommand", "Command"]]
"""The commands of one file, as it declares them and as they were made."""


def read_declared(path: Path) -> Declared:
    """Return the commands of a file.

    Args:
        path: The file.

    Raises:
        agent_runner.errors.InvalidInputError: When the file may not be used.
        policies.errors.PolicyFileError: When it is not valid.
    """
    return declared_commands(read_owned_file(path, what="declared commands"), origin=str(path))


async def checked(pairs: Declared, *, state: Path, progress: Progress) -> AsyncIterator[Checked]:
    """Yield what comes of each example, in the order of the file; each runs in a session of its own.

    Args:
        pairs: The commands of one file.
        state: The state folder.
        progress: Told of what takes long.

    Raises:
        policies.errors.CeilingError: When a command needs more than the operator's ceiling allows.
        sandbox.errors.SandboxError: When there is no sandbox to run them in.
    """
    catalogue = Catalogue((*built_in().commands, *(made for _, made in pairs)))
    for declared, made in pairs:
        for example in declared.examples:
            standing, why = _parsed(catalogue, made, example)
            if standing == "ran":
                why = await _carried_out(catalogue, declared, example, state=state, progress=progress)
                standing = "failed" if why else "ran"
            yield Checked(command=made.name, line=str(example.line), standing=standing, why=why)


def _parsed(
    catalogue: Catalogue, made: Command, example: DeclaredExample
) -> tuple[Literal["ran", "refused", "parsed", "failed"], str]:
    """Return how an example stands before anything runs; `ran` means that it is still to be run."""
    body = None if example.stdin is None else str(example.stdin).encode()
    try:
        action = catalogue.parse(LineProposal(line=str(example.line), body=body))
    except UsageError as error:
        told = f"{error.message}; hint: {error.hint}" if error.hint else error.message
        return ("refused", "") if example.refused else ("failed", f"it is refused: {told}")
    if example.refused:
        return "failed", "it is not refused"
    if action.command is not made:
        return "failed", f"it is `{action.command.name}`"
    argv = action.command.started(action.parameters)
    if example.argv is not None and argv != tuple(map(str, example.argv)):
        return "failed", f"its argv is {list(argv)}, expected {list(map(str, example.argv))}"
    return ("ran" if example.runs else "parsed"), ""


async def _carried_out(
    catalogue: Catalogue,
    declared: DeclaredCommand,
    example: DeclaredExample,
    *,
    state: Path,
    progress: Progress,
) -> str:
    """Run an example; return what is not as the file says, empty when all is."""
    with tempfile.TemporaryDirectory(prefix="pairlock-check-") as folder:
        holds_files = Capability.FILES in declared.capabilities
        for name, text in example.files.items():
            _write(Path(folder), str(name), str(text))
        place = Place(
            loaded=LoadedPolicy(policy=_policy(declared), origin="tools check", path=None),
            workspace=open_workspace(Path(folder), state=state) if holds_files else None,
            state=state,
            headless=True,
            approver=NobodyApprover(),
            progress=progress,
            catalogue=catalogue,
        )
        body = None if example.stdin is None else str(example.stdin).encode()
        called = await call_line(str(example.line), body, place)
    if called.result.error is not None:
        raise called.result.error
    return _difference(called.seen, example)


def _write(folder: Path, name: str, text: str) -> None:
    """Write a file of an example, byte for byte; its name is one of a sound declaration, and stays within."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def _policy(declared: DeclaredCommand) -> Policy:
    """Return a policy that allows this command and nothing else, within the operator's ceiling."""
    image = {"image": str(declared.image)} if declared.image else {}
    contents = {"contents": "public"} if Capability.NETWORK in declared.capabilities else {}
    written = {
        "version": 1,
        "name": "tools-check",
        "grant": [*in_order(declared.capabilities)],
        **({"exec": {**image, **contents}} if Capability.EXEC in declared.capabilities else {}),
        "commands": {"allow": [declared.name]},
    }
    policy = parse_policy(json.dumps(written), origin="tools check")  # JSON is YAML
    ceiling = read_ceiling()
    return policy if ceiling is None else under_ceiling(policy, ceiling)


def _difference(seen: Observation | None, example: DeclaredExample) -> str:
    if seen is None:
        return "the session broke before it came to an end"
    if seen.kind != "done":
        return seen.text
    if seen.exit_code != example.exit_code:
        return f"its exit code is {seen.exit_code}, expected {example.exit_code}; it shows: {seen.text}"
    shown = seen.text.removesuffix(f"exit code {seen.exit_code}" if seen.exit_code else "").rstrip("\n")
    expected = None if example.output is None else str(example.output).rstrip("\n") or NOTHING_SHOWN
    if expected is not None and (shown or NOTHING_SHOWN) != expected:
        return f"it shows `{shown}`, expected `{expected}`"
    return ""
