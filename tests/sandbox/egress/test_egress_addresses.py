"""Addresses: each kind that must not be dialled, beside one that may."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from sandbox.egress.addresses import CONTAINER, OWN, HostNetworks, check, kind_of
from sandbox.egress.errors import EgressDeniedError, UpstreamError
from sandbox.egress.interfaces import host_networks
from sandbox.egress.resolve import SystemResolver, pinned

NOTHING = HostNetworks()
PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "2a00:1450:4001:830::200e",
    "172.32.0.1",
)
OPENABLE = (
    "127.0.0.1",
    "127.255.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
)
OPENABLE_IPV6 = ("::1", "fc00::1", "fd12::1", "fec0::1", "2001:db8::1", "3fff::1")
CLOSED = (
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "0.1.2.3",
    "169.254.1.1",
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.1",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2002:7f00:1::",
    "2002:0808:0808::1",
    "5f00::1",
    "4000::1",
    "fe80::1",
    "fe80::1%1",
    "2606:4700::5efe:7f00:1",
    "ff02::1",
    "fd00:ec2::254",
)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_may_be_dialled(text: str) -> None:
    check(ipaddress.ip_address(text), name="x.example", host=NOTHING, allow_private=False)


@pytest.mark.parametrize("text", [*OPENABLE, *OPENABLE_IPV6])
def test_a_private_address_is_dialled_only_where_the_rule_says_so(text: str) -> None:
    address = ipaddress.ip_address(text)

    check(address, name="x.example", host=NOTHING, allow_private=True)
    with pytest.raises(EgressDeniedError) as denied:
        check(address, name="x.example", host=NOTHING, allow_private=False)
    assert denied.value.code == "address"


@pytest.mark.parametrize("text", CLOSED)
@pytest.mark.parametrize("allow_private", [False, True])
def test_no_rule_opens_an_address_that_stands_for_another_or_for_a_machine(
    text: str, *, allow_private: bool
) -> None:
    with pytest.raises(EgressDeniedError) as denied:
        check(ipaddress.ip_address(text), name="x.example", host=NOTHING, allow_private=allow_private)
    assert denied.value.code == "address"


def test_the_hosts_own_public_address_and_container_networks_are_refused() -> None:
    host = HostNetworks(
        own=frozenset({ipaddress.ip_address("8.8.8.8")}), containers=(ipaddress.ip_network("9.9.0.0/16"),)
    )

    assert kind_of(ipaddress.ip_address("8.8.8.8"), host) == OWN
    assert kind_of(ipaddress.ip_address("9.9.1.1"), host) == CONTAINER
    assert kind_of(ipaddress.ip_address("8.8.4.4"), host) == ""


def test_this_hosts_loopback_address_is_among_its_own() -> None:
    assert ipaddress.ip_address("127.0.0.1") in host_networks().own


class Answers:
    """A resolver that is told what to answer, and counts."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Return the next answer."""
        self.asked.append(name)
        return self.answers.pop(0)


async def test_b68_a_name_with_one_private_address_among_public_ones_is_refused_whole() -> None:
    resolver = Answers(("1.1.1.1", "10.0.0.1"))

    with pytest.raises(EgressDeniedError) as denied:
        await pinned("x.example", allow_private=False, resolver=resolver, networks=HostNetworks)
    assert denied.value.code == "address"


async def test_a_name_with_public_addresses_is_pinned_in_the_resolvers_order() -> None:
    resolver = Answers(("2606:4700::1", "1.1.1.1", "1.1.1.1"))

    found = await pinned("x.example", allow_private=False, resolver=resolver, networks=HostNetworks)

    assert [str(address) for address in found] == ["2606:4700::1", "1.1.1.1"]
    assert resolver.asked == ["x.example"]


async def test_an_address_is_never_asked_of_a_resolver() -> None:
    resolver = Answers()

    found = await pinned("1.1.1.1", allow_private=False, resolver=resolver, networks=HostNetworks)

    assert [str(address) for address in found] == ["1.1.1.1"]
    assert resolver.asked == []


@pytest.mark.parametrize("answer", [(), ("nonsense",), ("1.1.1",)])
async def test_an_answer_without_an_address_is_a_failure(answer: tuple[str, ...]) -> None:
    with pytest.raises(UpstreamError) as failed:
        await pinned("x.example", allow_private=True, resolver=Answers(answer), networks=HostNetworks)
    assert failed.value.code == "resolve"


async def test_the_system_resolver_finds_this_host() -> None:
    found = await asyncio.wait_for(SystemResolver().addresses("localhost"), 30)
    assert "127.0.0.1" in found
