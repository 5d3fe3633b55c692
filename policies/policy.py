"""The model of a policy file: what may be written, what it means when absent, within which bounds.

An absent or empty list is the closed door; there is no unlimited. The blocks of the three capabilities and of
the commands have modules of their own; what has to hold between blocks is in `lawful`, how texts become
policies is in `source`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import Field, PrivateAttr

from policies.block import Block
from policies.canonical import canonical_text, digest_of
from policies.capability import Capability
from policies.commands_block import CommandsBlock
from policies.errors import RuleAt
from policies.exec_block import ExecBlock
from policies.files_block import FilesBlock
from policies.grant import Grant
from policies.lawful import private_reads
from policies.leaves import (
    CountField,
    DurationField,
    GrantField,
    NameField,
    NumberField,
    RuntimeField,
    SizeField,
    VersionField,
    choice,
)
from policies.network_block import NetworkBlock
from policies.units import Bytes, Count, Seconds

MINUTE: Final = 60


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
    output_tokens: CountField = Field(
        default=Count(10**12), description="tokens out; `tokens` bounds them too"
    )
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
