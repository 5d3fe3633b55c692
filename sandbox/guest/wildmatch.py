"""Write git's patterns for paths as regular expressions that match the same and are quick with hostile ones.

What a sign means is as in git's wildmatch.c (a path's form of it: no star but `**` takes a slash). Text is
bytes, decoded as Latin-1: to git `?` is one byte, whatever the name's encoding.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t-\r ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


_SOME = "**\\"
"""A part that stands for one folder or more: `**` before a slash behind a backslash, which has to match."""


class _NeverError(Exception):
    """Raised when a pattern matches nothing, whatever comes."""


def compiled(text: str, *, anywhere: bool) -> re.Pattern[str] | None:
    """Return a pattern's expression; None where it matches nothing.

    Args:
        text: the pattern, without the signs that stand around it in an ignore file.
        anywhere: whether it may match below any folder.
    """
    import re  # noqa: PLC0415 (a third of the guest's start; only a search needs it)

    start = 0 if anywhere else _plain(text)
    before = "(?:.*/)?" if anywhere else "".join(map(_exactly, text[:start]))
    try:
        return re.compile(before + _expression(text[start:]), re.DOTALL)
    except _NeverError:
        return None


def _plain(text: str) -> int:
    """Return how much of a pattern holds no sign.

    git compares that by itself and then begins anew behind it, so that stars there stand at a beginning:
    `a**/b` is what `**/b` is to what follows an `a`.
    """
    return next((place for place, character in enumerate(text) if character in "*?[\\"), len(text))


def _expression(text: str) -> str:
    """Write a pattern as a regular expression over paths, or what is left of them."""
    *folders, name = _split(text)
    runs = [""]
    for folder in folders:
        if _is_any(folder):
            runs.append("(?:[^/]*/)*?")
        elif folder == _SOME:
            runs.append("(?:[^/]*/)+?")
        else:
            runs[-1] += _part(folder) + "/"
    if _is_any(name):
        return _settled(runs) + ".*"
    return _settled(runs[:-1]) + runs[-1] + _part(name)


def _is_any(part: str) -> bool:
    """Say whether a part stands for any folders: two stars, and more are as two."""
    return len(part) > 1 and not part.strip("*")


def _split(text: str) -> list[str]:
    """Split at each slash that stands in no brackets."""
    found, start, place = [], 0, 0
    while place < len(text):
        if text[place] == "[":
            _, place = _set(text, place + 1)
            continue
        is_escaped = text.startswith("\\/", place)
        if is_escaped or text[place] == "/":
            part = text[start:place]
            found.append(_SOME if is_escaped and _is_any(part) else part)
            start = place = place + 1 + is_escaped
            continue
        place += 2 if text[place] == "\\" else 1
    return [*found, text[start:]]


def _settled(runs: list[str]) -> str:
    """Join what stands before a star (or `**`) that takes anything.

    The first place where each fits is as good as any later one, so none is looked for again (an atomic
    group): with a number of stars, a hostile pattern would take for ever.
    """
    return "".join(f"(?>{run})" for run in runs)


def _part(part: str) -> str:
    """Write what stands between two slashes."""
    runs = [""]
    place = 0
    while place < len(part):
        if part[place] == "*":
            runs.append("[^/]*?")
            while place < len(part) and part[place] == "*":
                place += 1
            continue
        piece, place = _piece(part, place)
        runs[-1] += piece
    if part.endswith("*") and runs[-1] == "[^/]*?":
        runs[-1] = "[^/]*"
    return _settled(runs[:-1]) + runs[-1]


def _piece(part: str, place: int) -> tuple[str, int]:
    """Return the next piece of a name's pattern, one character, as an expression, and where it ends."""
    character = part[place]
    if character == "?":
        return "[^/]", place + 1
    if character == "[":
        return _set(part, place + 1)
    if character == "\\":
        return _exactly(_at(part, place + 1)), place + 2
    return _exactly(character), place + 1


def _set(part: str, place: int) -> tuple[str, int]:
    """Write what stands in brackets, from behind the first one."""
    inverted = _at(part, place) in "!^"
    place += inverted
    members: list[str] = []
    before = ""  # what a range may begin with
    while True:
        character = _at(part, place)
        if character == "-" and before and part[place + 1 : place + 2] not in ("", "]"):
            place += 2 if part[place + 1] == "\\" else 1
            if before <= (last := _at(part, place)):
                members.append(f"{_exactly(before)}-{_exactly(last)}")
            before = ""
        elif (
            part.startswith("[:", place)
            and (end := part.find("]", place + 2)) > place + 2
            and part[end - 1] == ":"
        ):
            members.append(_class(part[place + 2 : end - 1]))
            before, place = "", end
        else:
            place += character == "\\"
            before = _at(part, place)
            members.append(_exactly(before))
        place += 1
        if _at(part, place) == "]":
            return f"(?!/)[{'^' * inverted}{''.join(members)}]" if members else _of_none(inverted), place + 1


def _of_none(inverted: bool) -> str:  # noqa: FBT001 (the set's one other trait)
    return "[^/]" if inverted else "(?!)"


def _class(name: str) -> str:
    if name not in _CLASSES:
        raise _NeverError
    return _CLASSES[name]


def _at(part: str, place: int) -> str:
    """Return a character; where the pattern has ended already it can match nothing."""
    if place >= len(part):
        raise _NeverError
    return part[place]


def _exactly(character: str) -> str:
    return f"\\x{ord(character):02x}"
