"""Pages and JSON made to harm whoever reads them become text in bounded time and memory, and say the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress.indented import MOST_WORDS, indented
from sandbox.egress.rendering import rendered

MIB = 1 << 20
HOSTILE = {
    "a number of 5,000 digits": ("text/html", b"<p>&#" + b"1" * 5000 + b";x"),
    "a number of 4 million digits": ("text/html", b"&#" + b"9" * (4 * MIB)),
    "800,000 levels": ("text/html", b"<div>" * 800_000),
    "4 million signs": ("text/html", b"<" * (4 * MIB)),
    "tags that never end": ("text/html", b"<a href=" * 500_000),
    "a million lines": ("text/html", b"<br>" * MIB),
    "a million entities": ("text/html", b"&amp" * MIB),
    "scripts in scripts": ("text/html", b"<script>" * 500_000),
    "100,000 lists": ("application/json", b"[" * 100_000 + b"]" * 100_000),
    "wide within deep": ("application/json", b"[" * 500 + b"1," * MIB + b"1" + b"]" * 500),
    "an integer of 1 MB": ("application/json", b"[" + b"9" * MIB + b"]"),
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_rendered_in_bounded_memory(name: str) -> None:
    """1 GiB of addresses for a body of 5 MB at most, in a process of its own."""
    kind, body = HOSTILE[name]
    look = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from sandbox.egress.rendering import rendered\n"
        "print(len(rendered(sys.stdin.buffer.read(), sys.argv[1])))"
    )

    looked = subprocess.run(
        [sys.executable, "-c", look, kind], input=body, capture_output=True, timeout=120, check=False
    )

    assert looked.stderr == b""
    assert int(looked.stdout) <= 17 * MIB


def test_a_page_of_too_many_tags_says_that_it_goes_on() -> None:
    text = rendered(b"<p>first" + b"<b>" * 100_000 + b"last", "text/html").decode()

    assert text.startswith("first")
    assert text.endswith("[7 characters left out: the page has too many tags]\n")


def test_json_is_laid_out_and_nothing_in_it_changes() -> None:
    """Names that come twice, digits, exponents: what a program would read otherwise is shown as it came."""
    body = b'{"a":1.10,"a":1e400,"b":[],"c":{},"d":[-0,12345678901234567890123,{"e":"\\u00e9"}]}'

    assert (
        rendered(body, "application/json").decode()
        == """{
  "a": 1.10,
  "a": 1e400,
  "b": [],
  "c": {},
  "d": [
    -0,
    12345678901234567890123,
    {
      "e": "\u00e9"
    }
  ]
}
"""
    )


def test_half_of_a_character_stays_the_escape_that_it_was() -> None:
    """Two halves that belong together are a character."""
    body = b'{"\\uDC00":["\\ud800\\n","a\\ud83d\\ude00\\u0041"]}'

    made = rendered(body, "application/json").decode()

    assert made == '{\n  "\\uDC00": [\n    "\\ud800\\n",\n    "a\U0001f600A"\n  ]\n}\n'
    assert json.loads(made) == json.loads(body)


@pytest.mark.parametrize("many", ['"",', '{"a":1},'])
def test_json_of_too_many_words_is_shown_as_it_is(many: str) -> None:
    """What lays it out is the egress process, in which every connection waits meanwhile."""
    signs = len(re.findall(r'"[^"]*"|[^"]', many))
    fits = "[" + many * ((MOST_WORDS - 3) // signs) + "1]"
    beyond = "[" + many * (MOST_WORDS // signs) + "1]"

    laid_out = json.dumps(json.loads(fits), indent=2) + "\n"
    assert indented(fits) == laid_out
    assert indented(beyond) == beyond


@given(VALUES)
def test_json_is_laid_out_as_the_standard_library_does(value: object) -> None:
    body = json.dumps(value).encode()

    laid_out = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    assert rendered(body, "application/json") == laid_out.encode("utf-8", "replace")


@given(st.text(alphabet='[]{},:"\\\\ 1eé\n', max_size=30))
def test_what_is_no_json_is_shown_as_it_is(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        assert rendered(text.encode(), "application/json").decode() == text
