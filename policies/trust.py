"""Whether a policy from inside a workspace is trusted: digests of everything it is made of, compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.errors import UntrustedPolicyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.policy import Policy


@dataclass(frozen=True, slots=True)
class Member:
    """One thing that the meaning of a policy rests on.

    Attributes:
        origin: What it is: a file's name, `library/NAME`, `image NAME`.
        digest: SHA-256 of its content, or an image's digest.
    """

    origin: str
    digest: str


@dataclass(frozen=True, slots=True)
class Closure:
    """Everything that a policy's meaning rests on.

    Attributes:
        members: Texts, declared commands, task files, images; sorted, each once.
    """

    members: tuple[Member, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over all members."""
        pairs = [[member.origin, member.digest] for member in self.members]
        return hashlib.sha256(json.dumps(pairs, separators=(",", ":")).encode()).hexdigest()

    def changes_from(self, other: Closure) -> tuple[str, ...]:
        """Name what differs.

        Args:
            other: What was trusted.

        Returns:
            The origins of members that were changed, added or taken away, sorted.
        """
        ours, theirs = set(self.members), set(other.members)
        return tuple(sorted({member.origin for member in ours ^ theirs}))


def meaning_of(policy: Policy) -> Member:
    """Name what a policy means, whatever texts it was made from.

    Args:
        policy: A resolved policy.

    Returns:
        The member that stands for it in its closure.
    """
    return Member("policy as resolved", policy.digest)


def closure_of(policy: Policy, *, others: Iterable[Member] = ()) -> Closure:
    """Collect what a policy's meaning rests on.

    Args:
        policy: A resolved policy: its own text, expectations included, and every text that it extends.
        others: What the caller knows beside: declared commands, task files, image digests.

    Returns:
        The closure.
    """
    texts = {Member(origin, digest) for origin, digest in policy.closure}
    return Closure(
        tuple(
            sorted({*texts, meaning_of(policy), *others}, key=lambda member: (member.origin, member.digest))
        )
    )


def verify_trust(origin: str, closure: Closure, trusted: Iterable[Closure]) -> None:
    """Refuse a policy that nobody trusts as it stands.

    Args:
        origin: The policy file, for the message.
        closure: What it rests on now.
        trusted: What was trusted under this name, the newest last.

    Raises:
        UntrustedPolicyError: When no trusted closure is exactly this one; it names what changed.
    """
    records = tuple(trusted)
    if any(record.digest == closure.digest for record in records):
        return
    changed = closure.changes_from(records[-1]) if records else ()
    raise UntrustedPolicyError(origin, digest=closure.digest, changed=changed)
