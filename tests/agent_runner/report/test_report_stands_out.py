"""What stands out in a session is at the top of its page: denials and their rules, before anything else."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest

from agent_runner.report import charts
from agent_runner.report.actions import Actions
from agent_runner.report.connections import Connections
from agent_runner.report.fold import UNREADABLE
from agent_runner.report.moment import Moment
from agent_runner.report.notable import MOST_PLACES, MOST_ROWS, Alike, notable
from agent_runner.report.page import render
from agent_runner.report.step import Step, Why
from agent_runner.report.steps import Steps
from audit import event
from audit.fields import Reason
from tests.agent_runner.report.reading import Page, page_of, report_of
from tests.agent_runner.report.story import SESSION, begin, ordinary

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.report.step import Kind, Tag

REASONS = [("host", "p:2:1"), ("address", "p:1:1"), ("address", ""), ("address", "")]
QUIET = "Nothing was denied, nobody was asked, nothing failed."
NOT_ALL = (
    "Nothing among the steps that this page holds was denied, put to a person or failed; some are missing."
)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder with one ordinary session."""
    folder = tmp_path_factory.mktemp("standing-out") / "state"
    asyncio.run(ordinary(folder))
    return folder


def step(
    seq: int, *tags: Tag, kind: Kind = "action", name: str = "run", code: str = "", rule: str = ""
) -> Step:
    why = [Why(code=code, message=f"why of {seq}", hint="", rule=rule)] if code else []
    return Step(
        seq=seq, at="", begun_ms=seq, kind=kind, title="", name=name, tags=list(tags), parts=list(why)
    )


def rows(*steps: Step) -> list[tuple[Tag, int, list[int]]]:
    return [(row.tag, row.count, row.places) for row in notable(steps).rows]


def test_denials_and_limits_come_before_questions_and_failures(state: Path) -> None:
    found = notable(report_of(state).fold.steps.kept)

    assert [(row.tags, row.what.first, row.rule) for row in found.rows] == [
        (("denied",), ["http get 'https://evil.example/?q=1'"], "pairlock.yaml:14:5"),
        (("denied",), ["https evil.example:443"], "pairlock.yaml:14:5"),
        (("failed",), ["budget.tokens 401,222 of 400,000 tokens"], ""),
        (("noted",), ["budget-added turns=20,tokens=50k,wall_time=5m"], ""),
        (("asked", "allowed"), ["files remove 'notes with space.txt'"], "pairlock.yaml:21:9"),
        (("failed",), ["run pytest -q"], ""),
    ]
    assert found.left_out == 0


async def test_questions_are_told_apart_by_what_was_answered(tmp_path: Path) -> None:
    """A person's no, a clock's and no answer at all are three things, though one rule asked."""
    reasons = (Reason(code="command", message="`run` needs an approval"),)
    story = begin(tmp_path / "state")
    async with story.journal:
        await story.open("ask")
        for answer, by in (("timed_out", "nobody"), ("denied", "ada"), ("approved", "ada"), ("", "")):
            asked = await story.intend("run", "pytest", verdict="needs_approval", reasons=reasons)
            await story.record(event.ApprovalRequested(action=asked, digest="34" * 32, reasons=()))
            told = {"action": asked, "digest": "34" * 32, "by": by, "via": "terminal", "waited_ms": 600_000}
            if answer:
                await story.record(event.ApprovalAnswered.model_validate(told | {"answer": answer}))
        await story.close()
    report = report_of(tmp_path / "state")

    found = notable(report.fold.steps.kept)

    assert [(row.tags, row.why.first) for row in found.rows] == [
        (("asked", "denied"), ["command: `run` needs an approval; nobody answered"]),
        (("asked", "denied"), ["command: `run` needs an approval; denied by ada"]),
        (("asked", "allowed"), ["command: `run` needs an approval; approved by ada"]),
        (("asked",), ["command: `run` needs an approval; not answered"]),
    ]
    assert [step.notes for step in report.fold.steps.kept if step.answer] == [
        ["nobody answered", "waited 10 min"],
        ["denied by ada via terminal", "waited 10 min"],
        ["approved by ada via terminal", "waited 10 min"],
        [],
    ]


def test_the_page_names_the_rule_and_leads_to_the_entry_without_any_script(state: Path) -> None:
    page = page_of(state)

    links = [href for name, told in page.elements if name == "a" and (href := told.get("href") or "")]
    assert "host: no rule of the policy allows `evil.example`rule: pairlock.yaml:14:5 #15" in page.text
    assert links.count("#e15") == 1


def test_alike_ones_are_one_row_with_the_first_few_places() -> None:
    many = [step(seq, "denied", code="host", rule="p:1:1") for seq in range(1000)]

    assert rows(*many, step(2000, "failed")) == [
        ("denied", 1000, list(range(MOST_PLACES))),
        ("failed", 1, [2000]),
    ]


def test_connections_that_one_rule_refused_are_one_row_and_other_reasons_another() -> None:
    """A scan of a thousand hosts must not push the other denials off the list."""
    scan = [step(seq, "denied", kind="egress", name=f"https h{seq}", code="host") for seq in range(100)]

    assert rows(*scan, step(200, "denied", kind="egress", name="https h7", code="address")) == [
        ("denied", 100, [0, 1, 2, 3, 4]),
        ("denied", 1, [200]),
    ]


def test_what_finds_no_room_is_counted_and_a_broken_entry_is_first() -> None:
    steps = [step(seq, "failed", name=f"command {seq}") for seq in range(MOST_ROWS + 5)]

    found = notable([*steps, step(99, "broken", kind="ledger")])

    assert (len(found.rows), found.rows[0].tag, found.left_out) == (MOST_ROWS, "broken", 6)


def test_what_was_allowed_and_went_well_does_not_stand_out() -> None:
    assert rows(step(1, "allowed"), step(2)) == []


def test_each_reason_of_one_action_is_a_row_and_the_action_is_counted_once() -> None:
    """The egress gate adds the reasons of every refused connection to the one `run` that asked for them."""
    one = step(1, "allowed", "denied", code="host", rule="p:1:1")
    one.parts += [Why(code=code, message="no", hint="", rule=rule) for code, rule in REASONS]

    assert rows(one) == [("denied", 1, [1])] * (1 + len(set(REASONS)))


def test_an_action_with_more_reasons_than_rows_is_counted_once_as_left_out() -> None:
    one, other = step(1, "denied"), step(2, "denied", name="http get", code="sink")
    one.parts += [Why(code=f"code{n}", message="no", hint="", rule="") for n in range(MOST_ROWS + 3)]

    found = notable([one, other])

    assert (len(found.rows), found.left_out) == (MOST_ROWS, 2)


def test_a_row_names_the_first_few_that_differ_and_says_how_many_others_there_are() -> None:
    """`https docs.python.org:443, 2 times` hid a refused `exfil.evil`."""
    hosts = ["docs.python.org", "exfil.evil", "docs.python.org", "h3", "h4", "h5"]
    many = [step(place, "denied", kind="egress", name=host, code="host") for place, host in enumerate(hosts)]

    (row,) = notable(many).rows

    assert (row.count, row.what.first, row.what.others) == (6, ["docs.python.org", "exfil.evil", "h3"], 2)
    assert row.why.first == ["host: why of 0", "host: why of 1", "host: why of 2"]
    assert row.why.others == 3


async def test_the_page_names_every_refused_host_of_one_action(tmp_path: Path) -> None:
    story = begin(tmp_path / "state")
    async with story.journal:
        await story.open("Do it.")
        number = await story.intend("run", "pytest")
        for place, (host, code) in enumerate(
            [
                ("docs.example", "host"),
                ("exfil.evil", "host"),
                ("10.0.0.1", "address"),
                ("h4", "host"),
                ("h5", "host"),
            ]
        ):
            await story.record(
                event.EgressOpened(
                    connection=f"{SESSION}/c{place}",
                    action=number,
                    host=host,
                    port=443,
                    scheme="https",
                    verdict="denied",
                    reasons=(Reason(code=code, message=f"no `{host}`"),),
                )
            )
        await story.close()

    text = page_of(tmp_path / "state").text

    panel = text[text.index("What stands out denied") :].split("Time")[0]
    assert "host: no `docs.example` host: no `exfil.evil` host: no `h4` and 1 other" in panel
    assert "address: no `10.0.0.1`" in panel
    assert page_of(tmp_path / "state").text.count("run pytest") == 2


def test_a_refused_connection_finds_the_room_that_is_kept_for_what_stands_out() -> None:
    """It was added as any other, and tagged when the page had no room for it any more."""
    steps = Steps(most=1, most_notable=5)
    connections = Connections(steps, Actions(steps, None))  # type: ignore[arg-type]  # it reads no bodies
    verdicts: tuple[Literal["allowed", "denied"], ...] = ("allowed", "allowed", "denied")
    for place, verdict in enumerate(verdicts):
        opened = event.EgressOpened(
            connection=f"{SESSION}/c{place}", host=f"h{place}", port=1, scheme="https", verdict=verdict
        )
        connections.take(Moment(place, "", 0), opened)
    requested = event.EgressRequested(
        connection=f"{SESSION}/c9", method="GET", path="/", verdict="denied", reasons=()
    )
    connections.take(Moment(3, "", 0), requested)

    assert [one.name for one in steps.kept] == ["https h0:1", "https h2:1", "unknown connection"]
    assert steps.left_out == {"egress": 1}


async def test_a_page_that_does_not_hold_all_does_not_say_that_nothing_failed(tmp_path: Path) -> None:
    story = begin(tmp_path / "state")
    async with story.journal:
        await story.open("Do nothing.")
        await story.close()
    report = report_of(tmp_path / "state")
    texts = [Page(render(report)).text]

    report.fold.steps.left_out["action"] += 1
    texts.append(Page(render(report)).text)
    report.fold.steps.left_out.clear()
    texts.append(Page(render(replace(report, verdict=replace(report.verdict, level="bad")))).text)
    report.fold.kinds["log.opened"] = 0  # what comes first was pruned
    texts.append(Page(render(report)).text)

    assert [(QUIET in text, NOT_ALL in text) for text in texts] == [(True, False)] + [(False, True)] * 3


async def test_a_quiet_session_is_said_to_be_one(tmp_path: Path) -> None:
    story = begin(tmp_path / "state")
    async with story.journal:
        await story.open("Do nothing.")
        await story.close()

    page = page_of(tmp_path / "state")

    assert QUIET in page.text
    assert "0, none denied running time" in page.text


@pytest.mark.parametrize("missing", ["what does not hold", "what was pruned", "what cannot be read"])
async def test_what_could_not_be_read_is_not_counted_as_nothing_denied(tmp_path: Path, missing: str) -> None:
    story = begin(tmp_path / "state")
    async with story.journal:
        await story.open("Do nothing.")
        await story.close()
    report = report_of(tmp_path / "state")
    if missing == "what does not hold":
        report = replace(report, verdict=replace(report.verdict, level="bad"))
    elif missing == "what was pruned":
        report.fold.kinds["log.opened"] = 0
    else:
        report.fold.kinds[UNREADABLE] = 1

    report.fold.attested = None

    text = Page(render(report)).text

    assert "Attestation of the sandbox: none is among what can be read" in text
    assert "0, none denied among those that can be read running time" in text
    assert QUIET not in text


async def test_what_widens_the_sandbox_stands_out(tmp_path: Path) -> None:
    story = begin(tmp_path / "state")
    async with story.journal:
        await story.open("Do it.")
        await story.record(
            event.SafetyNoted(code="lineage", message="allowed though the label says otherwise")
        )
        await story.close()

    (row,) = notable(report_of(tmp_path / "state").fold.steps.kept).rows

    assert (row.tag, row.what.first) == ("noted", ["lineage allowed though the label says otherwise"])


def test_a_tampered_ledger_is_said_to_be_one_in_the_title_on_top_and_above_the_conversation(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    asyncio.run(ordinary(state))
    path = state / "sessions" / SESSION / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"pytest","-q"', b'"pytest","-x"', 1))

    page = render(report_of(state))

    assert "<title>DOES NOT VERIFY: pairlock session" in page
    assert page.count("The ledger does not verify") == 3
    assert "not known: no end is among what holds" in page
    assert re.search(r'<li>\s*<span class="tags"><span class="tag tag-broken">broken', page)


def test_a_whole_ledger_raises_no_alarm(state: Path) -> None:
    """The twin."""
    page = render(report_of(state))

    assert "<title>pairlock session 0123456789ab</title>" in page
    assert "not verify" not in page.replace('does not verify" with', "").split("<script", 1)[0]


def test_the_longest_waits_are_told_with_their_entries(state: Path) -> None:
    fold = report_of(state).fold

    assert [(wait.label, wait.seq, wait.length_ms) for wait in charts.longest(fold)] == [
        ("a person", 25, 6200),
        ("model", 22, 3100),
        ("model", 6, 2400),
        ("model", 11, 2400),
        ("model", 32, 2400),
    ]


def test_a_number_and_its_unit_stand_on_one_line(state: Path) -> None:
    """On a telephone a lane's share was broken before its percent sign."""
    page = render(report_of(state))
    told = re.findall(r'class="lane-total"><span class="whole">\d[^<]*</span>(.*)</span>', page)

    assert ".whole { white-space: nowrap; }" in page
    assert len(told) == 5
    assert all(re.fullmatch(r'(<span class="muted">, \d+&nbsp;%</span>)?', share) for share in told), told


def test_denials_have_a_lane_of_the_timeline_and_a_session_without_one_has_none(state: Path) -> None:
    *others, last = charts.lanes(report_of(state).fold)

    assert (last.name, last.spent, len(last.bars)) == ("denied", "2", 2)
    assert [lane.name for lane in others] == ["model", "sandbox", "ledger", "person"]


def test_a_row_is_cut_and_says_so() -> None:
    long = Step(
        seq=1,
        at="",
        begun_ms=0,
        kind="action",
        title="",
        name="run",
        words=("run", "x" * 5000),
        tags=["failed"],
    )

    (row,) = notable([long]).rows

    assert isinstance(row, Alike)
    assert row.what.first[0].endswith("... (4844 more characters)")
