"""Gather what a model thought as its server seals it, to be sent back as it came: bounded, and not read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from agent_runner.backends.backend import Thought
from agent_runner.backends.wording import safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runner.backends.pieces import Pieces

MAXIMUM_SEALED: Final = 4 * 1024 * 1024
"""Bytes of all of a reply's thoughts with their seals, as the ledger spells them; beyond, none goes back."""
MAXIMUM_THOUGHTS: Final = 128
MEMBERS: Final[Mapping[object, tuple[str, ...]]] = {
    "thinking": ("thinking", "signature"),
    "redacted_thinking": ("data",),
}
"""What a server seals, by its type; all of it is text."""


@dataclass(slots=True)
class _Partial:
    kind: str
    characters: int
    calls: int
    members: dict[str, list[str]] = field(default_factory=dict)


class Thoughts:
    """Put blocks of the types `thinking` and `redacted_thinking` together."""

    def __init__(self) -> None:
        self._blocks: list[_Partial] = []
        self._by_place: dict[object, _Partial] = {}
        self._left = MAXIMUM_SEALED

    def begin(self, place: object, block: Mapping[str, object], before: Pieces) -> None:
        """Take a block's beginning.

        Args:
            place: Its index.
            block: What is there of it.
            before: What stands before it.
        """
        if len(self._blocks) >= MAXIMUM_THOUGHTS:
            self._left = -1
            return
        begun = _Partial(str(block["type"]), sum(map(len, before.text)), len(before.calls))
        self._blocks.append(begun)
        self._by_place[place] = begun
        self.more(place, block)

    def more(self, place: object, delta: Mapping[str, object]) -> None:
        """Take more of a block."""
        block = self._by_place.get(place)
        for name in MEMBERS[block.kind] if block is not None else ():
            piece = delta.get(name)
            if block is not None and isinstance(piece, str) and self._left >= 0:
                self._left -= len(piece)
                block.members.setdefault(name, []).append(piece)

    def whole(self, by: str) -> tuple[Thought, ...]:
        """Return the thoughts; none where they are too many or too long."""
        if self._left < 0:
            return ()
        sealed = [
            json.dumps({"type": each.kind, **_joined(each)}, ensure_ascii=False) for each in self._blocks
        ]
        if sum(len(orjson.dumps(each)) for each in sealed) > MAXIMUM_SEALED:
            return ()
        return tuple(
            Thought(by=by, sealed=each, characters=block.characters, calls=block.calls)
            for each, block in zip(sealed, self._blocks, strict=True)
        )


def _joined(block: _Partial) -> dict[str, str]:
    return {name: safe_text("".join(pieces)) for name, pieces in block.members.items()}
