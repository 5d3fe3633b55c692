"""Compare what two sessions did, action by action: what only one did, what was decided otherwise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audit.alignment import Pair, aligned
from audit.chain import Entry
from audit.event import ActionIntended
from audit.reader import SessionReader

_MOST_HELD = 5_000
_MOST_LETTERS = 4 * 1024 * 1024
_ROOM = 64
"""Letters whose room an action, or a word, takes besides its own: an empty one takes some too."""


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
        BrokenLedgerError: When one of them does not hold, behind what was yielded.
    """
    return differences(_actions(first), _actions(second))


def differences(first: Iterator[Action], second: Iterator[Action]) -> Iterator[Difference]:
    """Yield where two rows of actions part, in order, in memory that does not grow with them.

    What both did is looked for among the next 5,000 actions of each: most sessions have fewer in all.
    """
    ours, theirs = _Coming(first), _Coming(second)
    while ours.fill() or theirs.fill():
        theirs.fill()
        yield from _differences(ours, theirs)


class _Coming:
    """A session's next actions, some of them held.

    Attributes:
        held: Those that were read and not yet compared.
        is_all: Whether nothing comes behind them.
    """

    def __init__(self, actions: Iterator[Action]) -> None:
        self.held: list[Action] = []
        self.is_all = False
        self._actions = actions
        self._letters = 0

    def fill(self) -> bool:
        """Read on as far as there is room, and tell whether anything is held."""
        while not self.is_all and len(self.held) < _MOST_HELD and self._letters < _MOST_LETTERS:
            action = next(self._actions, None)
            if action is None:
                self.is_all = True
            else:
                self.held.append(action)
                self._letters += _letters(action)
        return bool(self.held)

    def drop(self, count: int) -> None:
        """Let go of the first so many."""
        self._letters -= sum(map(_letters, self.held[:count]))
        del self.held[:count]


def _letters(action: Action) -> int:
    return _ROOM + sum(len(word) + _ROOM for word in action.argv) + sum(map(len, action.codes))


def _differences(ours: _Coming, theirs: _Coming) -> Iterator[Difference]:
    """Yield where what is held parts, and let go of it; unless it is all, keep what may be answered later."""
    pairs = aligned([one.argv for one in ours.held], [one.argv for one in theirs.held])
    end, other_end = _ends(ours, theirs, pairs)
    pairs = [pair for pair in pairs if pair[0] < end and pair[1] < other_end]
    at, other_at = 0, 0
    for place, other in [*pairs, (end, other_end)]:
        yield from (Difference(first=action, second=None) for action in ours.held[at:place])
        yield from (Difference(first=None, second=action) for action in theirs.held[other_at:other])
        at, other_at = place + 1, other + 1
        if place < end and _ruling(ours.held[place]) != _ruling(theirs.held[other]):
            yield Difference(first=ours.held[place], second=theirs.held[other])
    ours.drop(end)
    theirs.drop(other_end)


def _ends(ours: _Coming, theirs: _Coming, pairs: Sequence[Pair]) -> Pair:
    """Return how many of those held on each side are told now, and let go of.

    Of a side of which more comes it is half. Of the other side it is as many as stand up to the last that
    answers one of these; where none does, what is all there is waits for its answer to come.
    """
    if ours.is_all and theirs.is_all:
        return len(ours.held), len(theirs.held)
    if ours.is_all:
        other_end, end = _ends(theirs, ours, [(other, one) for one, other in pairs])
        return end, other_end
    end = (len(ours.held) + 1) // 2
    answers = [other for one, other in pairs if one < end]
    if answers:
        return end, answers[-1] + 1
    if theirs.is_all:
        return end, 0
    return end, pairs[0][1] if pairs else (len(theirs.held) + 1) // 2


def _ruling(action: Action) -> tuple[str, tuple[str, ...]]:
    return action.verdict, action.codes


def _actions(reader: SessionReader) -> Iterator[Action]:
    return (_action(entry, event) for entry, event in reader.events() if isinstance(event, ActionIntended))


def _action(entry: Entry, event: ActionIntended) -> Action:
    codes = tuple(reason.code for reason in event.reasons)
    return Action(seq=entry.seq, argv=event.argv, verdict=event.verdict, codes=codes)
