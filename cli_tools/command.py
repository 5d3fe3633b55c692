"""Declare a command once, with click; parser, help, tool schema and policy vocabulary come from that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import click

from cli_tools import connector as connecting
from cli_tools import neutral
from cli_tools.errors import DeclarationError
from cli_tools.parser import Parser, stands_alone

if TYPE_CHECKING:
    from cli_tools.delegate import Delegation
    from cli_tools.earlier import EarlierOutput
    from cli_tools.run.jobs import Jobs
    from policies.capability import Capability
    from policies.request import Allowed, SinkKind
    from sandbox.egress.gate import EgressGate
    from sandbox.session import Sandbox

Access = Literal["read", "write"]
Touch = Literal["read", "write", "listed", "searched", "moved", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTouched:
    """One file or folder that an action read or changed."""

    path: str
    access: Touch
    sha256_before: str = ""
    """Hex digest before; empty when there was no file, or when it was only read."""
    sha256_after: str = ""
    """Hex digest of what was read, or of the file afterwards; empty when it is gone."""
    moved_to: str = ""
    """The new path of what was moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an action that was allowed came to."""

    exit_code: int
    output: bytes = b""
    """As it came; it is neutralised before a model or a person sees it (neutral.py)."""
    text: str = ""
    """Lines that the command laid out itself; every field that it did not choose is neutralised already."""
    errors: bytes = b""
    note: str = ""
    """What the agent should know beside the output, for example that it was cut."""
    truncated_bytes: int = 0
    timed_out: bool = False
    allowed_seconds: float = 0.0
    """Until a program is ended; 0 for what runs none."""
    files: tuple[FileTouched, ...] = ()
    ends_session: Literal["", "done", "failed"] = ""
    """Set by `finish` alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a command acts in."""

    sandbox: Sandbox
    egress: EgressGate | None
    """The way out; None in a session without `network`, whatever a command would like."""
    action: str = ""
    """`<session>/<n>`: whose programs and requests these are."""
    allowed: Allowed
    """The decision, with the egress rule of each request that the action makes."""
    body: bytes | None
    """What came beside the command line: the content of a file, a program's stdin."""
    earlier: EarlierOutput | None = None
    """The output of an earlier action that was cut; None where nothing is kept."""
    connectors: connecting.Connectors = connecting.NONE
    """The servers that the operator configured."""
    jobs: Jobs | None = None
    """Programs that run in the background; None where none can."""
    delegation: Delegation | None = None
    """Starts sessions below this one; None where none may be."""
    hidden: Callable[[str], bool] = field(default=lambda _: False)
    """Whether the policy hides a path of the workspace: what is hidden is not shown from history either."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Return what programs are told, so that commands that they call are known to be theirs."""
        return {"PAIRLOCK_ACTION": self.action}


Act = Callable[..., Awaitable[Outcome]]
Starts = Callable[[Mapping[str, Any]], tuple[str, ...]]
"""Parameters -> the argv that a command starts with them."""


class Body(click.ParamType[str]):
    """Mark a parameter whose value travels beside the command line, as bytes, and not inside it.

    Args:
        needed: Whether the command means nothing without one.
    """

    name = "text"

    def __init__(self, *, needed: bool = False) -> None:
        self.needed = needed


class WorkspacePath(click.ParamType[str]):
    """Take a path inside the workspace, relative to it; `/workspace/x` is the same as `x`.

    A name that was shown with escapes (neutral.py) is taken as it was shown.
    """

    name = "path"

    def __init__(self, access: Access) -> None:
        self.access: Access = access

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path without its prefix, or fail; where it leads is checked where it is opened."""
        try:
            text = neutral.restore(str(value).encode()).decode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half of a UTF-16 pair
            self.fail("a path holds a lone surrogate, expected text", param, ctx)
        if text == "/workspace" or text.startswith("/workspace/"):
            text = text.removeprefix("/workspace").lstrip("/") or "."
        if text.startswith("/"):
            self.fail(f"`{text}` is outside the workspace; use a path relative to it", param, ctx)
        if not text or "\0" in text:
            self.fail("a path has at least one character and no NUL", param, ctx)
        if ".." in text.split("/"):
            self.fail(f"`{text}` climbs with `..`; use a path relative to the workspace", param, ctx)
        return text


class WithSchema(click.ParamType[str]):
    """Take a value whose JSON Schema says more than that it is a string."""

    schema: Mapping[str, object]


class Url(click.ParamType[str]):
    """Take the URL of a request that the command makes; the policy decides by method, host and path."""

    name = "url"

    def __init__(self, method: str) -> None:
        self.method = method


@dataclass(frozen=True, kw_only=True)
class Command:
    """One declared command; what follows from the declaration is found once, for each action asks for it."""

    path: tuple[str, ...]
    """The words that name it: `("files", "read")`."""
    summary: str
    """One sentence for help texts and for the model."""
    needs: frozenset[Capability]
    runs: Literal["guest", "egress", "connector", "host"]
    """Where it acts; `host` is for commands that touch nothing, such as `finish`."""
    parser: Parser
    act: Act
    sinks: Mapping[str, SinkKind]
    """Parameters that decide where data goes or whose things change, and how values are compared."""
    program: str = ""
    """Name of the parameter whose first element is a program of the image; empty for none."""
    fixed_program: str = ""
    """The program that it starts, where the command itself chooses it and the agent gives it its text."""
    starts: Starts | None = None
    """What it starts in the container; None where it starts nothing, or only what `program` names."""
    connector: str = ""
    """Name of the connector that it acts through; empty for one that acts elsewhere."""
    examples: tuple[str, ...] = field(default=())

    @cached_property
    def name(self) -> str:
        """Return the words with spaces: `files read`."""
        return " ".join(self.path)

    def started(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the argv that it starts in the container; empty for none."""
        if self.starts is not None:
            return self.starts(parameters)
        return tuple(map(str, parameters.get(self.program) or ())) if self.program else ()

    @property
    def parameters(self) -> tuple[click.Parameter, ...]:
        """Return the declared parameters, in order."""
        return tuple(self.parser.params)

    @property
    def options(self) -> tuple[click.Option, ...]:
        """Return the parameters that are named with dashes."""
        return tuple(p for p in self.parser.params if isinstance(p, click.Option))

    @cached_property
    def other_sinks(self) -> Mapping[str, SinkKind]:
        """Return the sinks that are no URL: where a request goes is decided with the request."""
        urls = {str(p.name) for p in self.parser.params if isinstance(p.type, Url)}
        return {name: kind for name, kind in self.sinks.items() if name not in urls}

    @cached_property
    def body_parameter(self) -> str:
        """Return the name of the parameter that travels as a body; empty for none."""
        names = [str(p.name) for p in self.parser.params if isinstance(p.type, Body)]
        return names[0] if names else ""

    @cached_property
    def body_needed(self) -> bool:
        """Say whether the command means nothing without a body."""
        return any(isinstance(p.type, Body) and p.type.needed for p in self.parser.params)


class Declaration(Protocol):
    """Take the function that acts and return its command."""

    def __call__(self, act: Act, /) -> Command:
        """Return the command."""
        ...


def command(  # noqa: PLR0913 - a declaration names everything once
    name: str,
    *,
    needs: Sequence[Capability] = (),
    runs: Literal["guest", "egress", "connector", "host"] = "guest",
    parameters: Sequence[click.Parameter] = (),
    sinks: Mapping[str, SinkKind] = MappingProxyType({}),
    program: str = "",
    fixed_program: str = "",
    starts: Starts | None = None,
    connector: str = "",
    examples: Sequence[str] = (),
) -> Declaration:
    """Declare a command: the decorated coroutine function acts, its docstring's first line is the summary.

    Args:
        name: Its words, `files read`.
        needs: The capabilities that it exercises.
        runs: Where it acts.
        parameters: click arguments and options, in the order of the help text.
        sinks: Parameters that decide where data goes, and how their values are compared.
        program: Name of the parameter that starts with a program of the agent's choosing.
        fixed_program: The program whose text the agent supplies; a policy lists it as one of `run`'s.
        starts: What it starts in the container, where no parameter says it.
        connector: The connector that it acts through, where that has another name than its first word.
        examples: Command lines that parse, for help texts and tests.

    Raises:
        DeclarationError: When the declaration contradicts itself.
    """

    def declare(act: Act) -> Command:
        summary = (act.__doc__ or "").strip().split("\n", 1)[0]
        declared = {str(parameter.name) for parameter in parameters}
        if not summary:
            raise DeclarationError(f"`{name}` has no docstring")
        if len(declared) != len(parameters):
            raise DeclarationError(f"`{name}` has two parameters of one name")
        if missing := {*sinks, *([program] if program else [])} - declared:
            raise DeclarationError(f"`{name}` names parameters it does not have: {sorted(missing)}")
        if taking := [str(parameter.name) for parameter in parameters if stands_alone(parameter)]:
            raise DeclarationError(f"`{name}` has options that may stand without their value: {taking}")
        parser = Parser(name, parameters, summary, takes_options_last=not program)
        return Command(
            path=tuple(name.split()),
            summary=summary,
            needs=frozenset(needs),
            runs=runs,
            parser=parser,
            act=act,
            sinks=MappingProxyType(dict(sinks)),
            program=program,
            fixed_program=fixed_program,
            starts=starts,
            connector=connector or (name.split(maxsplit=1)[0] if runs == "connector" else ""),
            examples=tuple(examples),
        )

    return declare


Parameters = Mapping[str, Any]  # click's own values: text, numbers, booleans, tuples of text

MAXIMUM_LINE_CHARACTERS: Final = 16384
MAXIMUM_WORDS: Final = 512
MAXIMUM_BODY_BYTES: Final = 16 * 1024 * 1024
