"""Say what a probe is, what should become of it under a grant, and what did. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, assert_never

from policies.capability import Capability
from policies.grant import Grant
from sandbox.spec import OWN_KERNEL

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOWED: Final = "allowed"
ENDED: Final = "the sandbox ended"
NOTHING: Final = "nothing"
Expected = Literal["allowed", "refused", "either"]
Standing = Literal["as expected", "got through", "refused", "unclear"]


class Opens(Enum):
    """What a session must hold for a probe to succeed."""

    NEVER = "nothing"
    ALWAYS = "any grant"
    FILES = "files"
    EXEC = "exec"
    LOOPBACK = "network and exec"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing that is tried."""

    name: str
    tried: str
    """What is tried, for people, in a few words."""
    opens: Opens = Opens.NEVER
    stops: Mapping[str, str] = field(default_factory=dict)
    """Answer of the kernel to the layer that gave it; an answer that is not here stops nothing."""
    own_kernel: str = ""
    """Why a kernel of the runtime's own may let it through, and what that comes to; empty: it may not."""
    only_x86: bool = False
    """Whether only x86-64 has what is tried."""
    alone: bool = False
    """Whether it can end a sandbox whose runtime brings its own kernel, and so gets one of its own."""

    def expected(self, grant: Grant, runtime: str) -> Expected:
        """Return what should become of it."""
        match self.opens:
            case Opens.NEVER:
                held = False
            case Opens.ALWAYS:
                held = True
            case Opens.FILES:
                held = grant.holds(Capability.FILES)
            case Opens.EXEC:
                held = grant.holds(Capability.EXEC)
            case Opens.LOOPBACK:
                held = grant is Grant.NETWORK_EXEC
            case _:
                assert_never(self.opens)
        if held:
            return "allowed"
        return "either" if self.own_kernel and runtime in OWN_KERNEL else "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one probe."""

    probe: Probe
    grant: Grant
    runtime: str
    observed: str
    """`allowed`, the name of the kernel's error, or a few words."""

    @property
    def expected(self) -> Expected:
        """Return what should have become of it."""
        return self.probe.expected(self.grant, self.runtime)

    @property
    def stopped_by(self) -> str:
        """Name the layer that stopped it; `nothing` when nothing did."""
        if self.observed == ENDED and self.probe.alone and self.runtime in OWN_KERNEL:
            return "limits of the container"
        return self.probe.stops.get(self.observed, NOTHING)

    @property
    def standing(self) -> Standing:
        """Judge it: an answer that no known layer gives is `unclear`, never a refusal."""
        if self.observed == ALLOWED:
            return "got through" if self.expected == "refused" else "as expected"
        if self.stopped_by == NOTHING:
            return "unclear"
        return "refused" if self.expected == "allowed" else "as expected"

    def as_json(self) -> dict[str, str]:
        """Return the object that `--json` prints."""
        return {
            "probe": self.probe.name,
            "grant": self.grant.label,
            "runtime": self.runtime,
            "expected": self.expected,
            "observed": self.observed,
            "stopped_by": self.stopped_by,
        }
