"""Put the verdicts on a ledger into words: whether it verifies, with which key, and how to ask again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from audit.verdict import Anchored, Forged, Intact, Open, Pinned, SelfClaimed, Unsigned

if TYPE_CHECKING:
    from audit.index import HostIndex
    from audit.verdict import Verification


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictShown:
    """The verdict on a session's ledger, as it was when the page was made."""

    level: Literal["good", "unsure", "bad"]
    headline: str
    explanation: str
    verdicts: dict[str, str]
    """The five verdicts in words, by name."""
    faults: dict[str, str]
    """Those that are bad."""
    key: str
    """The host's public key in the signed-note form; empty where there is none."""
    commands: tuple[str, ...]
    """How to verify again."""
    checkpoint: str
    """The host's signed checkpoint, to be kept elsewhere; empty where there is none."""


def shown(found: Verification, index: HostIndex, *, broken: bool, key: str, checkpoint: str) -> VerdictShown:
    """Return the verdict in words.

    Args:
        found: The five verdicts.
        index: The host's log, read.
        broken: Whether a broken entry was met while the page was made.
        key: The key that the reader named or pinned; empty where there is none.
        checkpoint: The host's signed checkpoint; empty where there is none.
    """
    faults = found.faults()
    if broken and not faults:
        faults = {"integrity": "an entry that does not hold was met while this page was made"}
    level, headline, explanation = _words(found, bad=bool(faults))
    named = key or (str(index.keys[-1]) if index.keys else "")
    return VerdictShown(
        level=level,
        headline=headline,
        explanation=explanation,
        verdicts=found.verdicts(),
        faults=faults,
        key=named,
        commands=_commands(found.log, named),
        checkpoint="" if faults else checkpoint,
    )


def _words(found: Verification, *, bad: bool) -> tuple[Literal["good", "unsure", "bad"], str, str]:
    if bad:
        told = "Something was changed, cut off or cannot be vouched for. Do not rely on this session."
        return "bad", "The ledger does not verify", told
    besides = _besides(found)
    match found.authenticity:
        case Pinned(key=name):
            anchored = (
                " and fits the checkpoint kept elsewhere" if isinstance(found.freshness, Anchored) else ""
            )
            told = f"Every entry holds, and the host's log is signed by the pinned key {name}{anchored}."
            return "good", "The ledger verifies", f"{told}{besides}"
        case SelfClaimed(key=name):
            told = (
                f"Every entry holds, and the log is signed by {name}, the key that lay beside it. Nobody had "
                f"pinned that key, so this shows no more than that nothing was changed without it.{besides}"
            )
            return "unsure", "The ledger agrees with itself", told
        case Unsigned(why=why) | Forged(why=why):
            return (
                "unsure",
                "The ledger agrees with itself",
                f"No signature stands behind it: {why}.{besides}",
            )


def _besides(found: Verification) -> str:
    """Say what the verdict alone would let a reader overlook: more is to come, or something is gone."""
    told = " The session is still running." if isinstance(found.completeness, Open) else ""
    match found.integrity, found.freshness:
        case Intact(pruned=pruned), Anchored(pruned_since=True) if pruned:
            return (
                f"{told} The first {pruned} entries were deleted on purpose, after that checkpoint was made."
            )
        case Intact(pruned=pruned), _ if pruned:
            return f"{told} The first {pruned} entries were deleted on purpose."
    return told


def _commands(session: str, key: str) -> tuple[str, ...]:
    pinned = f" --key {shlex.quote(key)}" if key else ""  # whoever forged a log chose the key's name
    return (
        f"pairlock audit verify {session}{pinned}",
        f"pairlock audit export {session} -o bundle.tar.gz",
        f"tar -xzf bundle.tar.gz && python3 -I bundle/verify.py{pinned}",
    )
