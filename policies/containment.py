"""Find a text that one pattern means and others do not: how policies are compared, with a witness.

Every pattern of a policy is a sequence of steps: a character, any one character of a name, any run of
characters of a name, any run of whole names, any run of characters at all. Both sides are walked together,
the outer patterns as a set of positions; the walk is bounded, and one that is cut short counts as "not
contained".
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from policies.globs import folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ONE: Final = "<one>"  # any one character but a slash
RUN: Final = "<run>"  # any run of characters without a slash
NAMES: Final = "<names>"  # any run of `/` and a name
ANY: Final = "<any>"  # any run of characters
Steps = tuple[str, ...]
Domain = Literal["path", "url", "text"]
_State = tuple[int, bool]  # the next step; whether inside a name of NAMES
_Walk = tuple[frozenset[_State], tuple[frozenset[_State], ...], bool]  # the last: whether a slash was last
FEW: Final = 8  # patterns whose walk together is quick
MOST_WORK: Final = 4_000_000  # states moved by one letter in one comparison: seconds
MOST_OF_A_WALK: Final = 1_000_000  # of them in one walk, so that one pattern leaves something for the others


@dataclass(slots=True)
class Work:
    """What a whole comparison may still do; whoever compares many patterns hands one to every walk."""

    left: int = MOST_WORK
    """States of patterns that may still be moved by one letter; at zero nothing more is proved."""

    def spend(self, states: int) -> bool:
        """Take some, and tell whether they were there."""
        self.left -= states
        return self.left >= 0


def glob_steps(text: str) -> Steps:
    """Spell a workspace glob as steps over `/` and the folded path.

    Args:
        text: A valid glob.

    Returns:
        The steps; they also mean everything beneath a match.
    """
    names = folded(text.rstrip("/")).split("/")
    anchored = names if len(names) > 1 else ["**", *names]
    while anchored[-1] == "**":
        anchored = anchored[:-1]
    return (*_path_steps(anchored, question=True), NAMES)


def url_steps(text: str) -> Steps:
    """Spell a path pattern of URLs as steps.

    Args:
        text: A valid pattern.

    Returns:
        The steps.
    """
    return _path_steps(text[1:].split("/"), question=False)


def value_steps(text: str) -> Steps:
    """Spell a value, where `*` is any run of characters, as steps.

    Args:
        text: The value.

    Returns:
        The steps.
    """
    return tuple(
        step for piece in re.findall(r"\*+|[^*]+", text) for step in ((ANY,) if piece[0] == "*" else piece)
    )


def _path_steps(names: Sequence[str], *, question: bool) -> Steps:
    steps: list[str] = []
    for name in names:
        if name == "**":
            steps.append(NAMES)
            continue
        steps.append("/")
        steps += [
            RUN if character == "*" else ONE if question and character == "?" else character
            for character in re.sub(r"\*+", "*", name)
        ]
    return tuple(steps)


def witness(
    inner: Steps, outer: Iterable[Steps], *, of: Domain = "text", work: Work | None = None
) -> str | None:
    """Find a text that is meant inside and nowhere outside.

    Args:
        inner: The pattern that should lie within the others.
        outer: The others.
        of: Which texts there are: `path` has filled names, `url` has no `//`, `text` is anything.
        work: What the whole comparison may still do; that of one comparison when absent.

    Returns:
        Such a text, a shortest one where the others are few; None when everything meant inside is meant
        outside too. When the walk would be too long, an example of the inner pattern: not proved to be
        contained.
    """
    others = tuple(outer)
    work = work or Work()
    if work.left <= 0 or (len(others) > FEW and _shows(inner, others, of, work)):
        return example(inner)
    if len(others) > 1 and any(lies_within(inner, [other], of=of, work=work) for other in others):
        return None
    return _walked(inner, others, of, work)


def _walked(inner: Steps, others: tuple[Steps, ...], of: Domain, work: Work) -> str | None:
    letters = _letters((inner, *others))
    start: _Walk = (
        _closed(inner, {(0, False)}),
        tuple(_closed(other, {(0, False)}) for other in others),
        False,
    )
    seen = {start}
    queue = deque([(start, "")])
    least = work.left - MOST_OF_A_WALK
    while queue:
        walk, text = queue.popleft()
        if _is_in(of, text) and _escapes(inner, others, walk):
            return text
        states = 1 + len(others) + len(walk[0]) + sum(map(len, walk[1]))
        if not work.spend(states * len(letters)) or work.left < least:
            return example(inner)
        for letter in letters:
            after = _step(inner, others, walk, letter)
            if after is None or after in seen or (of != "text" and letter == "/" and walk[2]):
                continue
            seen.add(after)
            queue.append((after, text + letter))
    return None


def lies_within(
    inner: Steps, outer: Iterable[Steps], *, of: Domain = "text", work: Work | None = None
) -> bool:
    """Tell whether everything that one pattern means is meant by others too.

    Args:
        inner: The pattern that should lie within the others.
        outer: The others.
        of: Which texts there are, as for `witness`.
        work: What the whole comparison may still do, as for `witness`.

    Returns:
        False as well when the walk would be too long.
    """
    others = tuple(outer)
    work = work or Work()
    return (
        work.left > 0
        and not _shows(inner, others, of, work)
        and witness(inner, others, of=of, work=work) is None
    )


def _shows(inner: Steps, others: Iterable[Steps], of: Domain, work: Work) -> bool:
    """Tell whether the plainest example is a witness: far cheaper than the walk, and true of most pairs."""
    shown = example(inner)
    if not _is_in(of, shown) or (of != "text" and "//" in shown):
        return False
    return not any(_means(other, shown, work) for other in others)


def _means(steps: Steps, text: str, work: Work) -> bool:
    states = _closed(steps, {(0, False)})
    for letter in text:
        if not states or not work.spend(len(states)):
            return False
        states = _moved(steps, states, letter)
    return _accepts(steps, states)


def _is_in(of: Domain, text: str) -> bool:
    match of:
        case "path":
            return len(text) > 1 and not text.endswith("/")
        case "url":
            return text.startswith("/")
        case "text":
            return True


def _escapes(inner: Steps, others: tuple[Steps, ...], walk: _Walk) -> bool:
    mine, theirs, _ = walk
    outside = not any(_accepts(other, states) for other, states in zip(others, theirs, strict=True))
    return outside and _accepts(inner, mine)


def _step(inner: Steps, others: tuple[Steps, ...], walk: _Walk, letter: str) -> _Walk | None:
    mine, theirs, _ = walk
    moved = _moved(inner, mine, letter)
    if not moved:
        return None
    pairs = zip(others, theirs, strict=True)
    return moved, tuple(_moved(other, states, letter) for other, states in pairs), letter == "/"


def example(steps: Steps) -> str:
    """Write a text that a pattern means.

    Args:
        steps: The pattern.

    Returns:
        One text; stars are `x`.
    """
    written = {ONE: "x", RUN: "x", NAMES: "", ANY: "x"}
    return "".join(written.get(step, step) for step in steps)


def _letters(patterns: Iterable[Steps]) -> tuple[str, ...]:
    used = {step for steps in patterns for step in steps if len(step) == 1}
    other = next(
        letter for letter in "xyzwvutsrqponmlkjihgfedcba0123456789_-" if letter not in used or letter == "-"
    )
    return (other, *sorted(used | {"/"}))


def _accepts(steps: Steps, states: frozenset[_State]) -> bool:
    return any(index == len(steps) for index, _ in states)


def _closed(steps: Steps, states: set[_State]) -> frozenset[_State]:
    todo = list(states)
    while todo:
        index, _ = todo.pop()
        if index < len(steps) and steps[index] in {RUN, NAMES, ANY}:
            following = (index + 1, False)
            if following not in states:
                states.add(following)
                todo.append(following)
    return frozenset(states)


def _moved(steps: Steps, states: frozenset[_State], letter: str) -> frozenset[_State]:
    moved = {after for state in states if (after := _after(steps, state, letter)) is not None}
    return _closed(steps, moved)


def _after(steps: Steps, state: _State, letter: str) -> _State | None:
    index, inside = state
    if index == len(steps):
        return None
    match steps[index]:
        case "<any>":
            return state
        case "<run>":
            return state if letter != "/" else None
        case "<one>":
            return (index + 1, False) if letter != "/" else None
        case "<names>":
            return (index, True) if letter == "/" or inside else None
        case step:
            return (index + 1, False) if step == letter else None
