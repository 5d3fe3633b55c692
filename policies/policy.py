"""The model of a policy file: what may be written, what it means when absent, within which bounds.

An absent or empty list is the closed door; there is no unlimited. What has to hold between blocks is in
`lawful`, how texts become policies is in `source`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from policies.canonical import canonical_text, digest_of
from policies.capability import Capability
from policies.errors import RuleAt
from policies.globs import Glob, GlobSet
from policies.grant import Grant
from policies.lawful import private_reads
from policies.leaves import (
    READING,
    ArgumentValues,
    CommandField,
    CountField,
    DurationField,
    GlobField,
    GrantField,
    HostField,
    ImageField,
    MethodField,
    NameField,
    NumberField,
    Programs,
    ProgramsField,
    RuntimeField,
    SizeField,
    UrlPathField,
    VersionField,
    choice,
)
from policies.package_data import default_globs
from policies.units import Bytes, Count, Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies.urls import UrlPath

STARTER: Final = "pairlock/starter"
MINUTE: Final = 60


class Block(BaseModel):
    """A part of a file: closed, strict, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the block; what was computed from the old values is not taken along."""
        made = super().model_copy(update=update, deep=deep)
        for name in made.__dict__.keys() - type(made).model_fields.keys():
            del made.__dict__[name]
        return made


class FileLimits(Block):
    """How much a session may write."""

    written_bytes: SizeField = Field(
        default=Bytes(64 * 2**20), description="bytes written in all; `0B` is none"
    )
    written_files: CountField = Field(default=Count(2000), description="files written in all; 0 is none")


class FilesBlock(Block):
    """The workspace, as the session sees it."""

    access: Annotated[
        Literal["read", "stage", "direct"], *choice("how the workspace is held", "read", "stage", "direct")
    ] = Field(
        default="stage",
        description="`read`: no writing; `stage`: changes wait for a review; `direct`: written at once",
    )
    hide: tuple[GlobField, ...] = Field(default=(), description="not there at all; adds to the defaults")
    hide_defaults: bool = Field(default=True, description="also hide the usual places of secrets")
    visible: tuple[GlobField, ...] = Field(default=(), description="exceptions from the defaults of `hide`")
    protect: tuple[GlobField, ...] = Field(
        default=(), description="seen, never written; adds to the defaults"
    )
    protect_defaults: bool = Field(default=True, description="also protect what the host runs or obeys later")
    limits: FileLimits = Field(default=FileLimits(), description="how much may be written")

    @cached_property
    def _sets(self) -> tuple[GlobSet, GlobSet, GlobSet]:
        return GlobSet(self.hide), GlobSet(self.visible), GlobSet(self.protect)

    def hides(self, glob: Glob) -> bool:
        """Tell whether the policy itself hides by a glob; else it is a default.

        Args:
            glob: What hides a path.

        Returns:
            True when it stands in `hide`.
        """
        return any(glob is own for own in self.hide)

    def protects(self, glob: Glob) -> bool:
        """Tell whether the policy itself protects by a glob; else it is a default.

        Args:
            glob: What protects a path.

        Returns:
            True when it stands in `protect`.
        """
        return any(glob is own for own in self.protect)

    def hidden_by(self, path: str) -> Glob | None:
        """Find what hides a path.

        Args:
            path: A canonical path, relative to the workspace.

        Returns:
            The glob, or None when the path is visible.
        """
        if path == ".":
            return None
        if found := self._sets[0].find(path):
            return found
        return self._hidden_by_default(path) if self.hide_defaults else None

    def _hidden_by_default(self, path: str) -> Glob | None:
        found = default_globs("hide").find(path)
        if found is None:
            return None
        folder, _, name = path.rpartition("/")
        # A template is excepted by its own name; what hides the folder that it lies in still holds.
        if self._sets[1].find(path) is None and default_globs("visible").find(name) is None:
            return found
        return self._hidden_by_default(folder) if folder else None

    def protected_by(self, path: str) -> Glob | None:
        """Find what protects a path from being written.

        Args:
            path: A canonical path, relative to the workspace.

        Returns:
            The glob, or None when the path may be written.
        """
        if found := self._sets[2].find(path):
            return found
        return default_globs("protect").find(path) if self.protect_defaults else None


class ExecBlock(Block):
    """The programs, and the image that they come from."""

    image: ImageField = Field(default=STARTER, description="the image; a digest is best")
    contents: Annotated[Literal["public"], *choice("what the image holds", "public")] | None = Field(
        default=None, description="`public`: nothing in the image is private; needed with network and exec"
    )
    programs: ProgramsField = Field(
        default=Programs(), description="what argv[0] of `run` may be; steers, does not bind"
    )


class RuleLimits(Block):
    """How much may cross under one rule; what is left out has the session's bound, which always holds."""

    sent_bytes: SizeField | None = Field(default=None, description="bytes sent")
    received_bytes: SizeField | None = Field(default=None, description="bytes received")
    requests: CountField | None = Field(default=None, description="requests, or connections not read")
    connections: CountField | None = Field(default=None, description="connections at once")
    connection_time: DurationField | None = Field(default=None, description="the life of one connection")

    def meet(self, other: RuleLimits) -> RuleLimits:
        """Take the smaller of each number.

        Args:
            other: The other limits.

        Returns:
            Limits within both.
        """
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in type(self).model_fields)
        least = {name: [value for value in both if value is not None] for name, *both in pairs}
        return RuleLimits(**{name: min(values) for name, values in least.items() if values})


class EgressRule(Block):
    """One host that a session may reach, and what it may ask there."""

    host: HostField = Field(description="a host, or `*.example.com` for every name below it")
    ports: tuple[int, ...] = Field(default=(443,), description="ports, 443 when absent")
    methods: tuple[MethodField, ...] | None = Field(
        default=None, description="GET and HEAD when absent; written, every request is read"
    )
    paths: tuple[UrlPathField, ...] | None = Field(
        default=None, description="every path when absent; written, every request is read"
    )
    also: tuple[tuple[UrlPathField, ...], ...] = Field(
        default=(), description="further lists of which each must match too; written by joining policies"
    )
    credential: NameField | None = Field(
        default=None,
        description="a name from the operator's configuration; its value never enters the container",
    )
    data: Annotated[Literal["public"], *choice("what the credential reads", "public")] | None = Field(
        default=None, description="`public`: what the credential reads is not private"
    )
    private: bool = Field(default=False, description="whether private and loopback addresses may be reached")
    sink_pattern: bool = Field(
        default=False, description="whether a wildcard of this rule may choose where data goes"
    )
    protocol: Annotated[Literal["web", "tcp"], *choice("what may be spoken", "web", "tcp")] = Field(
        default="web",
        description="`web`: HTTP, and TLS to the host's own name; `tcp`: any bytes, which nobody reads",
    )
    ask: bool = Field(
        default=False, description="whether a person approves each request, or connection not read"
    )
    limits: RuleLimits = Field(default=RuleLimits(), description="how much may cross under this rule")
    unfixed: Annotated[Literal["writes", "all"], *choice("what it does not fix", "writes", "all")] | None = (
        Field(
            default=None,
            description="requests whose destination it allows and does not fix; written by joining policies",
        )
    )

    @property
    def at(self) -> RuleAt | None:
        """Where the rule was written."""
        return self.host.at

    @property
    def by_request(self) -> bool:
        """Whether each request has to be read, so that TLS ends at the gate."""
        return self.methods is not None or self.paths is not None or bool(self.credential)

    @property
    def effective_methods(self) -> frozenset[str]:
        """The methods that may be used."""
        return READING if self.methods is None else frozenset(self.methods)

    @property
    def path_groups(self) -> tuple[tuple[UrlPath, ...], ...]:
        """The lists of paths, of each of which one has to match."""
        return self.also if self.paths is None else (self.paths, *self.also)

    def allows_path(self, path: str) -> bool:
        """Tell whether a path may be asked for.

        Args:
            path: A canonical path of a URL.

        Returns:
            True when each list of paths has a pattern that matches whole.
        """
        return all(any(pattern.matches(path) for pattern in group) for group in self.path_groups)

    def fixes(self, method: str, path: str) -> bool:
        """Tell whether this rule fixes where a request that it allows goes, so that nobody else has to.

        Args:
            method: The request's method.
            path: Its canonical path.

        Returns:
            True when the host has no wildcard and, but for GET and HEAD, the path stands here without one.
        """
        if self.sink_pattern:
            return True
        if self.host.is_wild or self.unfixed == "all":
            return False
        if method in READING:
            return True
        exact = (
            any(not path_.is_wild and path_.matches(path) for path_ in group) for group in self.path_groups
        )
        return self.unfixed is None and bool(self.path_groups) and all(exact)


class NetworkLimits(Block):
    """How much may cross the egress gate."""

    sent_bytes: SizeField = Field(default=Bytes(2**20), description="bytes sent in all, queries included")
    received_bytes: SizeField = Field(default=Bytes(200 * 2**20), description="bytes received in all")
    requests: CountField = Field(default=Count(500), description="requests or connections in all")
    connections: CountField = Field(default=Count(256), description="connections at once")
    connection_time: DurationField = Field(default=Seconds(600), description="the life of one connection")


class NetworkBlock(Block):
    """The hosts behind the egress gate."""

    allow: tuple[EgressRule, ...] = Field(default=(), description="the hosts; an empty list is no host")
    deny: tuple[HostField, ...] = Field(default=(), description="never these, whatever `allow` says")
    limits: NetworkLimits = Field(default=NetworkLimits(), description="how much may cross")


class ArgumentRule(Block):
    """A bound on one command's arguments and calls; every rule that names a command has to hold."""

    command: CommandField = Field(description="the command, or a group")
    arguments: ArgumentValues = Field(
        default={}, validate_default=True, description="argument -> the values it may have, whole"
    )
    sink_pattern: ArgumentValues = Field(
        default={}, validate_default=True, description="the same, where a pattern may choose where data goes"
    )
    max_calls: CountField | None = Field(default=None, description="calls of this command in one session")

    @property
    def at(self) -> RuleAt | None:
        """Where the rule was written."""
        return self.command.at


class CommandsBlock(Block):
    """The commands that the agent is offered. deny wins over ask, ask over allow, whatever the order."""

    allow: tuple[CommandField, ...] = Field(
        default=(), description="what may be called; empty is only `finish`"
    )
    ask: tuple[CommandField, ...] = Field(default=(), description="what a person has to approve, each time")
    deny: tuple[CommandField, ...] = Field(default=(), description="never these, whatever else is written")
    rules: tuple[ArgumentRule, ...] = Field(default=(), description="bounds on arguments and calls")
    origins: tuple[ArgumentRule, ...] | None = Field(
        default=None,
        description="the destinations that are fixed, those that `rules` name when absent; "
        "written by joining policies",
    )

    @property
    def fixing(self) -> tuple[ArgumentRule, ...]:
        """The rules whose values fix where data goes."""
        return self.rules if self.origins is None else self.origins


class Isolation(Block):
    """The sandbox's size."""

    runtime: RuntimeField = Field(
        default="default", description="`gvisor`, also written `runsc`, has a kernel of its own"
    )
    memory: SizeField = Field(default=Bytes(2**30), description="memory, swap is off; 32MiB to 1TiB")
    cpus: NumberField = Field(default=2.0, description="processors; 0.1 to 1024")
    processes: CountField = Field(default=Count(256), description="processes and threads; 8 to 32768")
    scratch: SizeField = Field(
        default=Bytes(512 * 2**20), description="the private scratch folder; 1MiB to 1TiB"
    )


class Budget(Block):
    """What one session may use up; which one ran out is said."""

    turns: CountField = Field(default=Count(60), description="questions to the model")
    tokens: CountField = Field(default=Count(400_000), description="tokens in and out")
    input_tokens: CountField = Field(
        default=Count(10**12), description="tokens in, the cached ones among them; `tokens` bounds them too"
    )
    output_tokens: CountField = Field(default=Count(10**12), description="tokens out; `tokens` bounds them too")
    cached_tokens: CountField = Field(
        default=Count(10**12), description="tokens in that the server had cached; `tokens` bounds them too"
    )
    actions: CountField = Field(default=Count(5000), description="actions, what was denied among them")
    cost_usd: NumberField = Field(default=3.0, description="cost in US dollars, by the operator's price list")
    wall_time: DurationField = Field(default=Seconds(30 * MINUTE), description="time from start to end")


class Expectation(Block):
    """A decision that the policy's writer counts on; a policy that fails one does not load."""

    allow: str | None = Field(default=None, description="an action that has to be allowed")
    ask: str | None = Field(default=None, description="an action that has to need an approval")
    deny: str | None = Field(default=None, description="an action that has to be denied")
    because: (
        Annotated[
            str,
            *choice(
                "the code of the reason",
                *("capability", "command", "argument", "host", "method", "path", "hidden", "protected"),
                *("budget", "lineage", "ceiling", "origin"),
            ),
        ]
        | None
    ) = Field(default=None, description="the code that the denial has to have")


class Policy(Block):
    """A policy: as written, or, from `parse_policy`, resolved, with a block for each capability held."""

    version: VersionField = Field(description="the version of this format: 1")
    name: NameField = Field(description="what people call it")
    description: str | None = Field(
        default=None, description="one sentence on what it is for", max_length=300
    )
    extends: str | None = Field(
        default=None, description="a policy of the library, or a file beside this one, that this one narrows"
    )
    grant: GrantField = Field(default=Grant.NONE, description="the capabilities; empty is none")
    files: FilesBlock | None = Field(default=None, description="only with `files`")
    exec: ExecBlock | None = Field(default=None, description="only with `exec`")
    network: NetworkBlock | None = Field(default=None, description="only with `network`")
    commands: CommandsBlock = Field(default=CommandsBlock(), description="what the agent is offered")
    sinks: Annotated[
        Literal["default", "strict"], *choice("where sinks are checked", "default", "strict")
    ] = Field(
        default="default",
        description="`default`: with files and network; `strict`: always",
    )
    isolation: Isolation = Field(default=Isolation(), description="the sandbox's size")
    budget: Budget = Field(default=Budget(), description="what a session may use up")
    outputs: NameField | None = Field(
        default=None,
        description="a folder of the scratch folder, kept at the end of a session; only without `files`",
    )
    expect: tuple[Expectation, ...] = Field(default=(), description="the policy's own tests")

    _places: dict[str, RuleAt] = PrivateAttr(default_factory=dict)
    _closure: dict[str, str] = PrivateAttr(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Compare what two policies mean, not where they were written."""
        return isinstance(other, Policy) and self.digest == other.digest

    def __hash__(self) -> int:
        """Hash what the policy means."""
        return hash(self.digest)

    @cached_property
    def reads_private(self) -> bool:
        """Whether a rule reads with a credential what may be private: that counts as `files`."""
        return bool(private_reads(self))

    @property
    def counts_sinks(self) -> bool:
        """Whether where data goes has to come from a rule, the task or a person."""
        reads = self.grant.holds(Capability.FILES) or self.reads_private
        return self.sinks == "strict" or (reads and self.grant.holds(Capability.NETWORK))

    def place(self, key: str) -> RuleAt | None:
        """Find where a setting was written.

        Args:
            key: Its keys with dots between, for example `budget.turns`.

        Returns:
            The place of the setting or of the block around it; None when it is a default.
        """
        while key:
            if at := self._places.get(key):
                return at
            key = key.rpartition(".")[0]
        return None

    @property
    def places(self) -> dict[str, RuleAt]:
        """Each written setting's place, by its keys with dots between."""
        return dict(self._places)

    def with_origin(self, *, places: dict[str, RuleAt], closure: dict[str, str]) -> Policy:
        """Remember where a policy came from.

        Args:
            places: Setting -> where it was written.
            closure: Origin -> SHA-256 of its text.

        Returns:
            An equal policy that knows it.
        """
        return self.replaced(_places=places, _closure=closure)

    def replaced(self, **fields: object) -> Policy:
        """Make a policy that differs in some fields.

        Args:
            **fields: The new values, already valid.

        Returns:
            The new policy, with the same places and closure unless given.
        """
        places = fields.pop("_places", self._places)
        closure = fields.pop("_closure", self._closure)
        made = self.model_copy(update=fields)
        made.__pydantic_private__ = {"_places": places, "_closure": closure}
        return made

    @property
    def closure(self) -> tuple[tuple[str, str], ...]:
        """Each text that the policy was made from: origin and SHA-256, sorted."""
        return tuple(sorted(self._closure.items()))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the policy means; its name, description and expectations do not count."""
        return digest_of(self)

    def as_yaml(self) -> str:
        """Write the policy as resolved: a text that parses to an equal policy.

        Returns:
            YAML.
        """
        return canonical_text(self)
