"""What is asked of a decision, and what it answers: plain frozen values, made by the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from policies.capability import Capability
    from policies.ceiling import Ceiling
    from policies.errors import RuleAt
    from policies.grant import Grant
    from policies.network_block import EgressRule

Code = Literal[
    "capability",
    "command",
    "argument",
    "host",
    "method",
    "path",
    "hidden",
    "protected",
    "budget",
    "lineage",
    "ceiling",
    "origin",
]
SinkKind = Literal["address", "channel", "url", "host", "account", "text"]
ArgumentValue = str | int | float | bool | None | Sequence["ArgumentValue"]


@dataclass(frozen=True, slots=True)
class PathUse:
    """A workspace path that an action touches.

    Attributes:
        path: As the agent wrote it, relative to the workspace or below `/workspace`.
        access: Whether it is read, or written, moved or removed.
    """

    path: str
    access: Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class HttpUse:
    """A request that an action makes.

    Attributes:
        method: The method, in capitals.
        url: As the agent wrote it.
    """

    method: str
    url: str


@dataclass(frozen=True, slots=True)
class SinkUse:
    """An argument that decides where data goes, or whose things are changed.

    Attributes:
        argument: The argument's name.
        kind: How its values are compared.
        value: One value, or lists of them, nested as the agent nested them.
    """

    argument: str
    kind: SinkKind
    value: ArgumentValue


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequest:
    """One action, parsed and not yet done.

    Attributes:
        command: The command's words, for example `("files", "read")`.
        needs: The capabilities that this action exercises.
        arguments: Argument -> value, defaults filled in.
        paths: The workspace paths that it touches.
        http: The requests that it makes itself; a connector's own traffic is not among them.
        sinks: The arguments that decide where data goes.
        program: argv[0], for an action that runs a program of the agent's choosing.
    """

    command: tuple[str, ...]
    needs: frozenset[Capability] = frozenset()
    arguments: Mapping[str, ArgumentValue] = field(default_factory=dict)
    paths: tuple[PathUse, ...] = ()
    http: tuple[HttpUse, ...] = ()
    sinks: tuple[SinkUse, ...] = ()
    program: str | None = None

    @property
    def name(self) -> str:
        """The command as people write it."""
        return " ".join(self.command)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What a decision has to know of the session.

    Attributes:
        grant: What the session holds; within the policy's.
        ceiling: The operator's, if there is one.
        task: The trusted text of the task: literal text of a trusted task file, or typed on a terminal. None
            when there is none; inputs, files, stdin and what a model wrote never belong here.
        headless: Whether nobody can be asked.
        calls: Command -> calls of it that were already allowed in this session.
    """

    grant: Grant
    ceiling: Ceiling | None = None
    task: str | None = None
    headless: bool = True
    calls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an action is denied, or has to be approved.

    Attributes:
        code: The machine's word for it.
        message: What is wrong, and what was expected.
        hint: How to mend it; empty when nothing would.
        rule: The rule that says so; None when it is a default, or no rule at all.
    """

    code: Code
    message: str
    hint: str = ""
    rule: RuleAt | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """The action may be done.

    Attributes:
        rule: The rule that allows it.
        egress: The egress rule of each request, in the request's order.
    """

    rule: RuleAt | None = None
    egress: tuple[EgressRule, ...] = ()


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """A person has to approve this very action; no answer is no.

    Attributes:
        reasons: Why; never empty.
        egress: The egress rule of each request, once approved.
    """

    reasons: tuple[Reason, ...]
    egress: tuple[EgressRule, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Denied:
    """The action is not done.

    Attributes:
        reasons: Why, the most telling first; never empty.
    """

    reasons: tuple[Reason, ...]


Decision = Allowed | NeedsApproval | Denied
