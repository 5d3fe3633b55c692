"""Read an operation's arguments: each is of the right kind and within its bounds, or is refused."""

from __future__ import annotations

from .refusal import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .objects import Object, Value


class Arguments:
    """The arguments of one OPEN frame.

    Args:
        values: the JSON object; `op` is part of it.
        allowed: the names that the operation knows; any other is refused.

    Raises:
        RefusedError: code `arguments`, here and in every method, when a value is not what it must be.
    """

    def __init__(self, values: Object, allowed: frozenset[str]) -> None:
        unknown = [name for name in values if name not in allowed and name != "op"]
        if unknown:
            raise RefusedError(
                "arguments", f"unknown argument `{min(unknown)}`; expected {', '.join(sorted(allowed))}"
            )
        self._values = values

    def path(self, name: str = "path") -> bytes:
        """Return a path: the text `name`, or the bytes of `name`_base64 for a name that is not UTF-8."""
        encoded = self._values.get(f"{name}_base64")
        if encoded is None:
            return self.text(name).encode()
        if not isinstance(encoded, str) or name in self._values:
            raise _wrong(f"{name}_base64", "text, without its twin")
        import binascii  # noqa: PLC0415 (names that are not UTF-8 are few)

        try:
            return binascii.a2b_base64(encoded.encode(), strict_mode=True)
        except ValueError as error:
            raise _wrong(f"{name}_base64", "base64") from error

    def text(self, name: str) -> str:
        """Return a required text."""
        value = self._values.get(name)
        if not isinstance(value, str):
            raise _wrong(name, "text")
        return value

    def flag(self, name: str) -> bool:
        """Return a flag; absent is False."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise _wrong(name, "true or false")
        return value

    def number(self, name: str, *, default: int, most: int, least: int = 0) -> int:
        """Return an integer between `least` and `most`."""
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _wrong(name, f"an integer from {least} to {most}")
        return value

    def seconds(self, name: str, *, default: float, most: float) -> float:
        """Return a positive duration in seconds, up to `most`."""
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            raise _wrong(name, f"seconds, above 0 and up to {most}")
        return float(value)

    def texts(self, name: str, *, least: int = 0) -> list[str]:
        """Return a list of texts without NUL, with at least `least` of them."""
        value = self._values.get(name, [])
        if not isinstance(value, list) or len(value) < least:
            raise _wrong(name, f"a list of at least {least} texts")
        return [_whole_text(name, item) for item in value]

    def mapping(self, name: str) -> dict[str, str]:
        """Return an object whose values are texts without NUL; absent is empty."""
        value = self._values.get(name, {})
        if not isinstance(value, dict):
            raise _wrong(name, "an object of texts")
        return {_whole_text(name, key): _whole_text(name, item) for key, item in value.items()}


def _whole_text(name: str, value: Value) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise _wrong(name, "texts without NUL")
    return value


def _wrong(name: str, expected: str) -> RefusedError:
    return RefusedError("arguments", f"argument `{name}` is missing or wrong; expected {expected}")
