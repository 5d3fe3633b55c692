"""Ask a connector's server through a gate of its own, and wait where the server asks to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agent_runner.backends.failure import retry_after
from cli_tools.connector import LARGEST_ANSWER_BYTES
from cli_tools.errors import ActionError
from sandbox.egress.errors import EgressDeniedError, GateLostError, UpstreamError

if TYPE_CHECKING:
    from agent_runner.connectors_ordered import Ordered
    from sandbox.egress.credentials import Headers
    from sandbox.egress.fetch import Response
    from sandbox.egress.gate import EgressGate

LONGEST_WAIT_SECONDS: Final = 60.0
"""For one action, where the server asks to wait (RFC 6585, clause 4; RFC 9110, clause 10.2.3)."""
USUAL_WAIT_SECONDS: Final = 5.0
"""Where it does not say how long."""
SHORTEST_WAIT_SECONDS: Final = 1.0
MOST_TRIES: Final = 6
_LONGEST_TOLD_SECONDS: Final = 1e9
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503


class GatedConnector:
    """Ask one server through a gate of its own.

    Args:
        order: What it is.
        gate: Its gate.
        action: The action that asks; empty where that is not known.
    """

    def __init__(self, order: Ordered, gate: EgressGate, action: str) -> None:
        self._order = order
        self._gate = gate
        self._action = action
        self._waited = 0.0

    @property
    def base_url(self) -> str:
        """Where its API begins."""
        return self._order.base_url

    @property
    def account(self) -> str:
        """Whose things are meant."""
        return self._order.account

    async def request(self, method: str, url: str, *, headers: Headers = (), body: bytes = b"") -> Response:
        """Make one request, again where the server asks to wait, within the bound of its action.

        Raises:
            ActionError: When the rules say no, nobody answers, or the wait would be too long.
        """
        for _ in range(MOST_TRIES):
            response = await self._once(method, url, headers, body)
            pause = _pause(method, response)
            if pause is None:
                return response
            if self._waited + pause > LONGEST_WAIT_SECONDS:
                raise self._limited(pause)
            self._waited += pause
            await asyncio.sleep(pause)
        raise self._limited(SHORTEST_WAIT_SECONDS)

    async def _once(self, method: str, url: str, headers: Headers, body: bytes) -> Response:
        try:
            response = await self._gate.request(
                method,
                url,
                headers=headers,
                body=body,
                body_bytes=LARGEST_ANSWER_BYTES,
                action=self._action,
            )
        except (EgressDeniedError, UpstreamError) as error:
            raise ActionError(error.code, error.message, hint=error.hint) from error
        except GateLostError as error:
            if error.__cause__ is not None:  # the ledger failed, and with it the session
                raise
            raise ActionError("upstream", f"connector `{self._order.name}`: {error.message}") from error
        if response.truncated:
            raise ActionError(
                "too-large", f"`{self._order.name}` answered with more than {LARGEST_ANSWER_BYTES} bytes"
            )
        return response

    def _limited(self, pause: float) -> ActionError:
        return ActionError(
            "rate-limited",
            f"`{self._order.name}` asks to wait {pause:.0f} s",
            hint="do something else first, or ask for less at once",
        )


def _pause(method: str, response: Response) -> float | None:
    """Return the seconds that the server asks to wait; None when it answered, or it may have been done."""
    if response.status != _TOO_MANY and not (response.status == _UNAVAILABLE and method == "GET"):
        return None
    asked = retry_after({"retry-after": response.header("retry-after").strip()})
    if asked is not None:
        return min(max(asked, SHORTEST_WAIT_SECONDS), _LONGEST_TOLD_SECONDS)
    return USUAL_WAIT_SECONDS if response.status == _TOO_MANY else None
