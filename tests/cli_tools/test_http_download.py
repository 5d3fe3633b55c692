"""`http download`, from a server on loopback through the real egress gate into a real guest's workspace."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from policies.capability import Capability
from tests.cli_tools.door import Door, open_door
from tests.sandbox.egress.ground import Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POLICY = """version: 1
name: x
grant: [files, network]
network: {allow: [{host: 127.0.0.1, ports: [PORT], paths: ["/x"], private: true}]}
commands: {allow: ["http *", "files *"]}
"""
CONTENT = bytes(range(256)) * 4096  # 1 MiB


def page(body: bytes, status: str = "200 OK", extra: str = "") -> Server:
    head = f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return Server(head.encode() + body)


@contextlib.asynccontextmanager
async def standing(place: Path, server: Server, policy: str = POLICY) -> AsyncIterator[Door]:
    async with (
        serving(server),
        gate_for(rules(rule("127.0.0.1", server.port))) as kept,
        open_door(place, policy.replace("PORT", str(server.port)), egress=kept.gate) as door,
    ):
        yield door


async def test_a_body_is_saved_byte_for_byte_and_is_in_the_ledger(place: Path) -> None:
    server = page(CONTENT)
    async with standing(place, server) as door:
        seen = await door.line(f"http download http://127.0.0.1:{server.port}/x in/a.bin")
        (finished,) = door.entries("action.finished")

    assert seen.text == f"saved in/a.bin, {len(CONTENT)} bytes, text/html"
    assert (door.folder / "in" / "a.bin").read_bytes() == CONTENT
    assert [(file["path"], file["access"]) for file in finished["files"]] == [("in/a.bin", "created")]


@pytest.mark.parametrize(
    ("status", "extra", "said"),
    [
        ("404 Not Found", "", "HTTP 404 Not Found"),
        ("302 Found", "location: http://evil.example/\r\n", "HTTP 302 Found\nlocation: http://evil.example/"),
        ("206 Partial Content", "", "HTTP 206 Partial Content"),
    ],
)
async def test_an_answer_that_is_not_the_file_is_told_and_not_saved(
    place: Path, status: str, extra: str, said: str
) -> None:
    server = page(b"no", status, extra)
    async with standing(place, server) as door:
        seen = await door.line(f"http download http://127.0.0.1:{server.port}/x a.bin")

    code = status.partition(" ")[0]
    note = f"note: nothing was saved: the answer was {code}, expected 200\nexit code 1"
    assert seen.text == f"{said}\n{note}"
    assert not (door.folder / "a.bin").exists()


async def test_a_body_that_is_too_large_is_not_saved_in_part(place: Path) -> None:
    server = page(bytes(33 * 1024 * 1024))
    async with standing(place, server) as door:
        seen = await door.line(f"http download http://127.0.0.1:{server.port}/x a.bin")

    assert seen.text == "error (too-large): the body has more than 33554432 bytes; nothing is saved"
    assert not (door.folder / "a.bin").exists()


async def test_host_path_and_place_are_each_decided(place: Path) -> None:
    server = page(CONTENT)
    async with standing(place, server) as door:
        here = f"http://127.0.0.1:{server.port}"
        denied = [
            await door.line(line)
            for line in (
                "http download https://evil.example/x a.bin",
                f"http download {here}/y a.bin",
                f"http download {here}/x .git/hooks/pre-commit",
                f"http download {here}/x .env",
            )
        ]
        climbing = await door.line(f"http download {here}/x ../a.bin")

    assert [[reason.code for reason in seen.reasons] for seen in denied] == [
        ["host"],
        ["path"],
        ["protected"],
        ["hidden"],
    ]
    assert climbing.kind == "error"
    assert server.heads == []


@pytest.mark.parametrize(("grant", "missing"), [("files", "network"), ("network", "files")])
async def test_it_needs_files_and_network(place: Path, grant: str, missing: str) -> None:
    policy = f"version: 1\nname: x\ngrant: [{grant}]\ncommands: {{allow: [http download]}}\n"
    async with open_door(place, policy) as door:
        seen = await door.line("http download https://example.com/ a.bin")

    assert seen.reasons[0].code == "capability"
    assert Capability(missing).value in seen.reasons[0].message
