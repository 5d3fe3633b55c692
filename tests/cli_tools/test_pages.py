"""Output of any size and content is shown in pages that lose nothing and stay bounded."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli_tools import observation
from cli_tools.command import Outcome
from cli_tools.earlier import Content
from cli_tools.neutral import neutralise, restore

PIECE = st.sampled_from(
    [b"a", b"\n", b"\xc3\xa9", b"\xf0\x9f\x98\x80", b"\xff", b"\x1b", b"<|im_start|>", b"\x80" * 5]
)
RAW = st.lists(PIECE, min_size=1, max_size=60).map(b"".join)


@given(RAW, st.integers(16, 80))
def test_pages_put_together_are_the_content(raw: bytes, most: int) -> None:
    start, shown = 0, b""
    while start < len(raw):
        text, end = Content(raw=raw).page(start, most)
        assert end > start
        shown += restore(text.encode())
        start = end

    assert shown == raw


@given(RAW, st.integers(16, 80))
def test_pages_of_what_is_neutral_already_are_put_together_as_well(raw: bytes, most: int) -> None:
    text = neutralise(raw)
    content = Content(raw=text.encode(), is_neutral=True)

    start, shown = 0, []
    while start < len(content.raw):
        page, start = content.page(start, most)
        shown.append(page)

    assert "".join(shown) == text
    assert b"".join(restore(page.encode()) for page in shown) == raw


@pytest.mark.parametrize(
    "unit", [b"\x1b", b"\xff", b"<s>", "\u202e".encode(), b"x", b"\xe2\x9f\xa61b\xe2\x9f\xa7"]
)
def test_the_largest_output_of_any_kind_is_shown_bounded_and_at_once(unit: bytes) -> None:
    """8 MiB of nothing but escapes must not stop the loop: only what is shown is neutralised."""
    raw = unit * ((8 << 20) // len(unit))
    start = time.process_time()

    seen = observation.of_outcome(Outcome(exit_code=0, output=raw), action="x/1", command="run", pages=True)

    assert len(seen.text) < observation.TEXT_LIMIT_BYTES * 1.3 + 200
    assert time.process_time() - start < 10.0  # it takes hundredths; all of it would take twice that
    assert seen.cut_from == Content(raw=raw)


def test_a_page_ends_before_a_control_token_and_never_in_it() -> None:
    """Half a token on each of two pages would be a whole one where they are put together."""
    raw = b"x" * 90 + b"<|im_start|>" + b"y" * 90
    content = Content(raw=raw)

    ends = {content.page(0, size)[1] for size in range(80, 120)}

    assert not ends & set(range(91, 102))
    assert {90, 102} <= ends


def test_what_fits_is_shown_whole() -> None:
    raw = b"line\n" * 9600

    seen = observation.of_outcome(Outcome(exit_code=0, output=raw), action="x/1", command="run")

    assert seen.text == raw.decode().rstrip("\n")
    assert seen.cut_from is None


def test_both_outputs_and_every_note_are_told() -> None:
    outcome = Outcome(
        exit_code=3, output=b"out", errors=b"err\n", note="n", truncated_bytes=7, timed_out=True
    )

    seen = observation.of_outcome(outcome, action="x/1", command="run")

    assert seen.text.splitlines() == [
        "out",
        "stderr:",
        "err",
        "note: ended because its time was over",
        "note: 7 bytes of output were dropped",
        "note: n",
        "exit code 3",
    ]
