"""The blocks of the operator's ceiling: what it does not mention it does not limit."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from policies.block import Block
from policies.globs import GlobSet
from policies.leaves import (
    CommandField,
    CountField,
    DurationField,
    GlobField,
    HostField,
    ImageField,
    MethodField,
    NumberField,
    RuntimeField,
    SizeField,
    choice,
)


class CeilingFiles(Block):
    """The most that any session may do with a workspace."""

    access: (
        Annotated[Literal["read", "stage", "direct"], *choice("the widest access", "read", "stage", "direct")]
        | None
    ) = Field(default=None, description="the widest access")
    hide: tuple[GlobField, ...] = Field(default=(), description="always hidden")
    protect: tuple[GlobField, ...] = Field(default=(), description="always protected")

    @cached_property
    def hidden(self) -> GlobSet:
        """The hidden paths, to be asked at once."""
        return GlobSet(self.hide)

    @cached_property
    def protected(self) -> GlobSet:
        """The protected paths, to be asked at once."""
        return GlobSet(self.protect)


class CeilingNetwork(Block):
    """The most that any session may reach."""

    hosts: tuple[HostField, ...] | None = Field(default=None, description="the only hosts; empty is no host")
    deny: tuple[HostField, ...] = Field(default=(), description="never these hosts")
    methods: tuple[MethodField, ...] | None = Field(default=None, description="the only methods")
    private: bool = Field(default=True, description="whether rules may reach private addresses")
    data_public: bool = Field(default=True, description="whether rules may declare `data: public`")
    sent_bytes: SizeField | None = Field(default=None, description="the most bytes sent")
    received_bytes: SizeField | None = Field(default=None, description="the most bytes received")
    requests: CountField | None = Field(default=None, description="the most requests")


class CeilingExec(Block):
    """The most that any session may run."""

    images: tuple[ImageField, ...] | None = Field(
        default=None, description="the only images, whole references"
    )
    any_program: bool = Field(default=True, description="whether `programs: any` is allowed")


class CeilingCommands(Block):
    """Commands that no session may call."""

    deny: tuple[CommandField, ...] = Field(default=(), description="never these commands")


class CeilingIsolation(Block):
    """The largest sandbox."""

    runtime: RuntimeField | None = Field(
        default=None, description="the weakest runtime: `gvisor` is stricter than `runc`, that than `default`"
    )
    memory: SizeField | None = Field(default=None, description="the most memory")
    cpus: NumberField | None = Field(default=None, description="the most processors")
    processes: CountField | None = Field(default=None, description="the most processes")
    scratch: SizeField | None = Field(default=None, description="the largest scratch folder")


class CeilingBudget(Block):
    """The largest budget."""

    turns: CountField | None = Field(default=None, description="the most questions to the model")
    tokens: CountField | None = Field(default=None, description="the most tokens")
    input_tokens: CountField | None = Field(default=None, description="the most tokens in")
    output_tokens: CountField | None = Field(default=None, description="the most tokens out")
    cached_tokens: CountField | None = Field(default=None, description="the most cached tokens")
    actions: CountField | None = Field(default=None, description="the most actions")
    cost_usd: NumberField | None = Field(default=None, description="the most cost in US dollars")
    wall_time: DurationField | None = Field(default=None, description="the longest time")
