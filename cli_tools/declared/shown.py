"""Show of a program's output what its declaration says, and tell what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli_tools.declared.pattern import Pattern

if TYPE_CHECKING:
    from cli_tools.declared.document import DeclaredOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is left of an output."""

    output: bytes
    note: str


class Filter:
    """What a declaration says of its program's output.

    Args:
        declared: The declaration's part.
    """

    def __init__(self, declared: DeclaredOutput) -> None:
        self._keep = tuple(Pattern(text) for text in declared.keep)
        self._drop = tuple(Pattern(text) for text in declared.drop)
        self._first = declared.first_lines
        self._last = declared.last_lines
        self._most_bytes = int(declared.most_bytes)
        self.shows_errors = declared.errors

    def shown(self, output: bytes) -> Shown:
        """Return what is shown: lines that are kept, the first or the last of them, within the bound."""
        lines = output.splitlines(keepends=True)
        kept = [line for line in lines if self._is_kept(line)]
        if self._first is not None:
            kept = kept[: self._first]
        if self._last is not None:
            kept = kept[-self._last :]
        left_out = len(lines) - len(kept)
        text = b"".join(kept)
        notes = [f"{left_out} of {len(lines)} lines are not shown"] if left_out else []
        if len(text) > self._most_bytes:
            notes.append(f"cut after {self._most_bytes} of {len(text)} bytes")
            text = text[: self._most_bytes]
        return Shown(output=text, note="; ".join(notes))

    def _is_kept(self, line: bytes) -> bool:
        if self._keep and not any(pattern.is_in(line) for pattern in self._keep):
            return False
        return not any(pattern.is_in(line) for pattern in self._drop)
