"""Put a credential into a request on the host, and take its echoes out of the answer."""

import base64
import html
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from audit.redact import SHORTEST_SECRET, spellings

Headers = tuple[tuple[str, str], ...]


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
        former = (replace(self, value=value, former=()).echoes() for value in self.former)
        return self._own_echoes().union(*former)

    def _own_echoes(self) -> frozenset[bytes]:
        secrets = {self.value, *(self.value.split(":", 1) if self.kind == "basic" else ())}
        carried = {value.rpartition(" ")[2] for _, value in self.headers()}
        long = {secret for secret in secrets | carried if len(secret) >= SHORTEST_SECRET}
        texts = {form for secret in long for form in spellings(secret) | _throughout(secret)}
        return frozenset(text.encode("utf-8", "surrogatepass") for text in texts).union(*map(_wide, long))


class Secrets(Protocol):
    """Hand out one credential at a time."""

    async def secret(self, name: str) -> Credential:
        """Return the credential of a name.

        Raises:
            EgressDeniedError: With code `credential`, when there is none.
        """
        ...


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
        self._overlap = max((len(echo) for echo in self._echoes), default=1) - 1
        self._beginnings = frozenset(echo[:end] for echo in self._echoes for end in range(1, len(echo)))
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
        most = min(self._overlap, len(data))
        return next((count for count in range(most, 0, -1) if data[-count:] in self._beginnings), 0)

    def _found(self, data: bytes) -> list[tuple[int, int]]:
        """Return where echoes begin and end; those of different spellings may overlap."""
        found = []
        for echo in self._echoes:
            at = data.find(echo)
            while at >= 0:
                found.append((at, at + len(echo)))
                at = data.find(echo, at + len(echo))
        return found


def _starred(data: bytes, places: list[tuple[int, int]]) -> bytes:
    masked = bytearray(data)
    for start, end in places:
        masked[start:end] = b"*" * (end - start)
    return bytes(masked)
