"""Say whether an engine can hold sessions at all, and under which of its runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from sandbox.engine import BOUNDS_HINT
from sandbox.errors import EngineUnfitError
from sandbox.spec import OWN_KERNEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.leaves import RuntimeName
    from policies.policy import Policy
    from sandbox.engine import EngineFacts


def require_fit(policy: Policy, facts: EngineFacts) -> str:
    """Return the runtime's name, if the engine has it, and refuse an engine that no session can do with."""
    if not facts.seccomp:
        raise EngineUnfitError(
            "the engine has no seccomp, and no session can do without", hint="docs/isolation.md says why"
        )
    if facts.unbounded:
        raise EngineUnfitError(
            f"the engine cannot bound {', '.join(facts.unbounded)}, and no session goes without bounds",
            hint=BOUNDS_HINT,
        )
    if facts.architecture not in ("x86_64", "aarch64"):
        raise EngineUnfitError(f"the engine's machine is `{facts.architecture}`, expected x86_64 or aarch64")
    return _runtime(policy.isolation.runtime, facts)


def _runtime(wanted: RuntimeName, facts: EngineFacts) -> str:
    """Return what the engine calls the runtime that a policy names."""
    match wanted:
        case "default":
            names: Iterable[str] = (facts.default_runtime,)
        case "runc":
            names = ("runc",)
        case "gvisor":
            names = OWN_KERNEL
        case _:
            assert_never(wanted)
    for name in names:
        if name in facts.runtimes:
            return name
    raise EngineUnfitError(
        f"the engine has no runtime `{wanted}`, it has {', '.join(facts.runtimes)}",
        hint="`pairlock doctor` says how to install it",
    )
