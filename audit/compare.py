"""Compare what two sessions did, action by action: what only one did, what was decided otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass

from audit.alignment import aligned
from audit.chain import Entry
from audit.event import ActionIntended
from audit.reader import SessionReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action, as far as it is compared.

    Attributes:
        seq: Its entry.
        argv: The command line.
        verdict: What was decided.
        codes: The codes of the reasons.
    """

    seq: int
    argv: tuple[str, ...]
    verdict: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A place where two sessions part.

    Attributes:
        first: The first session's action; None where only the second did something.
        second: The second session's action; None where only the first did something.
    """

    first: Action | None
    second: Action | None


def compare(first: SessionReader, second: SessionReader) -> Iterator[Difference]:
    """Yield where two sessions part, in order.

    Args:
        first: One session, verified while it is read.
        second: The other.

    Raises:
        BrokenLedgerError: When one of them does not hold.
    """
    ours, theirs = _actions(first), _actions(second)
    at, other_at = 0, 0
    pairs = aligned([one.argv for one in ours], [one.argv for one in theirs])
    for place, other in [*pairs, (len(ours), len(theirs))]:
        yield from (Difference(first=action, second=None) for action in ours[at:place])
        yield from (Difference(first=None, second=action) for action in theirs[other_at:other])
        at, other_at = place + 1, other + 1
        if place < len(ours) and _ruling(ours[place]) != _ruling(theirs[other]):
            yield Difference(first=ours[place], second=theirs[other])


def _ruling(action: Action) -> tuple[str, tuple[str, ...]]:
    return action.verdict, action.codes


def _actions(reader: SessionReader) -> list[Action]:
    return [_action(entry, event) for entry, event in reader.events() if isinstance(event, ActionIntended)]


def _action(entry: Entry, event: ActionIntended) -> Action:
    codes = tuple(reason.code for reason in event.reasons)
    return Action(seq=entry.seq, argv=event.argv, verdict=event.verdict, codes=codes)
