"""Turn any value into one that every JSON library reads alike, and back; nothing here raises on bad input.

What JSON cannot carry (bytes, lone surrogates, floats, integers of 2^53 and more, deep nesting, odd keys)
becomes a *marked value*: an object with the key ``!`` that says what it stands for. An honest object that
has such a key, or looks like a commitment, is itself marked, so that nobody can forge either. Numbers in a
ledger are therefore always small integers.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence

LARGEST_INTEGER = 2**53 - 1
DEEPEST = 32
MOST_NODES = 100_000
MARK = "!"
COMMITMENT = frozenset({"digest", "size"})
"""The keys of a commitment: an object from outside that has just these is marked, as one with a mark is."""
MOST_OPEN = 200
"""How many levels a *deep* value may have to be rebuilt: whoever looks at one goes in by recursion."""
LONGEST_HEX = 3500
"""Digits of an integer that is turned back; Python spells 4300 decimal ones at most (CVE-2020-10735)."""


class Own(dict[str, object]):
    """A group of fields of the schema's own: what it looks like is what it is."""


def mark(value: object) -> object:
    """Return the value in the ledger's JSON: mappings, lists, text, small integers, booleans, null, marks.

    Args:
        value: Anything. What is no JSON at all is marked with the name of its type, without its content.
    """
    if _nodes_within(value, MOST_NODES):
        return _mark(value, 0)
    return {MARK: "large", "nodes_over": MOST_NODES}


def is_plain(value: object, depth: int = 0) -> bool:  # noqa: PLR0911 - at every entry, the likely first
    """Tell whether a value surely needs no mark but for lone surrogates, which an encoder refuses by itself.

    Args:
        value: Anything. Only the builtin types themselves are plain; a subclass goes the long way.
        depth: How deep it lies.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return -LARGEST_INTEGER <= value <= LARGEST_INTEGER  # type: ignore[operator]  # it is an int
    if depth >= DEEPEST:
        return False
    if kind is list or kind is tuple:
        for item in value:  # type: ignore[attr-defined]  # it is a row  # noqa: SIM110 - at every entry
            if not is_plain(item, depth + 1):
                return False
        return True
    if kind is not dict or MARK in value or value.keys() == COMMITMENT:  # type: ignore[operator, attr-defined]  # it is a dict
        return False
    for key, item in value.items():  # type: ignore[attr-defined]  # it is a dict
        if type(key) is not str or not (type(item) is str or is_plain(item, depth + 1)):
            return False
    return True


def unmark(value: object) -> object:
    """Return what was marked; lists come back as tuples.

    Args:
        value: What a ledger's line held. A mark that is unknown, malformed, deeper than `MOST_OPEN` or longer
            than `LONGEST_HEX` is returned as it stands.
    """
    if isinstance(value, dict):
        if MARK in value:
            return _unmarked(value)
        return {key: unmark(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(unmark(item) for item in value)
    return value


def _mark(value: object, depth: int) -> object:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _mark_text(value)
    if isinstance(value, int):
        return (
            int(value)
            if -LARGEST_INTEGER <= value <= LARGEST_INTEGER
            else {MARK: "integer", "hex": hex(value)}
        )
    if isinstance(value, float):
        return {MARK: "number", "text": float.__repr__(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {MARK: "bytes", "base64": base64.b64encode(bytes(value)).decode("ascii")}
    return _mark_container(value, depth)


def _mark_text(value: str) -> object:
    if _encodes(value):
        return str(value)
    raw = value.encode("utf-16-le", "surrogatepass")
    return {MARK: "text", "utf16": base64.b64encode(raw).decode("ascii")}


def _mark_container(value: object, depth: int) -> object:
    if depth >= DEEPEST and isinstance(value, Mapping | Sequence):
        return {MARK: "deep", "flat": list(_flat(value))}
    if isinstance(value, Mapping):
        plain = all(isinstance(key, str) and key != MARK and _encodes(key) for key in value)
        if plain and (isinstance(value, Own) or value.keys() != COMMITMENT):
            return {str(key): _mark(item, depth + 1) for key, item in value.items()}
        pairs = [[_mark(key, depth + 1), _mark(item, depth + 1)] for key, item in value.items()]
        return {MARK: "pairs", "items": pairs}
    if isinstance(value, Sequence):
        return [_mark(item, depth + 1) for item in value]
    return {MARK: "other", "type": type(value).__name__.encode("ascii", "replace").decode("ascii")}


def _encodes(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _flat(value: object) -> Iterator[object]:
    """Yield the nested value as a row of tokens, without recursion: brackets, braces and ``=`` leaves."""
    stack: list[tuple[str, object]] = [("value", value)]
    while stack:
        kind, item = stack.pop()
        if kind == "close":
            yield item
        elif isinstance(item, Mapping):
            yield "{"
            stack.append(("close", "}"))
            for key, inner in reversed(list(item.items())):
                stack.append(("value", inner))
                stack.append(("value", key))
        elif isinstance(item, Sequence) and not isinstance(item, str | bytes | bytearray | memoryview):
            yield "["
            stack.append(("close", "]"))
            stack.extend(("value", inner) for inner in reversed(item))
        else:
            yield ["=", _mark(item, 0)]


def _unflat(tokens: Sequence[object]) -> object:
    """Rebuild what ``_flat`` took apart; a row that is not balanced or too deep raises ValueError."""
    open_lists: list[tuple[object, list[object]]] = [("", [])]
    for token in tokens:
        if token in ("[", "{"):
            if len(open_lists) > MOST_OPEN:
                raise ValueError
            open_lists.append((token, []))
        elif token in ("]", "}"):
            kind, items = open_lists.pop()
            built = tuple(items) if kind == "[" else dict(zip(items[::2], items[1::2], strict=True))
            open_lists[-1][1].append(built)
        else:
            open_lists[-1][1].append(_leaf(token))
    ((_, [value]),) = open_lists
    return value


def _leaf(token: object) -> object:
    """Return what a token stands for; a leaf that would unfold into a container raises ValueError."""
    if not isinstance(token, list):
        return token
    value = unmark(token[1])
    if isinstance(value, tuple) or (isinstance(value, dict) and value != token[1]):
        raise ValueError
    return value


def _unmarked(value: dict[str, object]) -> object:
    try:
        return _read_mark(value)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, binascii.Error):
        return dict(value)


def _read_mark(value: dict[str, object]) -> object:  # noqa: PLR0911 - one return for each kind of mark
    match value[MARK]:
        case "text":
            return base64.b64decode(str(value["utf16"]), validate=True).decode("utf-16-le", "surrogatepass")
        case "integer":
            return _integer(str(value["hex"]))
        case "number":
            return float(str(value["text"]))
        case "bytes":
            return base64.b64decode(str(value["base64"]), validate=True)
        case "pairs":
            return dict(_pair(item) for item in _list(value["items"]))
        case "deep":
            return _unflat(_list(value["flat"]))
    return dict(value)


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_HEX:
        raise ValueError
    return int(digits, 16)


def _pair(value: object) -> tuple[object, object]:
    key, item = _list(value)
    return unmark(key), unmark(item)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _nodes_within(value: object, most: int) -> bool:
    """Tell whether the value has at most that many parts; a value that contains itself has not."""
    stack, count = [value], 0
    while stack:
        item = stack.pop()
        count += 1
        if count > most:
            return False
        if isinstance(item, Mapping):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, Sequence) and not isinstance(item, str | bytes | bytearray | memoryview):
            stack.extend(item)
    return True
