"""Speak with a gate's proxy as a hostile program would: raw bytes, SOCKS5, TLS inside a tunnel."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sandbox.egress.ground import Authority


async def say(port: int, data: bytes, *, more: bytes = b"") -> bytes:
    """Send bytes to a proxy and return everything that it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    answer = b""
    if more:
        answer = await asyncio.wait_for(reader.read(4096), 30)
        writer.write(more)
        await writer.drain()
    try:
        async with asyncio.timeout(60):
            while data := await reader.read(65536):
                answer += data
    except ConnectionResetError:
        pass
    writer.transport.abort()
    return answer


def told(answer: bytes) -> str:
    """Return the code of a refusal's JSON body, or the status line of what is no refusal."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 403 " not in head.split(b"\r\n")[0]:
        return head.split(b"\r\n")[0].decode()
    code = json.loads(body)["code"]
    assert f"x-pairlock-code: {code}".encode() in head
    return str(code)


def socks(name: bytes, port: int, *, kind: int = 3) -> tuple[bytes, bytes]:
    """Return a SOCKS5 greeting and request."""
    spelt = bytes([len(name)]) + name if kind == 3 else name
    return b"\x05\x01\x00", bytes([5, 1, 0, kind]) + spelt + port.to_bytes(2)


async def socks_code(port: int, name: bytes, to: int, *, kind: int = 3) -> int:
    greeting, request = socks(name, to, kind=kind)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(greeting + request)
    answer = await asyncio.wait_for(reader.readexactly(12), 30)
    writer.transport.abort()
    return answer[3]


async def handshake(port: int, head: bytes, *, name: str, authority: Authority) -> str:
    """Shake hands inside a tunnel, asking for a name; say `done` or `refused`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    context = ssl.create_default_context(cafile=authority.file)
    context.check_hostname = False
    try:
        await asyncio.wait_for(writer.start_tls(context, server_hostname=name), 30)
    except (OSError, EOFError):
        return "refused"
    else:
        return "done"
    finally:
        writer.transport.abort()


async def through_tls(port: int, to: int, path: str, certificate: str) -> bytes:
    """Ask for a path inside a tunnel whose TLS ends at the gate, trusting the session's authority alone."""
    asked = f"GET {path} HTTP/1.1\r\nHost: localhost:{to}\r\nConnection: close\r\n\r\n".encode()
    return await say_inside_tls(port, to, asked, certificate)


async def say_inside_tls(port: int, to: int, asked: bytes, certificate: str) -> bytes:
    """Send bytes inside a tunnel whose TLS ends at the gate, and return everything that is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"CONNECT localhost:{to} HTTP/1.1\r\nHost: localhost:{to}\r\n\r\n".encode())
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    context = ssl.create_default_context(cadata=certificate)
    await asyncio.wait_for(writer.start_tls(context, server_hostname="localhost"), 30)
    writer.write(asked)
    answer = bytearray()
    with suppress(OSError):  # an answer that was cut off ends so
        while piece := await asyncio.wait_for(reader.read(65536), 30):
            answer += piece
    writer.transport.abort()
    return bytes(answer)
