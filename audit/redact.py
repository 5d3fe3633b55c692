"""Replace known secrets on the way in, in every spelling they are likely to take, by a name and a keyed tag.

The tag is an HMAC, so that whoever has the secret and the host's key can ask where it was used, and nobody
can guess it from the log. Hygiene, not a wall: a secret that was reversed or split is not recognised.
"""

import base64
import hmac
import json
import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

import orjson

from audit.errors import ShortSecretError
from audit.hostile import MARK, mark, unmark

SHORTEST_SECRET = 6
_TAG_HEX = 16
_A_MARK = b'{"!":'
_CUT = re.compile(r"(`| \[cut\])")
"""What stands behind text that was cut; a name or a line is quoted in backticks."""
PLACEHOLDER = re.compile(r"\[secret:[A-Za-z0-9_.-]*:[0-9a-f]{16}\]")
"""What stands for a secret, known here or only to whoever wrote it."""


def tag_of(secret: str, key: bytes) -> str:
    """Return the tag that stands for a secret in this host's ledgers.

    Args:
        secret: The value.
        key: The host's redaction key.
    """
    return hmac.digest(key, secret.encode("utf-8", "surrogatepass"), "sha256").hex()[:_TAG_HEX]


class Redactor:
    """Knows the session's secrets and writes placeholders in their stead.

    Args:
        secrets: Name to value, for example ``{"github": "ghp_..."}``.
        key: The host's redaction key, from ``keys.redaction_key``.

    Raises:
        ShortSecretError: When a value has fewer than 6 characters, and would be found in ordinary text.
    """

    def __init__(self, secrets: Mapping[str, str], *, key: bytes) -> None:
        self._key = key
        self._forms: dict[str, str] = {}
        for name, value in secrets.items():
            self._add(name, value)
        self._order()

    @property
    def knows(self) -> bool:
        """Tell whether there is a secret to replace at all."""
        return bool(self._forms)

    @property
    def placeholders(self) -> frozenset[str]:
        """What stands for the secrets that are known."""
        return self._placeholders

    def learn(self, name: str, value: str) -> None:
        """Know one more value from now on, as that of a token that was fetched again.

        Raises:
            ShortSecretError: As when it is made.
        """
        self._add(name, value)
        self._order()

    def _add(self, name: str, value: str) -> None:
        if len(value) < SHORTEST_SECRET:
            raise ShortSecretError(
                f"secret `{name}` is shorter than {SHORTEST_SECRET} characters",
                hint="a value this short is found in ordinary text and cannot be kept out of the ledger",
            )
        placeholder = f"[secret:{_plain(name)}:{tag_of(value, self._key)}]"
        for form in spellings(value):
            self._forms.setdefault(form, placeholder)

    def _order(self) -> None:
        self._placeholders = frozenset(self._forms.values())
        self._texts = sorted(self._forms.items(), key=lambda item: -len(item[0]))
        self._raw = [(text.encode("utf-8", "surrogatepass"), mark.encode()) for text, mark in self._texts]
        # SAFETY: these and no others are left alone; whoever writes another around a secret hides nothing.
        known = "|".join(map(re.escape, sorted(self._placeholders)))
        self._known = re.compile(f"({known})")
        self._known_raw = re.compile(self._known.pattern.encode())
        self._in_line = sorted({_as_in_line(text) for text, _ in self._texts})

    def touches(self, line: bytes) -> bool:
        """Tell whether an encoded line may hold a secret, so that only then the whole value is walked."""
        if _A_MARK in line:
            return True
        for form in self._in_line:  # noqa: SIM110 - any() takes three times as long, at every entry
            if form in line:
                return True
        return False

    def text(self, value: str) -> str:
        """Return the text with every known secret replaced; once is enough, whatever placeholders hold."""
        for form, placeholder in self._texts:
            if form in value:
                parts = self._known.split(value)
                parts[::2] = [part.replace(form, placeholder) for part in parts[::2]]
                value = "".join(parts)
        return value

    def raw(self, value: bytes) -> bytes:
        """Return the bytes with every known secret replaced, as `text` does."""
        for form, placeholder in self._raw:
            if form in value:
                value = self._replaced(value, form, placeholder)
        return value

    def _replaced(self, value: bytes, form: bytes, placeholder: bytes) -> bytes:
        parts = self._known_raw.split(value)
        parts[::2] = [part.replace(form, placeholder) for part in parts[::2]]
        return b"".join(parts)

    def at_cuts(self, value: str) -> str:
        """Return text, redacted already, without what cuts have left of secrets.

        That is the beginning of one, before the mark of a cut, a closing backtick or the end.
        """
        if not any(form[:SHORTEST_SECRET] in value for form, _ in self._texts):
            return value
        whole = value.rstrip()
        pieces = [self._without_beginning(piece) for piece in _CUT.split(whole)]
        return "".join(pieces) + value[len(whole) :]

    def at_end(self, value: bytes) -> bytes:
        """Return bytes, redacted already, without the beginning of a secret that a cut has left there."""
        if not self._raw:
            return value
        whole = value.rstrip()
        room = max(0, len(whole) - len(self._raw[0][0]))
        end = whole[room:].decode("utf-8", "surrogateescape")
        left = self._without_beginning(end)
        if left == end:
            return value
        return whole[:room] + left.encode("utf-8", "surrogateescape") + value[len(whole) :]

    def _without_beginning(self, piece: str) -> str:
        for form, placeholder in self._texts:
            start = form[:SHORTEST_SECRET]
            at = piece.find(start, max(0, len(piece) - len(form) + 1))
            while at >= 0:
                if form.startswith(piece[at:]):
                    return piece[:at] + placeholder
                at = piece.find(start, at + 1)
        return piece

    def spelt_in(self, content: bytes) -> dict[str, set[bytes]]:
        """Return each placeholder that `raw` would write into the content, with what it stands for there."""
        found: dict[str, set[bytes]] = {}
        for form, placeholder in self._raw:
            if form in content and (replaced := self._replaced(content, form, placeholder)) != content:
                found.setdefault(placeholder.decode(), set()).add(form)
                content = replaced
        return found

    def marked(self, value: object) -> object:
        """Return a value of the ledger's JSON with every known secret replaced, in keys and inside marks too.

        Args:
            value: What ``hostile.mark`` has been over, so that it is nowhere deep.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            if MARK in value:
                value = self._inside_mark(value)
            return {self.text(str(key)): self.marked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.marked(item) for item in value]
        return value

    def _inside_mark(self, value: dict[str, object]) -> dict[str, object]:
        inside = unmark(value)
        cleaned: object = inside
        if isinstance(inside, bytes):
            cleaned = self.raw(inside)
        elif isinstance(inside, str):
            cleaned = self.text(inside)
        if cleaned == inside:
            return value
        remade = mark(cleaned)
        return remade if isinstance(remade, dict) else {MARK: "pairs", "items": [["text", remade]]}


def spellings(secret: str) -> set[str]:
    """Return the ways in which a secret may be written: raw, URL, base64 at each alignment, JSON, hex.

    Args:
        secret: The value.
    """
    raw = secret.encode("utf-8", "surrogatepass")
    found = {secret, raw.hex(), raw.hex().upper()}
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw), _every_byte(raw)):
        found |= {quoted, _lower_percents(quoted)}
    for shift in range(3):
        found |= _base64_inside(raw, shift)
    found |= {
        _as_in_line(secret).decode("utf-8"),
        _escaped_ascii(secret),
        _escaped_ascii(secret).replace("/", "\\/"),
    }
    found.add(secret.replace("/", "\\/"))
    return {form for form in found if len(form) >= SHORTEST_SECRET}


def _base64_inside(raw: bytes, shift: int) -> set[str]:
    """Return the characters that are the same whatever stands before and after, for one alignment."""
    padded = base64.b64encode(b"\0" * shift + raw).decode("ascii")
    first = -(-8 * shift // 6)
    last = 8 * (shift + len(raw)) // 6
    inside = padded[first:last]
    return {inside, inside.replace("+", "-").replace("/", "_")}


def _every_byte(raw: bytes) -> str:
    return "".join(f"%{byte:02X}" for byte in raw)


def _lower_percents(quoted: str) -> str:
    head, *rest = quoted.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _as_in_line(text: str) -> bytes:
    safe = text.encode("utf-8", "replace").decode("utf-8") if not _encodes(text) else text
    return orjson.dumps(safe)[1:-1]


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _escaped_ascii(text: str) -> str:
    return json.dumps(text)[1:-1]


def _plain(name: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in name)
