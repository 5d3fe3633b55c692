"""Turn a name that a rule allows into checked, pinned addresses: once, here, and nowhere else."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Final, Protocol

from policies.hosts import is_address
from sandbox.egress.addresses import Address, HostNetworks, check, parse_all
from sandbox.egress.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

RESOLVE_SECONDS: Final = 10.0
MOST_ADDRESSES: Final = 8
"""How many addresses of a name are looked at; the rest of a long answer is not dialled."""


class Resolver(Protocol):
    """Find the addresses of a name."""

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Return the addresses as text, in the order in which to try them.

        Raises:
            OSError: When the name has none, or nobody answered.
        """
        ...


class SystemResolver:
    """Ask the host's own resolver."""

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Return what the system finds; its search list is empty in this process: `process`."""
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return tuple(str(entry[4][0]) for entry in found)


async def pinned(
    name: str, *, allow_private: bool, resolver: Resolver, networks: Callable[[], HostNetworks]
) -> tuple[Address, ...]:
    """Resolve a name once and check every address of the answer.

    One bad address refuses the whole answer: a name at once public and private is an attack or a mistake.

    Args:
        name: A canonical host that a rule allows.
        allow_private: Whether that rule says that private addresses may be reached.
        resolver: Who is asked; an address is not.
        networks: What the host itself holds, read now.

    Returns:
        The addresses to dial, in order.

    Raises:
        EgressDeniedError: When an address must not be dialled.
        UpstreamError: When there is none.
    """
    found = (ipaddress.ip_address(name),) if is_address(name) else await _ask(resolver, name)
    host = networks()
    for address in found:
        check(address, name=name, host=host, allow_private=allow_private)
    return found[:MOST_ADDRESSES]


async def _ask(resolver: Resolver, name: str) -> tuple[Address, ...]:
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = parse_all(await resolver.addresses(name))
    except TimeoutError:
        raise UpstreamError("resolve", f"`{name}` was not resolved within {RESOLVE_SECONDS:.0f} s") from None
    except (OSError, UnicodeError) as error:
        raise UpstreamError("resolve", f"`{name}` has no address", hint=str(error)[:120]) from error
    if not found:
        raise UpstreamError("resolve", f"`{name}` has no address")
    return found
