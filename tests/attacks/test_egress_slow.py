"""Attacks by being slow, B84: heads that do not end, readers that read nothing, servers that take nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from tests.attacks.through_proxy import say
from tests.sandbox.egress.ground import Server, gate_for, loopback_proxy, rule, rules, serving

MIB = 1024 * 1024


async def test_b84_slow_heads_and_slow_readers_cost_the_gate_little_memory() -> None:
    """150 heads that never end, and 40 readers of 8 MB that read nothing; others are served meanwhile."""
    large = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n" + bytes(8_000_000))
    async with (
        serving(large),
        serving(Server()) as quick,
        gate_for(
            rules(rule("127.0.0.1", large.port), rule("127.0.0.1", quick.port), received_bytes=10**9),
            proxy=True,
        ) as kept,
        loopback_proxy(kept) as port,
    ):
        before = resident(kept.gate.pid)
        opened = []
        for number in range(190):
            at = f"127.0.0.1:{large.port}"
            end = "\r\n" if number < 40 else "x: " + "y" * 8000 + "\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(f"GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n{end}".encode())
            opened.append((reader, writer))
        at = f"127.0.0.1:{quick.port}"
        one = f"GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n".encode()
        answers = [await say(port, one) for _ in range(3)]
        grown = resident(kept.gate.pid) - before
        for _, writer in opened:
            writer.transport.abort()

    assert all(answer.endswith(b"hello") for answer in answers)
    assert grown < 64 * MIB


async def take_nothing(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, over: asyncio.Event
) -> None:
    """Be a server that reads nothing until it is over."""
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await over.wait()
    writer.transport.abort()


async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter, over: asyncio.Event) -> None:
    """Be a server that answers with a byte a second until it is over."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n")
    while not over.is_set():
        writer.write(b"x")
        await asyncio.sleep(1)
    writer.transport.abort()


async def upload(writer: asyncio.StreamWriter, head: bytes) -> None:
    """Send a body for as long as it is taken."""
    writer.write(head)
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def test_b84_servers_that_take_nothing_or_drip_cost_the_gate_little_memory() -> None:
    """40 uploads that nobody reads, 40 answers of a byte a second; others are served meanwhile."""
    over, writing = asyncio.Event(), set()
    deaf = await asyncio.start_server(partial(take_nothing, over=over), "127.0.0.1", 0)
    slow = await asyncio.start_server(partial(drip, over=over), "127.0.0.1", 0)
    to, drop = (server.sockets[0].getsockname()[1] for server in (deaf, slow))
    allowed = [rule("127.0.0.1", to, methods=("POST",)), rule("127.0.0.1", drop)]
    async with (
        serving(Server()) as quick,
        gate_for(rules(*allowed, rule("127.0.0.1", quick.port), sent_bytes=10**9), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        before = resident(kept.gate.pid)
        opened = []
        for number in range(80):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            opened.append(writer)
            at = f"127.0.0.1:{(to, drop)[number % 2]}"
            if number % 2:
                writer.write(f"GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n".encode())
            else:
                head = f"POST http://{at}/ HTTP/1.1\r\nHost: {at}\r\nContent-Length: 99999999\r\n\r\n"
                writing.add(asyncio.create_task(upload(writer, head.encode())))
        at = f"127.0.0.1:{quick.port}"
        one = f"GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n".encode()
        answers = [await say(port, one) for _ in range(3)]
        grown = resident(kept.gate.pid) - before
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)
        for writer in opened:
            writer.transport.abort()
        over.set()
        for server in (deaf, slow):
            server.close()
        await asyncio.sleep(1.5)  # until each has seen it

    assert all(answer.endswith(b"hello") for answer in answers)
    assert grown < 64 * MIB


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
