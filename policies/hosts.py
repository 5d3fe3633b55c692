"""Names of hosts: the patterns of a policy, and the one form in which a requested name is compared."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final

from policies.errors import BadValueError, RuleAt
from policies.package_data import host_lists
from policies.public_suffixes import spans_owners
from policies.wording import quoted

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT = re.compile(r"[^:]+:([0-9]{1,5})|\[.*\]:([0-9]{1,5})")
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
LONGEST_NAME: Final = 253


def canonical_host(text: str) -> str:
    """Bring a host's name into the form in which names are compared.

    Args:
        text: A name or address as requested; one trailing dot is dropped, letters become small.

    Returns:
        The ASCII name, or an address in its usual form (IPv6 without brackets).

    Raises:
        BadValueError: When it is no host: not ASCII, control characters, `127.1`, `a..b`, a port.
    """
    name = text.removesuffix(".").lower() if text.isascii() else text
    if not name.isascii():
        raise BadValueError(f"host {quoted(text)} is not ASCII", hint=_punycode_hint(text))
    if ":" in name or name.startswith("["):
        return _address(name.removeprefix("[").removesuffix("]"), text=text)
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        return _address(name, text=text)
    if len(name) > LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadValueError(f"{quoted(text)} is not the name of a host", hint="as in `api.example.com`")
    return name


def _punycode_hint(text: str) -> str:
    try:
        spelt = text.encode("idna").decode("ascii")
    except UnicodeError:
        return "write its `xn--` form"
    return f"if it is meant, write `{spelt}`"


def _address(name: str, *, text: str) -> str:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        raise BadValueError(
            f"{quoted(text)} is not the name of a host", hint="an address has four decimal parts"
        ) from None
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise BadValueError(f"{quoted(text)} is another form of an address", hint="write the plain address")
    return str(address)


def is_address(name: str) -> bool:
    """Tell an address from a name.

    Args:
        name: A canonical host.

    Returns:
        True for an IPv4 or IPv6 address.
    """
    return ":" in name or name.rpartition(".")[2].isdigit()


@dataclass(frozen=True, slots=True)
class HostPattern:
    """A host that a rule names: one name whole, or every name below one.

    Attributes:
        text: The canonical pattern.
        at: Where it was written; does not count when two are compared.
    """

    text: str
    at: RuleAt | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Bring the pattern into its one form, or refuse it."""
        object.__setattr__(self, "text", _canonical_pattern(self.text))

    @classmethod
    def parse(cls, text: str, *, at: RuleAt | None = None) -> HostPattern:
        """Read a pattern.

        Args:
            text: `api.example.com`, or `*.example.com` for every name below it, the name itself not included.
            at: Where it was written.

        Returns:
            The pattern.

        Raises:
            BadValueError: When it is no host, has a port or scheme, or its wildcard is too wide.
        """
        return cls(text, at)

    @property
    def is_wild(self) -> bool:
        """Whether more than one name is meant."""
        return self.text.startswith("*.")

    def matches(self, host: str) -> bool:
        """Tell whether a host is meant.

        Args:
            host: A canonical host.

        Returns:
            True when the whole name matches, on the border of a label.
        """
        if self.is_wild:
            return host.endswith(self.text[1:]) and len(host) > len(self.text) - 1
        return host == self.text

    @property
    def name(self) -> str:
        """The name itself, or the one below which every name is meant."""
        return self.text.removeprefix("*.")

    def meet(self, other: HostPattern) -> HostPattern | None:
        """Keep the hosts that both mean.

        Args:
            other: The other pattern.

        Returns:
            The narrower one, or None when they have no host in common.
        """
        if self.text == other.text or other._covers(self):
            return self
        return other if self._covers(other) else None

    def _covers(self, other: HostPattern) -> bool:
        if not self.is_wild:
            return False
        return other.text.endswith(self.text[1:]) and other.text != self.text


def _canonical_pattern(text: str) -> str:
    if "/" in text:
        what = "a URL" if "://" in text else "a path or a range"
        raise BadValueError(
            f"{quoted(text)} is {what}, not a host", hint="the host alone; `paths:` and `ports:` exist"
        )
    if port := _PORT.fullmatch(text):
        raise BadValueError(
            f"host {quoted(text)} has a port", hint=f"write `ports: [{port[1] or port[2]}]` beside it"
        )
    if not text.startswith("*"):
        if "*" in text:
            raise BadValueError(
                f"host {quoted(text)} has `*` inside", hint="only `*.` at the front is a wildcard"
            )
        return canonical_host(text)
    if not text.startswith("*.") or "*" in text[1:]:
        raise BadValueError(f"host {quoted(text)} is too wide", hint="name each host, or use `*.example.com`")
    base = canonical_host(text[2:])
    if is_address(base):
        raise BadValueError(f"host {quoted(text)} has a wildcard before an address", hint="name each host")
    if is_public_suffix(base):
        raise BadValueError(
            f"host {quoted(text)} is too wide: anyone may own a name below {quoted(base)}",
            hint="name each host",
        )
    return f"*.{base}"


def is_public_suffix(name: str) -> bool:
    """Tell whether anyone may own a name directly below one.

    Args:
        name: A canonical host.

    Returns:
        True for a top-level name, for what the Public Suffix List says, and for our own list.
    """
    return "." not in name or name in host_lists().suffixes or spans_owners(name)


def shared_reason(pattern: HostPattern) -> str | None:
    """Tell why what is sent to a host can end up with a stranger.

    Args:
        pattern: A rule's host.

    Returns:
        The reason, or None when the host is not known as a shared one.
    """
    for known, why in host_lists().shared:
        if _share_a_name(known, pattern):
            return why
    base = pattern.name.partition(".")[2]
    return "anyone may own a name there" if "." in base and is_public_suffix(base) else None


def told_reason(pattern: HostPattern) -> str | None:
    """Tell why a stranger learns what a host is asked for, even with GET.

    Args:
        pattern: A rule's host.

    Returns:
        The reason, or None when the host is not known as one that tells.
    """
    return next((why for known, why in host_lists().told if _share_a_name(known, pattern)), None)


def is_private(pattern: HostPattern) -> bool:
    """Tell whether a host is on no public network, by its name or address alone.

    Args:
        pattern: A rule's host.

    Returns:
        True for addresses that are not global, and names of private networks.
    """
    if is_address(pattern.name):
        return not ipaddress.ip_address(pattern.name).is_global
    return pattern.name.rpartition(".")[2] in host_lists().private or "." not in pattern.name


def _share_a_name(known: str, pattern: HostPattern) -> bool:
    if known.startswith("*."):
        wider = pattern.is_wild and known.endswith(pattern.text[1:])
        return wider or pattern.name.endswith(known[1:])
    return pattern.matches(known)
