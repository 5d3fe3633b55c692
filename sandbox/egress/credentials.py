"""Put a credential into a request on the host, and take its echoes out of the answer."""

import base64
import html
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Literal, Protocol

from audit.redact import SHORTEST_SECRET, spellings

Headers = tuple[tuple[str, str], ...]

_HEAD_BYTES: Final = 16
"""Of an echo: where so many of a stream's last bytes begin one, the rest of them is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A secret and how a server wants it. It has no readable form: it must not end up in a message."""

    value: str = field(repr=False)
    """The secret itself; for `basic`, `user:password`."""
    kind: Literal["bearer", "basic", "header"] = "bearer"
    header: str = "authorization"
    """The header that carries it; only `header` may have another than `authorization`."""
    former: tuple[str, ...] = field(default=(), repr=False)
    """Values that it had before, which servers may still hold; they are not sent, and must not come back."""

    def headers(self) -> Headers:
        """Return the headers that carry it, names in small letters."""
        match self.kind:
            case "bearer":
                return (("authorization", f"Bearer {self.value}"),)
            case "basic":
                return (("authorization", f"Basic {_base64(self.value)}"),)
            case "header":
                return ((self.header.lower(), self.value),)

    def echoes(self) -> frozenset[bytes]:
        """Return the spellings that must not come back."""
        return _echoes(self)


class Secrets(Protocol):
    """Hand out one credential at a time."""

    async def secret(self, name: str) -> Credential:
        """Return the credential of a name.

        Raises:
            EgressDeniedError: With code `credential`, when there is none.
        """
        ...


@lru_cache(maxsize=1)
def _echoes(credential: Credential) -> frozenset[bytes]:
    """Make a credential's echoes, which takes long for a long one; only the last one's are kept."""
    values = (credential.value, *credential.former)
    return frozenset().union(*(_own_echoes(replace(credential, value=value, former=())) for value in values))


def _own_echoes(credential: Credential) -> frozenset[bytes]:
    secrets = {credential.value, *(credential.value.split(":", 1) if credential.kind == "basic" else ())}
    carried = {value.rpartition(" ")[2] for _, value in credential.headers()}
    long = {secret for secret in secrets | carried if len(secret) >= SHORTEST_SECRET}
    texts = {form for secret in long for form in spellings(secret) | _throughout(secret)}
    return frozenset(text.encode("utf-8", "surrogatepass") for text in texts).union(*map(_wide, long))


def _throughout(text: str) -> set[str]:
    """Return a text with every character escaped, as JSON and as HTML can, and with those that HTML must."""
    codes = [ord(char) for char in text]
    forms = {f"\\u{{:04{digit}}}" for digit in "xX"} | {f"&#x{{:{digit}}};" for digit in "xX"} | {"&#{};"}
    return {"".join(form.format(code) for code in codes) for form in forms} | {html.escape(text)}


def _wide(text: str) -> set[bytes]:
    return {text.encode(f"utf-16-{order}", "surrogatepass") for order in ("le", "be")}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


class Mask:
    """Write asterisks over known bytes in a stream; lengths stay as they are.

    Args:
        echoes: What must not pass; empty passes everything at once.
    """

    def __init__(self, echoes: frozenset[bytes] = frozenset()) -> None:
        self._echoes = sorted(echoes, key=lambda echo: (-len(echo), echo))
        # Short beginnings alone: all of them would take memory by the square of an echo's length.
        self._short = frozenset(
            echo[:end] for echo in self._echoes for end in range(1, min(len(echo), _HEAD_BYTES))
        )
        self._held = b""
        self._begun = 0  # of what is held, the bytes of an echo that began before it

    def feed(self, data: bytes) -> bytes:
        """Take bytes in and return those that no later byte can turn into an echo."""
        if not self._echoes:
            return data
        raw = self._held + data
        cut = len(raw) - self._begins_within(raw)
        found = [(0, self._begun), *self._found(raw)]
        self._held = raw[cut:]
        self._begun = max(0, max(end for start, end in found if start <= cut) - cut)
        return _starred(raw, found)[:cut]

    def end(self) -> bytes:
        """Return what was held back."""
        rest = _starred(self._held, [(0, self._begun), *self._found(self._held)])
        self._held, self._begun = b"", 0
        return rest

    def whole(self, data: bytes) -> bytes:
        """Mask bytes that are complete in themselves."""
        return _starred(data, self._found(data))

    def _begins_within(self, data: bytes) -> int:
        """Return how many of the last bytes may be an echo's beginning; a stream is not held up by others."""
        most = max(_begun(echo, data) for echo in self._echoes)
        short = range(min(_HEAD_BYTES - 1, len(data)), most, -1)
        return next((count for count in short if data[-count:] in self._short), most)

    def _found(self, data: bytes) -> list[tuple[int, int]]:
        """Return where echoes begin and end; those of different spellings may overlap."""
        found = []
        for echo in self._echoes:
            at = data.find(echo)
            while at >= 0:
                found.append((at, at + len(echo)))
                at = data.find(echo, at + len(echo))
        return found


def _begun(echo: bytes, data: bytes) -> int:
    """Return with how many of its last bytes, `_HEAD_BYTES` or more, data begins an echo; 0 for none."""
    head = echo[:_HEAD_BYTES]
    at = data.find(head, max(0, len(data) - len(echo) + 1))
    while at >= 0 and not echo.startswith(data[at:]):
        at = data.find(head, at + 1)
    return len(data) - at if at >= 0 else 0


def _starred(data: bytes, places: list[tuple[int, int]]) -> bytes:
    masked = bytearray(data)
    for start, end in places:
        masked[start:end] = b"*" * (end - start)
    return bytes(masked)
