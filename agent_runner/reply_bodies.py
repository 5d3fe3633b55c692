"""Read back the contents that came with a reply's calls, as the ledger keeps them."""

from __future__ import annotations

import base64

import orjson

from audit.errors import BadEventError


def reply_bodies(seq: int, raw: bytes) -> dict[str, bytes]:
    """Return the contents that came with a reply's calls, by the call's place.

    Args:
        seq: The entry's number, for the message.
        raw: The body to which the entry commits.

    Raises:
        BadEventError: When no writer wrote it so.
    """
    try:
        return {place: base64.b64decode(body) for place, body in orjson.loads(raw)["bodies"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadEventError(f"what the model wrote at entry {seq} cannot be read back") from error
