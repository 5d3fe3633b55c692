"""A session as Markdown, for a CI job's summary: the verdicts first, then what was done; bounded in size."""

from collections.abc import Iterable, Iterator

from audit.chain import Entry
from audit.escape import escape
from audit.hostile import unmark
from audit.reader import BrokenEntry
from audit.summary import summary
from audit.verdict import Verification

LARGEST_BYTES = 900 * 1024
"""A job summary over 1,024 KiB is dropped whole."""
_SHOWN = frozenset(
    {
        "action.intended",
        "action.finished",
        "approval.answered",
        "egress.opened",
        "limit.hit",
        "model.failed",
        "process.ended",
        "safety.noted",
        "sandbox.attested",
        "session.closed",
        "session.opened",
        "session.recovered",
        "stage.applied",
        "stage.discarded",
    }
)
_LONGEST_CELL = 2000
_ACTIVE = str.maketrans({char: f"&#{ord(char)};" for char in "&<>|`*_[]()#!~\\"} | {"@": "&#64;<!-- -->"})
"""What acts in Markdown. Mails and mentions are looked for in what was rendered: a comment parts them."""
_LINKS = (("://", "&#58;//"), ("www.", "&#119;ww."))
"""What GitHub makes links of without any mark (GFM 0.29, section 6.9)."""


def markdown(
    verification: Verification, entries: Iterable[Entry | BrokenEntry], *, largest_bytes: int = LARGEST_BYTES
) -> Iterator[str]:
    """Yield the lines of a summary, each with its newline.

    Args:
        verification: The session's verdicts.
        entries: Its entries, verified while they are read.
        largest_bytes: Where to stop; how many entries are left out is said.
    """
    used = 0
    for line in _head(verification):
        used += len(line.encode())
        yield line
    left_out = 0
    for entry in entries:
        if isinstance(entry, Entry) and entry.type not in _SHOWN:
            continue
        line = _row(entry)
        if used + len(line.encode()) > largest_bytes - 200:
            left_out += 1
            continue
        used += len(line.encode())
        yield line
    if left_out:
        yield f"\n{left_out} more entries are left out: the whole is in the bundle.\n"


def inert(text: str) -> str:
    """Return text that Markdown shows as it is: no link, no image, no mention, no markup, no second line."""
    shown = escape(text).translate(_ACTIVE)
    for live, dead in _LINKS:
        shown = shown.replace(live, dead)
    return shown


def _head(verification: Verification) -> list[str]:
    verdict = "does **not** verify" if verification.faults() else "verifies"
    lines = [f"## Session {inert(verification.log)}: the ledger {verdict}\n", "\n"]
    lines += [f"- {name}: {inert(words)}\n" for name, words in verification.verdicts().items()]
    return [*lines, "\n", "| entry | time | what | verdict | |\n", "| --- | --- | --- | --- | --- |\n"]


def _row(entry: Entry | BrokenEntry) -> str:
    if isinstance(entry, BrokenEntry):
        return f"| {entry.seq} | | **broken** | | {inert(entry.why)} |\n"
    told = summary(entry)
    told = (
        told if len(told) <= _LONGEST_CELL else f"{told[:_LONGEST_CELL]}... ({len(told)} characters in all)"
    )
    verdict = entry.body.get("verdict") or entry.body.get("outcome") or ""
    reasons = _reasons(entry)
    cells = (str(entry.seq), entry.at[11:19], entry.type, inert(str(verdict)), inert(f"{told}{reasons}"))
    return f"| {' | '.join(cells)} |\n"


def _reasons(entry: Entry) -> str:
    reasons = unmark(entry.body.get("reasons"))
    if not isinstance(reasons, tuple) or entry.body.get("verdict") == "allowed":
        return ""
    words = [str(reason.get("message", "")) for reason in reasons if isinstance(reason, dict)]
    return f" ({'; '.join(words)})" if words else ""
