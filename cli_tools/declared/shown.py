"""Show of a program's output what its declaration says, and tell what was left out."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from cli_tools.declared.pattern import Pattern

if TYPE_CHECKING:
    from cli_tools.declared.document import DeclaredOutput

MOST_LINES: Final = 100_000
"""Lines of one output that are looked at: the work of a filter stays bounded."""
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


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
        if not (self._keep or self._drop or self._first or self._last):
            return self._cut(output, [])
        lines, notes = self._looked_at(output)
        kept = [line for line in lines if self._is_kept(line)]
        if self._first is not None:
            kept = kept[: self._first]
        if self._last is not None:
            kept = kept[-self._last :]
        if left_out := len(lines) - len(kept):
            notes.append(f"{left_out} of {len(lines)} lines are not shown")
        return self._cut(b"".join(kept), notes)

    def _looked_at(self, output: bytes) -> tuple[list[bytes], list[str]]:
        """Return the lines, at most `MOST_LINES`, and what there is to tell of that."""
        found = _LINE.finditer(output)
        if self._last is not None:
            lines = [match[0] for match in deque(found, maxlen=MOST_LINES + 1)]
            part, kept = "last", lines[-MOST_LINES:]
        else:
            lines = [match[0] for match in islice(found, MOST_LINES + 1)]
            part, kept = "first", lines[:MOST_LINES]
        cut = len(lines) > MOST_LINES
        return kept, [f"only the {part} {MOST_LINES} lines are looked at"] if cut else []

    def _cut(self, text: bytes, notes: list[str]) -> Shown:
        if len(text) > self._most_bytes:
            notes = [*notes, f"cut after {self._most_bytes} of {len(text)} bytes"]
            text = text[: self._most_bytes]
        return Shown(output=text, note="; ".join(notes))

    def _is_kept(self, line: bytes) -> bool:
        if self._keep and not any(pattern.is_in(line) for pattern in self._keep):
            return False
        return not any(pattern.is_in(line) for pattern in self._drop)
