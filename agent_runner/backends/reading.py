"""Read a reply as an SDK gives it: in one piece or in many, each of them a plain object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from agent_runner.backends.failure import Failure, ModelServerError, one_line, said

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import httpx2

    from agent_runner.backends.pieces import Pieces


class Reader(Protocol):
    """Read a reply's pieces."""

    pieces: Pieces

    def take(self, chunk: Mapping[str, object], /) -> None:
        """Take one piece."""
        ...


class Stream(Protocol):
    """What the SDKs give for a reply in pieces."""

    response: httpx2.Response

    def __aiter__(self) -> AsyncIterator[object]:
        """Give the pieces."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class Page(Protocol):
    """What the SDKs give for a list."""

    @property
    def data(self) -> Sequence[object]:
        """Return the first page's items."""
        ...


def whole(reader: Reader, answer: object) -> None:
    """Read a reply that came in one piece.

    Raises:
        ModelServerError: When it is none.
    """
    body = plain(answer)
    reader.take(body)
    if not reader.pieces.ended:
        raise ModelServerError(f"the answer holds no reply: {said(body)}", failure=Failure(kind="broken"))


def plain(value: object) -> Mapping[str, object]:
    """Return what an SDK made of a piece as the plain object that came; a piece that is no object is none.

    Raises:
        ModelServerError: When it is no object.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", warnings=False, exclude_unset=True)
    if not isinstance(value, dict):
        raise ModelServerError(
            f"the model's server sent `{one_line(repr(value))}`, expected an object",
            failure=Failure(kind="broken"),
        )
    return value


def json_object(raw: bytes) -> Mapping[str, object]:
    """Return the object that an answer's bytes are.

    Raises:
        ModelServerError: When they are another value.
        ValueError: When they are no JSON.
    """
    return plain(json.loads(raw))
