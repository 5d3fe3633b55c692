"""Read a line as a verifier reads it: nothing but what a writer writes is one; and the commitments in it."""

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson

from audit.chain import DEEPEST_LINE, LONGEST_LINE, strict
from audit.digests import is_digest
from audit.errors import MalformedLineError
from audit.hostile import COMMITMENT


class Decoded(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The keys of a line, each of its kind."""

    seq: int
    prev: str
    at: str
    mono: int
    type: str
    v: int
    body: dict[str, Any]


def _refuse(text: str) -> None:
    """Refuse a number with a fraction or an exponent."""
    raise ValueError(text)


_DECODER = msgspec.json.Decoder(Decoded, float_hook=_refuse)


def decoded(line: bytes) -> Decoded | None:
    """Return a line's fields; None when it is not exactly what a writer writes.

    INVARIANT: what is surely such a line is told here, quickly; every doubt is left to `strict`.
    """
    if len(line) > LONGEST_LINE:
        return None
    try:
        found = _DECODER.decode(line)
        shallow = line.count(b"[") + line.count(b"{") <= DEEPEST_LINE
        if shallow and orjson.dumps(_spelled(found), option=orjson.OPT_STRICT_INTEGER) == line:
            return found
    except (msgspec.MsgspecError, orjson.JSONEncodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return Decoded(**strict(line))
    except MalformedLineError:
        return None


def _spelled(found: Decoded) -> dict[str, object]:
    """Return a line's object, its keys in their order."""
    return {
        "seq": found.seq,
        "prev": found.prev,
        "at": found.at,
        "mono": found.mono,
        "type": found.type,
        "v": found.v,
        "body": found.body,
    }


def commitments_of(body: object) -> Iterator[str]:
    """Yield the digest of every commitment in a body, however deep it is nested."""
    waiting = [body]
    for value in waiting:  # it grows behind the place where it is read
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            digest = value.get("digest") if value.keys() == COMMITMENT else None
            if isinstance(digest, str) and is_digest(digest):
                yield digest
            else:
                waiting.extend(value.values())
