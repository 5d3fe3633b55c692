"""The seven lawful sets of capabilities; the set of all three has no name here, nor anywhere else."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from policies.capability import Capability, in_order
from policies.errors import ForbiddenGrantError

if TYPE_CHECKING:
    from collections.abc import Iterable

SPLITS: Final = (
    (
        "`grant: [files, network]` reads and fetches; after a person's review a second session with "
        "`grant: [files, exec]` runs what is there"
    ),
    (
        "`grant: [network, exec]` fetches and runs in a place without your files; a second session with "
        "`grant: [files]` takes over what you reviewed"
    ),
    (
        "`grant: [files, exec]` works offline, with what it needs built into the image beforehand "
        "(`pairlock image build`); a second session with `grant: [network]` sends or looks up"
    ),
)


class Grant(Enum):
    """What one session holds for its whole life.

    # INVARIANT: no member holds three capabilities, and members are the only grants there are.
    """

    NONE = frozenset[Capability]()
    FILES = frozenset({Capability.FILES})
    NETWORK = frozenset({Capability.NETWORK})
    EXEC = frozenset({Capability.EXEC})
    FILES_NETWORK = frozenset({Capability.FILES, Capability.NETWORK})
    FILES_EXEC = frozenset({Capability.FILES, Capability.EXEC})
    NETWORK_EXEC = frozenset({Capability.NETWORK, Capability.EXEC})

    @classmethod
    def of(cls, capabilities: Iterable[Capability]) -> Grant:
        """Find the grant that holds exactly these capabilities.

        Args:
            capabilities: Which; repeated ones count once.

        Returns:
            One of the seven.

        Raises:
            ForbiddenGrantError: When all three are asked for.
        """
        wanted = frozenset(capabilities)
        for grant in cls:
            if grant.value == wanted:
                return grant
        raise ForbiddenGrantError(wanted, splits=SPLITS)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities held."""
        return self.value

    @property
    def label(self) -> str:
        """The grant as people read it: `files+exec`, or `none`."""
        return "+".join(in_order(self.value)) or "none"

    def holds(self, capability: Capability) -> bool:
        """Tell whether a capability is held.

        Args:
            capability: Which one.

        Returns:
            True when it is held.
        """
        return capability in self.value

    def within(self, other: Grant) -> bool:
        """Tell whether everything held here is held there too.

        Args:
            other: The wider grant, for example a parent's.

        Returns:
            True when this grant adds nothing to the other.
        """
        return self.value <= other.value

    def meet(self, other: Grant) -> Grant:
        """Keep what both hold.

        Args:
            other: The other grant.

        Returns:
            The widest grant that is within both.
        """
        return Grant.of(self.value & other.value)
