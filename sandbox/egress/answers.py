"""Keep the questions put to the egress process until they are answered, or until it is gone."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, assert_never

from sandbox.egress.errors import EgressDeniedError, UpstreamError
from sandbox.egress.fetch import Response
from sandbox.egress.wire import Answered, Failed, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.egress.errors import EgressError


class Answers:
    """The requests that wait, each by its number."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Response]] = {}

    def wanted(self) -> tuple[int, asyncio.Future[Response]]:
        """Return a new number, and where its answer will be."""
        number = next(self._numbers)
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        return number, answer

    def forget(self, number: int) -> None:
        """Wait for that one no longer."""
        self._waiting.pop(number, None)

    def settle(self, message: Answered | Refused | Failed, body: bytes) -> None:
        """Take in an answer; one that nobody waits for is dropped.

        Args:
            message: What the process says.
            body: What came with it.
        """
        answer = self._waiting.get(message.id)
        if answer is None or answer.done():
            return
        match message:
            case Answered():
                answer.set_result(_response(message, body))
            case Refused(code=code, message=why, hint=hint, rule=rule):
                answer.set_exception(EgressDeniedError(code, why, hint=hint, rule=rule))
            case Failed(code=code, message=why, hint=hint):
                answer.set_exception(UpstreamError(code, why, hint=hint))
            case _:
                assert_never(message)

    def lose(self, error: Callable[[], EgressError]) -> None:
        """Tell everyone who waits that no answer will come."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error())


def _response(answered: Answered, body: bytes) -> Response:
    return Response(
        status=answered.status,
        reason=answered.reason,
        headers=answered.headers,
        body=body,
        truncated=answered.truncated,
        bytes_sent=answered.bytes_sent,
        bytes_received=answered.bytes_received,
        address=answered.address,
        rule=answered.rule,
        url=answered.url,
    )
