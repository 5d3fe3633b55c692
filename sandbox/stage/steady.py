"""Read a stage that an agent may be writing, and say whether what was read stood still meanwhile.

Nothing is frozen for it: a reader that is killed would leave the session frozen for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from sandbox.stage.upper import read_upper

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.stage.layout import StageFolder

T = TypeVar("T")
TRIES: Final = 4
"""How often what moved is read again."""


def read_steadily(folder: StageFolder, read: Callable[[], T]) -> tuple[T, bool]:
    """Return what was read of a stage, and whether nothing in the agent's tree changed while it was.

    Args:
        folder: The stage's folder.
        read: Reads the stage; called again, a few times, when the tree was changed meanwhile.

    Raises:
        StageLimitError: When the agent's tree is too large to be read.
        PathRefusedError: When it is gone: the session ended, and a copy of it came back.
    """
    before = read_upper(folder)
    for _ in range(TRIES):
        found = read()
        after = read_upper(folder)
        if after == before:
            return found, True
        before = after
    return found, False
