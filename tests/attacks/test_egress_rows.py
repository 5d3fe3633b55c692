"""Attacks on the way out, B70 to B72, B76 and B78 to B82: each beside its twin that goes through."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from policies.check import check
from policies.hosts import HostPattern
from policies.source import parse_policy
from sandbox.egress.addresses import kind_of
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.interfaces import host_networks
from sandbox.egress.rules import Rule, RuleSet, Wanted, decide
from tests.attacks.fake_outside import decision
from tests.promises.conftest import lab  # noqa: F401 - the fixture
from tests.sandbox.egress.ground import Server, gate_for, loopback_proxy, rule, rules, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.promises.conftest import Lab

RUNTIMES = ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)]
AROUND = """
import os, socket, urllib.request

def tried(name, act):
    try:
        act()
    except (OSError, ValueError) as error:
        print(name, "refused", type(error).__name__)
    else:
        print(name, "reached")

def datagram(family, to):
    with socket.socket(family, socket.SOCK_DGRAM) as wire:
        wire.sendto(b"x" * 1200, to)

def direct(**without):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open("http://127.0.0.2:PORT/", timeout=20)

def by_no_proxy():
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    try:
        urllib.request.urlopen("http://127.0.0.2:PORT/", timeout=20)
    finally:
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = ""

tried("udp", lambda: datagram(socket.AF_INET, ("192.0.2.1", 53)))
tried("quic", lambda: datagram(socket.AF_INET, ("192.0.2.1", 443)))
tried("udp6", lambda: datagram(socket.AF_INET6, ("2001:db8::1", 53)))
tried("tcp6", lambda: socket.create_connection(("2001:db8::1", 443), timeout=20))
tried("ping", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).sendto(b"x", ("192.0.2.1", 0)))
tried("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tried("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
tried("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9))
tried("no-proxy", by_no_proxy)
tried("direct", direct)
for name in ("host.docker.internal", "gateway.docker.internal", "172.17.0.1", "169.254.169.254", "HOST"):
    tried(name, lambda: socket.create_connection((name, 80), timeout=20))
tried("proxy", lambda: urllib.request.urlopen("http://127.0.0.2:PORT/", timeout=60))
"""


@pytest.fixture
def counted() -> Iterator[tuple[int, list[int]]]:
    """Answer HTTP on a loopback address that the container's NO_PROXY does not name, and count."""
    asked: list[int] = []
    with socket.create_server(("127.0.0.2", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    asked.append(1)
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], asked
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(30)


@pytest.mark.engine
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_b70_b71_b80_programs_leave_by_no_protocol_and_no_address_but_through_the_proxy(
    lab: Lab,  # noqa: F811 - the fixture
    counted: tuple[int, list[int]],
    runtime: str,
) -> None:
    """UDP, QUIC, IPv6, ICMP, raw, packets, vsock, clients that ignore the proxy, the host's own addresses."""
    port, asked = counted
    own = next((str(address) for address in host_networks().own if not address.is_loopback), "127.0.0.2")
    code = AROUND.replace("PORT", str(port)).replace("HOST", own).replace("'", '"')
    policy = f"""\
version: 1
name: around
grant: [network, exec]
commands: {{allow: [run]}}
exec: {{programs: any, contents: public}}
isolation: {{runtime: {runtime}}}
network: {{allow: [{{host: 127.0.0.2, ports: [{port}], private: true}}]}}
"""

    ran = lab.run(policy, [f"run -- python3 -c '{code}'"])

    said = dict(line.split()[:2] for line in ran.seen[0].text.splitlines() if len(line.split()) in {2, 3})
    assert said.pop("proxy", "") == "reached", ran.seen[0].text
    assert len(said) == 16, ran.seen[0].text
    assert set(said.values()) == {"refused"}, ran.seen[0].text
    assert len(asked) == 1


async def test_b72_a_gate_whose_process_cannot_lock_itself_down_never_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The container's own self-test, the attestation, has its attacks in test_attest_changed."""
    from sandbox.egress import process
    from sandbox.egress.errors import GateLostError

    without_filter = process._PROGRAM.replace(
        "from importlib", "ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); import sandbox.egress.confine as c; "
        "c._filter = lambda code: (_ for _ in ()).throw(OSError(38, 'no seccomp')); from importlib",
    )  # fmt: skip
    assert without_filter != process._PROGRAM
    monkeypatch.setattr(process, "_PROGRAM", without_filter)

    with pytest.raises(GateLostError, match="cannot lock itself down"):
        async with gate_for(rules()):
            pass

    monkeypatch.undo()
    async with gate_for(rules()) as kept:
        assert kept.gate.pid


@pytest.mark.parametrize("host", ["github.com", "gist.github.com", "storage.googleapis.com", "pypi.org"])
def test_b76_a_host_where_anyone_can_post_is_read_only_by_default_and_warned_of_otherwise(host: str) -> None:
    read = network_policy(f"{{host: {host}}}")
    written = network_policy(f"{{host: {host}, methods: [GET, POST]}}")

    rules_read = RuleSet.of(read.network)
    push = Wanted(scheme="https", host=host, port=443, method="POST", path="/x")
    assert getattr(decide(rules_read, push), "code", "allowed") == "method"
    assert getattr(decide(RuleSet.of(written.network), push), "code", "allowed") == "allowed"
    told = [finding.message for finding in check(written, ()).findings]
    assert any(host in message and "anyone may" in message for message in told), told


def network_policy(text: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - a policy
    return parse_policy(
        f"version: 1\nname: x\ngrant: [network]\nnetwork: {{allow: [{text}]}}\n", origin="test.yaml"
    )


async def test_b78_a_redirect_that_a_client_follows_is_a_request_of_its_own() -> None:
    """To a host that no rule names it is refused; to one that a rule names it goes on."""
    async with serving(Server()) as elsewhere, serving(Server()) as named:
        to = "HTTP/1.1 302 Found\r\nlocation: http://localhost:{}/\r\ncontent-length: 0\r\n\r\n"
        async with (
            serving(Server(to.format(elsewhere.port).encode())) as away,
            serving(Server(to.format(named.port).encode())) as within,
            gate_for(
                rules(*(rule("localhost", server.port) for server in (away, within, named))), proxy=True
            ) as kept,
            loopback_proxy(kept) as port,
        ):
            proxies = {"http": f"http://127.0.0.1:{port}"}
            refused, followed = [
                await asyncio.to_thread(
                    requests.get, f"http://localhost:{server.port}/", proxies=proxies, timeout=60
                )
                for server in (away, within)
            ]

    assert (refused.status_code, refused.json()["code"]) == (403, "host")
    assert (followed.status_code, followed.text) == (200, "hello")
    assert (elsewhere.connections, named.connections) == (0, 1)


async def test_b79_nobody_else_can_connect_to_the_gate() -> None:
    """Its process listens on nothing: connections come as descriptors, from its runner alone."""
    async with gate_for(rules(), proxy=True) as kept:
        listening = listening_sockets(kept.gate.pid)
    with socket.create_server(("127.0.0.1", 0)):
        twin = listening_sockets(os.getpid())

    assert listening == set()
    assert len(twin) >= 1


def listening_sockets(pid: int) -> set[str]:
    """Return the inodes of a process's sockets that others could connect to."""
    links: set[str] = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            links.add(str(entry.readlink()))
    held = {link[8:-1] for link in links if link.startswith("socket:[")}
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        rows = [line.split() for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
        found |= {row[9] for row in rows if row[3] == "0A"}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]]
    return held & (found | {row[6] for row in rows if int(row[3], 16) & 0x10000})


async def test_b80_the_hosts_own_addresses_and_its_containers_need_a_rule_that_says_so() -> None:
    own = host_networks()
    assert own.own
    async with serving(Server()) as server:
        closed = rule("127.0.0.1", server.port, allow_private=False)
        async with gate_for(rules(closed)) as kept:
            with pytest.raises(EgressDeniedError) as denied:
                await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")
        async with gate_for(rules(rule("127.0.0.1", server.port))) as opened:
            twin = await opened.gate.request("GET", f"http://127.0.0.1:{server.port}/")

    assert (denied.value.code, twin.status) == ("address", 200)
    for address in own.own:
        assert kind_of(address, own), address


async def test_b81_a_rule_is_for_a_name_and_not_for_whoever_shares_its_address() -> None:
    named = RuleSet(rules=(Rule(host=HostPattern.parse("a.example.com")),))

    assert await decision(named, "a.example.com") == "allowed"
    assert await decision(named, "1.1.1.1") == "host"  # what the fake resolver says of every name
    assert await decision(named, "neighbour.example.com") == "host"


async def test_b82_the_gate_uses_no_proxy_of_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind one, its check of addresses would be another's affair."""
    async with serving(Server()) as proxy, serving(Server()) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            for spelt in (name, name.lower()):
                monkeypatch.setenv(spelt, f"http://127.0.0.1:{proxy.port}")
        async with gate_for(rules(rule("localhost", server.port))) as kept:
            response = await kept.gate.request("GET", f"http://localhost:{server.port}/")

    assert (response.status, response.address) == (200, "127.0.0.1")
    assert (server.connections, proxy.connections) == (1, 0)
