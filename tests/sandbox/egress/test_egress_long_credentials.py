"""A credential of thousands of characters, with former values: masked as a short one is, and as cheaply."""

from __future__ import annotations

import random
import string
import time
import tracemalloc
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.egress.credentials import Credential, Mask
from tests.sandbox.egress.ground import Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from tests.sandbox.egress.ground import Authority

LONG_CHARACTERS = 3000
PIECE_BYTES = 16 * 1024
MOST_TIMES_SLOWER = 15
"""Searching for a long text takes about five times as long; a set of all beginnings took hundreds."""
MOST_TIMES_LARGER = 30
"""Of memory, for a value of 30 times the length; by the square it would be 900 times."""
_CHARACTERS = string.ascii_letters + string.digits + "-_."


def credential_of(characters: int) -> Credential:
    """Return a credential with two former values, each of so many characters."""
    drawn = random.Random(characters)  # noqa: S311 - the same in every run
    values = ["".join(drawn.choices(_CHARACTERS, k=characters)) for _ in range(3)]
    return Credential(value=values[0], former=(values[1], values[2]))


def seconds_of(mask: Mask, piece: bytes) -> float:
    """Return the least of a few times that this process takes for a piece of a stream."""
    took = []
    for _ in range(7):
        before = time.process_time()
        for _ in range(4):
            mask.feed(piece)
        took.append(time.process_time() - before)
    return min(took)


def memory_of(characters: int) -> int:
    """Return the bytes that a mask takes beside the echoes that it is made of."""
    echoes = credential_of(characters).echoes()
    tracemalloc.start()
    try:
        mask = Mask(echoes)
        mask.feed(b"data: one\n\n")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def test_a_long_credential_with_former_values_is_sent_and_its_echoes_are_masked(
    authority: Authority,
) -> None:
    """The process has 2 GiB of address space, which a set of all beginnings of all echoes overran."""
    long = credential_of(LONG_CHARACTERS)

    async def known(name: str) -> Credential | None:
        return long if name == "c" else None

    body = f"<{long.value}> <{long.former[0]}> <{long.former[1].encode().hex()}>".encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with serving(Server(answer), tls=authority.server("localhost")) as server:
        keyed = rules(rule("localhost", server.port, credential="c"))
        async with gate_for(keyed, ca_file=authority.file, credentials=known) as kept:
            url = f"https://localhost:{server.port}/"
            answers = [await kept.gate.request("GET", url) for _ in range(2)]

    stars = [b"<" + b"*" * count * LONG_CHARACTERS + b">" for count in (1, 1, 2)]
    assert [each.body for each in answers] == [b" ".join(stars)] * 2
    assert all(f"authorization: Bearer {long.value}\r\n".encode() in head for head in server.heads)


def test_a_masks_memory_grows_by_a_credentials_length_at_most() -> None:
    short, long = memory_of(100), memory_of(LONG_CHARACTERS)

    assert long < MOST_TIMES_LARGER * short


def test_a_long_credential_does_not_slow_a_stream_down_as_it_is_longer() -> None:
    """Nor does a server that begins an echo over and over: a run of its first character, and of its head."""
    piece = b"data: some words of a stream\n\n" * (PIECE_BYTES // 30)
    long = Mask(credential_of(LONG_CHARACTERS).echoes())
    value = credential_of(LONG_CHARACTERS).value.encode()
    runs = [(value[:length] * PIECE_BYTES)[:PIECE_BYTES] for length in (1, 15, 16, 17, 100)]

    floor = seconds_of(Mask(credential_of(40).echoes()), piece)
    slowest = max(seconds_of(long, each) for each in (piece, *runs))

    assert slowest < MOST_TIMES_SLOWER * floor


@given(
    st.lists(st.text("ab", min_size=2, max_size=60), min_size=1, max_size=4),
    st.text("abc", max_size=80),
    st.integers(0, 60),
)
@example(["a" * 40], "c", 39)
@example(["ab" * 8 + "b", "b" * 17], "", 16)
def test_a_stream_is_held_up_by_just_what_may_begin_an_echo(
    texts: list[str], before: str, begun: int
) -> None:
    """However long the echo and however often its beginning comes again in itself."""
    echoes = [text.encode() for text in texts]
    data = before.encode() + echoes[0][:begun]
    beginnings = {echo[:end] for echo in echoes for end in range(1, len(echo))}
    held = max((count for count in range(1, len(data) + 1) if data[-count:] in beginnings), default=0)

    let_through = Mask(frozenset(echoes)).feed(data)

    assert len(data) - len(let_through) == held
