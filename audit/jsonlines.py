"""Write a value as one line of JSON that every reader takes, whatever text is in it."""

import json
from collections.abc import Mapping, Sequence

import orjson

from audit.escape import Learnt, is_hidden
from audit.hostile import LARGEST_INTEGER


def json_line(value: object) -> bytes:
    """Return a value as a line of JSON, with its newline.

    What JSON cannot carry becomes text: half of a UTF-16 pair its escape, a large number its digits. What
    could act on a terminal, or is not visibly itself, is written as JSON's own escape, which readers undo.

    Args:
        value: Mappings, rows, text, numbers, booleans, None.
    """
    try:
        raw = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)
    except orjson.JSONEncodeError:
        raw = orjson.dumps(_carried(value))
    if not raw.isascii() or b"\x7f" in raw:
        raw = raw.decode().translate(_SPELLINGS).encode()
    return raw + b"\n"


def _spelled(char: str) -> str:
    if char < _DELETE or not is_hidden(char):  # what is hidden and stands before it is an escape already
        return char
    return json.dumps(char)[1:-1] if char != _DELETE else "\\u007f"  # json.dumps leaves this one


_DELETE = "\x7f"
_SPELLINGS = Learnt(_spelled)


def _carried(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {str(_carried(str(key))): _carried(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_carried(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    small = isinstance(value, int) and -LARGEST_INTEGER <= value <= LARGEST_INTEGER
    return value if small else ascii(value)
