"""What a session's file is held against, as the host's log knows it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What is known of a session from outside its file.

    Attributes:
        origin: The log's name.
        vkeys: Epoch to the public key that the host's log registered; empty when it knows nothing.
        roots: Size to the root that the host's log knows.
        end: The size at which it was sealed as closed, behind which nothing may stand; None when it was not,
            or was taken up again.
    """

    origin: str
    vkeys: Mapping[int, str]
    roots: Mapping[int, bytes]
    end: int | None

    def last_size(self) -> int:
        """Return the size that the log may reach."""
        return sys.maxsize if self.end is None else self.end
