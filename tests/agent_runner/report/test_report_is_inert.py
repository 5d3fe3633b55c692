"""What an agent wrote does nothing on a report's page but be read."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.report.page import asset, data_block, environment
from agent_runner.report.step import Absent, Prose, Table, Words
from agent_runner.report.visible import CLOSE, OPEN, markup, plain, visible, visible_line
from audit import event
from audit.escape import is_hidden
from audit.fields import Reason
from tests.agent_runner.report.reading import Page, page_of
from tests.agent_runner.report.story import begin, ordinary

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]><img src=x onerror=alert(2)>",
    "javascript:alert(3)",
    "\"'><svg/onload=alert(4)>",
    "</style><style>*{display:none}</style>",
    "{{ 7*7 }}{% raw %}${7*7}",
    "\u202e\u2066evil\u2069",
    "\x1b[2J\x00\x07\r\x7f\x9b",
    "\u2028\u2029\ufeff\u200b\U000e0041\u115f",
    "\ud800 \udfff",
    f"{OPEN}forged{CLOSE}",
)
ALL = "\n".join(HOSTILE)


async def hostile(state: Path) -> None:
    """Write a session in which everything that an agent or a server can choose is hostile."""
    story = begin(state)
    async with story.journal:
        await story.open(ALL)
        await story.message("user", ALL)
        await story.model(ALL)
        reason = Reason(code=ALL, message=ALL, hint=ALL)
        await story.intend(*HOSTILE, verdict="denied", reasons=(reason,))
        number = await story.intend("run", *HOSTILE)
        await story.record(event.ProcessStarted(action=number, argv=("sh", *HOSTILE), folder=ALL))
        await story.finish(number, ALL.encode("utf-8", "surrogatepass") + b"\xff\xfe", detail=ALL)
        await story.close()


async def test_nothing_hostile_becomes_an_element_an_attribute_or_a_script(tmp_path: Path) -> None:
    await hostile(tmp_path / "state")
    await ordinary(tmp_path / "other")

    bad, good = page_of(tmp_path / "state"), page_of(tmp_path / "other")

    names = {(name, *sorted(attributes)) for name, attributes in good.elements}
    assert {(name, *sorted(attributes)) for name, attributes in bad.elements} - names <= {("span", "class")}
    assert not [a for _, attributes in bad.elements for a in attributes if a.startswith("on") or a == "style"]
    assert bad.scripts["None"] == good.scripts["None"] == asset("report.js")
    assert bad.styles == good.styles


async def test_no_hidden_character_is_left_on_a_page(tmp_path: Path) -> None:
    await hostile(tmp_path / "state")

    page = page_of(tmp_path / "state")

    raw = page.scripts["application/json"] + page.text
    assert {char for char in raw if is_hidden(char) and char != "\n"} == set()
    assert "\\u202e" in page.text
    steps = page.data["steps"]
    assert plain(steps[6]["words"][7]) == "\\u202e\\u2066evil\\u2069"
    assert plain(steps[6]["words"][10]) == "\\ud800 \\udfff"
    label = next(part["label"] for part in steps[7]["parts"] if part["form"] == "words")
    assert label == visible_line(f"started in {ALL}")


@pytest.mark.parametrize(
    "part",
    [
        Words(label=ALL, words=()),
        Prose(label=ALL, text=""),
        Table(label=ALL, head=()),
        Absent(label=ALL, why=""),
    ],
    ids=lambda part: type(part).__name__,
)
def test_the_label_of_every_part_is_spelled_out(part: Words | Prose | Table | Absent) -> None:
    assert part.as_json()["label"] == visible_line(ALL)


async def test_a_page_names_nothing_that_could_be_fetched(tmp_path: Path) -> None:
    """The page works from a file or a CI artifact, and tells nobody that it was opened."""
    await hostile(tmp_path / "state")

    page = page_of(tmp_path / "state")

    fetching = {
        "src",
        "srcset",
        "href",
        "action",
        "formaction",
        "data",
        "poster",
        "background",
        "ping",
        "xlink:href",
    }
    named = {a[name] for _, a in page.elements for name in fetching & a.keys()}
    assert {target for target in named if not (target or "").startswith("#")} == set()
    assert "url(" not in "".join(page.styles)
    assert "@import" not in "".join(page.styles)
    assert not {"iframe", "object", "embed", "img", "link", "base", "video", "audio"} & {
        n for n, _ in page.elements
    }


async def test_the_content_policy_allows_one_script_and_one_style_sheet_by_hash(tmp_path: Path) -> None:
    await ordinary(tmp_path / "state")

    page = page_of(tmp_path / "state")

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert page.policy == [
        "default-src 'none'",
        f"script-src {hashed(page.scripts['None'])}",
        f"style-src {hashed(page.styles[0])}",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    head = [name for name, _ in page.elements]
    assert head.index("style") > head.index("meta")


def test_the_script_has_no_way_to_make_code_or_markup_of_text() -> None:
    script = asset("report.js")

    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "import(",
    ):
        assert way not in script.replace("no innerHTML here", "")


@given(st.text(st.characters()))
def test_data_in_a_script_element_never_ends_it_and_reads_back(text: str) -> None:
    told = {"text": visible(text), "line": visible_line(text)}

    block = str(data_block(told))

    assert not set("<>&\u2028\u2029") & set(block)
    assert json.loads(block) == told


@given(st.text(st.characters()))
def test_a_spelled_character_is_always_told_from_one_that_was_written(text: str) -> None:
    shown = visible_line(text)

    pieces = shown.replace(CLOSE, OPEN).split(OPEN)
    assert len(pieces) % 2 == 1
    assert not any(is_hidden(char) for piece in pieces for char in piece)
    assert "".join(char for char in text if not is_hidden(char)) == "".join(pieces[::2])
    assert len(pieces) // 2 == sum(map(is_hidden, text))


def test_an_escape_that_was_written_is_no_spelled_character() -> None:
    assert markup("\\u202e") == "\\u202e"
    assert markup("\u202e") == '<span class="spelled">\\u202e</span>'
    assert markup("<b>\x00") == '&lt;b&gt;<span class="spelled">\\x00</span>'


def test_a_template_cannot_forget_to_escape() -> None:
    made = environment().from_string("{{ text }}{{ text | upper }}").render(text="<b>\u202e")

    assert (
        made
        == '&lt;b&gt;<span class="spelled">\\u202e</span>' + '&lt;B&gt;<span class="spelled">\\u202e</span>'
    )


def test_what_is_no_text_is_escaped_too() -> None:
    assert environment().from_string("{{ words }}").render(words=["<b>"]) == "[&#39;&lt;b&gt;&#39;]"


def test_a_name_that_the_page_does_not_know_is_an_error_and_no_blank() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        environment().from_string("{{ verdict }}").render()


def test_the_readers_parser_would_see_an_element_that_came_through() -> None:
    """The checks above can fail."""
    page = Page("<p onclick=x>a</p><script>b</script>")

    assert page.elements == [("p", {"onclick": "x"}), ("script", {})]
    assert page.scripts == {"None": "b"}
