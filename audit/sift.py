"""Tell from their bytes alone which lines could be what is looked for; never too few.

A line that is spelled as a writer spells it escapes each character in one way only, so that what it holds, it
holds in the very bytes that are looked for. Text that is kept otherwise, in marks or behind a commitment, is
not looked through: such a line always could. Whoever takes a line reads it strictly.
"""

from collections.abc import Sequence
from operator import itemgetter

_LONGEST_MOVED = 1024  # bytes of a line whose body was moved out: it holds a commitment and no more
_TYPE = b'"type":"'
_TYPE_BEHIND, _TYPE_BEFORE = 100, 180  # where a line that a writer wrote says its type
_TOLD_BY = 25
_BANG = ord("!")
_IS_MARKED = b'{"!":'
_IS_MOVED_OUT = b'"body":{"overflow":{'
_MOVED_ENDS = b"}}}"


def types_of(lines: Sequence[bytes]) -> list[bytes]:
    """Return the beginning of what each line says of its type, 25 bytes from ``"type":"`` on.

    Lines of one run of the machine mostly say it at the same place. No time of ours has so many digits that
    it is not where it is first looked for; whoever wrote such a line hides nothing by it.

    Args:
        lines: Raw lines.
    """
    place = lines[0].find(_TYPE, _TYPE_BEHIND, _TYPE_BEFORE) if lines else -1
    if place >= 0:
        types = list(map(itemgetter(slice(place, place + _TOLD_BY)), lines))
        if all(kind.startswith(_TYPE) for kind in set(types)):
            return types
    return [_type_of(line) for line in lines]


def _type_of(line: bytes) -> bytes:
    place = line.find(_TYPE, _TYPE_BEHIND, _TYPE_BEFORE)
    if place < 0:
        place = line.find(_TYPE)
    return line[place : place + _TOLD_BY] if place >= 0 else b""


def could_hold(
    lines: Sequence[bytes], types: Sequence[bytes], pieces: Sequence[bytes], kind: bytes = b""
) -> list[int]:
    """Return the places of the lines that could hold every piece and be of that type, in their order.

    Args:
        lines: Raw lines.
        types: Theirs, from `types_of`.
        pieces: Bytes, none with a newline, as a writer would have written them.
        kind: How the type is spelled, where only one is looked for.
    """
    if kind:
        fitting = {one for one in set(types) if one.startswith(kind[:_TOLD_BY])}
        places = [place for place, one in enumerate(types) if one in fitting]
    else:
        places = list(range(len(lines)))
    if not places or not pieces:
        return places
    text = b"\n".join(lines)
    marked = _BANG in text and _IS_MARKED in text
    if not marked and not all(piece in text for piece in pieces) and not _is_any_moved(lines):
        return []
    return [place for place in places if _may_hold(lines[place], pieces)]


def _is_any_moved(lines: Sequence[bytes]) -> bool:
    """Tell whether the body of some line was moved out; of most lines the end alone tells that it was not."""
    if _MOVED_ENDS not in map(itemgetter(slice(-len(_MOVED_ENDS), None)), lines):
        return False
    return any(map(_is_moved, lines))


def _is_moved(line: bytes) -> bool:
    return len(line) <= _LONGEST_MOVED and line.endswith(_MOVED_ENDS) and _IS_MOVED_OUT in line


def _may_hold(line: bytes, pieces: Sequence[bytes]) -> bool:
    for piece in pieces:
        if piece not in line:
            if _BANG in line and _IS_MARKED in line:  # most lines have none: one character is found fastest
                return True
            return _is_moved(line)
    return True
