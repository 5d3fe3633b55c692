"""What a report tells of a session is what its ledger holds: the fold, step by step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.report.charts import gauges, lanes
from agent_runner.report.happenings import happening, step
from agent_runner.report.moment import Moment
from agent_runner.report.quantity import duration
from agent_runner.report.steps import Steps
from agent_runner.report.times import Span, drawn
from agent_runner.report.usage import MOST_POINTS, Curve
from audit import event
from audit.fields import Totals
from audit.journal import Journal
from policies.source import parse_policy
from tests.agent_runner.report.reading import page_of, report_of, told
from tests.agent_runner.report.story import DENIED, SESSION, begin, ordinary

if TYPE_CHECKING:
    from pathlib import Path

    from audit.fields import Event

POLICY = "version: 1\nname: fix\ngrant: [files, exec]\nbudget: {turns: 6, tokens: 8000, wall_time: 60s}\n"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder with one ordinary session, its policy beside it."""
    folder = tmp_path_factory.mktemp("report") / "state"
    policy = parse_policy(POLICY, origin="pairlock.yaml")
    asyncio.run(ordinary(folder, digest=policy.digest))
    (folder / "sessions" / SESSION / "policy.yaml").write_text(policy.as_yaml())
    return folder


@pytest.fixture(scope="module")
def steps(state: Path) -> list[dict[str, Any]]:
    """Return the steps of its page."""
    found: list[dict[str, Any]] = page_of(state).data["steps"]
    return found


def named(steps: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [found for found in steps if found["name"] == name]


def test_the_conversation_is_in_the_order_of_the_ledger(steps: list[dict[str, Any]]) -> None:
    assert [found["name"] for found in steps] == [
        "ledger opened",
        "task",
        "sandbox made",
        "sandbox attested",
        "told to the model at first",
        "told to the model",
        "turn 1",
        "run",
        "turn 2",
        "files patch",
        "http get",
        "https api.github.com:443",
        "https evil.example:443",
        "turn 3",
        "files remove",
        "run",
        "budget-added",
        "budget.tokens",
        "turn 4",
        "finish",
        "sandbox gone",
        "session ended: done",
        "seal",
    ]


@pytest.mark.parametrize(
    ("ended", "shown"),
    [
        ({"outcome": "ok", "exit_code": 0}, "ok, exit code 0 after 2.0 s, 11 B of output"),
        (
            {
                "outcome": "timed_out",
                "exit_code": None,
                "truncated_bytes": 5,
                "detail": "ended by <signal 15>",
            },
            "timed out after 2.0 s, 11 B of output, 5 B dropped\nended by <signal 15>",
        ),
    ],
)
async def test_how_a_program_in_the_background_ended_is_told_with_its_action(
    tmp_path: Path, ended: dict[str, Any], shown: str
) -> None:
    story = begin(tmp_path / "state", SESSION)
    async with story.journal:
        await story.open("Serve it.", digest="ab" * 32)
        ran = await story.intend("run", "--background", "serve")
        await story.finish(ran, "job 1 was started\n", ms=3)
        await story.record(event.ProcessEnded(action=ran, duration_ms=2000, output_bytes=11, **ended))

    (step,) = named(page_of(tmp_path / "state").data["steps"], "run")

    (part,) = [part for part in step["parts"] if part["label"] == "the program in the background"]
    assert part["text"] == shown


def test_an_action_is_told_whole_with_what_came_of_it(steps: list[dict[str, Any]]) -> None:
    first, _ = named(steps, "run")

    assert first["words"] == ["run", "pytest", "-q"]
    assert first["tags"] == ["allowed", "failed"]
    assert first["notes"] == ["exit code 1", "900 ms", "143 B of output"]
    assert [part["form"] for part in first["parts"]] == ["words", "code"]
    assert first["parts"][0]["words"] == ["/usr/bin/python3", "-m", "pytest", "-q"]
    assert "1 failed, 1 passed" in first["parts"][1]["text"]


def test_a_denial_is_told_with_its_rule_and_its_mend(steps: list[dict[str, Any]]) -> None:
    (denied,) = named(steps, "http get")

    assert denied["tags"] == ["denied"]
    assert denied["parts"][0] == {
        "form": "why",
        "code": "host",
        "message": DENIED.message,
        "hint": DENIED.hint,
        "rule": "pairlock.yaml:14:5",
    }
    assert denied["parts"][1]["label"] == "what the model was told"


def test_a_change_of_a_file_is_told_with_its_difference_and_digests(steps: list[dict[str, Any]]) -> None:
    (patched,) = named(steps, "files patch")
    given, files, _ = patched["parts"]

    assert (given["form"], given["text"].splitlines()[4:]) == (
        "diff",
        ["-    return None", "+    return text"],
    )
    assert files["rows"] == [["changed", "src/dates.py", "ab" * 32, "cd" * 32]]


def test_a_persons_answer_is_told_with_the_time_it_took(steps: list[dict[str, Any]]) -> None:
    (removed,) = named(steps, "files remove")

    assert removed["tags"] == ["asked", "allowed"]
    assert removed["notes"][:2] == ["approved by ada via terminal", "waited 6.2 s"]
    assert removed["parts"][0]["rule"] == "pairlock.yaml:21:9"


def test_a_connection_is_told_from_its_opening_to_its_end(steps: list[dict[str, Any]]) -> None:
    (allowed,) = named(steps, "https api.github.com:443")

    assert allowed["parts"][0]["rows"] == [
        ["c1", "allowed", "https://api.github.com:443 at 140.82.121.6", "812 B", "62.6 KiB", "240 ms", "done"]
    ]


def test_an_answer_that_came_at_the_second_attempt_tells_of_the_first(steps: list[dict[str, Any]]) -> None:
    (third,) = named(steps, "turn 3")

    assert third["tags"] == []
    assert "529 overloaded" in told(third["parts"][0])
    assert "I'll run them again" in third["parts"][1]["text"]


def test_bookkeeping_is_there_and_out_of_the_way(steps: list[dict[str, Any]]) -> None:
    assert [found["name"] for found in steps if found["quiet"]] == ["ledger opened", "seal"]


def test_time_is_told_by_what_was_waited_for(state: Path) -> None:
    report = report_of(state)
    found = {lane.name: lane for lane in lanes(report.fold)}

    assert report.fold.times.totals == {"model": 9000, "sandbox": 3100, "ledger": 120, "person": 6200}
    assert report.fold.times.spans["person"][0].end - report.fold.times.spans["person"][0].begin == 6200
    assert len(report.fold.times.spans["model"]) == 5
    assert found["person"].spent == "6.2 s"
    assert found["ledger"].percent == 1


def test_budgets_are_told_against_the_bounds_of_the_policy_and_what_was_added(state: Path) -> None:
    report = report_of(state)
    found = {gauge.name: gauge for gauge in gauges(report.fold, report.policy.policy)}

    assert (found["turns"].used, found["turns"].bound, found["turns"].percent) == ("4", "26", 15)
    assert (found["tokens"].used, found["tokens"].bound) == ("7,840", "58,000")
    assert found["running time"].bound == "6 min"
    assert (found["sent"].used, found["sent"].bound) == ("812 B", "")


BOUNDED = """
version: 1
name: read
grant: [files, network]
network: {allow: [{host: example.org}], limits: {sent_bytes: 1MiB, received_bytes: 1MiB, requests: 5}}
budget: {cost_usd: 2}
"""


async def test_the_end_tells_what_crossed_the_egress_gate_in_all(tmp_path: Path) -> None:
    story = begin(tmp_path / "state")
    async with story.journal:
        await story.open("read")
        await story.close(sent_bytes=812, received_bytes=64_102)

    (end,) = named(page_of(tmp_path / "state").data["steps"], "session ended: done")

    assert end["notes"] == ["exit code 0", "812 B sent, 62.6 KiB received"]


async def test_cost_and_egress_are_told_against_bounds_with_what_was_added(tmp_path: Path) -> None:
    """A tunnel whose TLS was ended counts by the requests in it, as the gate counts."""
    story = begin(tmp_path / "state")
    closed = {"received_bytes": 0, "duration_ms": 1, "why": "done"}
    async with story.journal as journal:
        await story.open("read")
        await story.record(
            event.SafetyNoted(code="budget-added", message="cost_usd=1,sent_bytes=1MiB,requests=3")
        )
        answered = {"turn": 1, "backend": "b", "model": "m", "text": None, "tool_calls": ()}
        used = {"input_tokens": 1, "output_tokens": 1, "cached_tokens": 0, "duration_ms": 5}
        await story.record(event.ModelAnswered.model_validate({**answered, **used, "cost_micros": 1_500_000}))
        for number, told in enumerate(
            [{"method": "GET", "requests": 1}, {"method": "GET", "requests": 1}, {"requests": 2}]
        ):
            ended = {"connection": f"{SESSION}/c{number}", "sent_bytes": 524_288, **closed, **told}
            await journal.record(event.EgressClosed.model_validate(ended))
    fold = report_of(tmp_path / "state").fold

    found = {gauge.name: gauge for gauge in gauges(fold, parse_policy(BOUNDED, origin="p"))}

    assert (found["cost"].used, found["cost"].bound, found["cost"].percent) == ("$1.5000", "$3.00", 50)
    assert (found["sent"].used, found["sent"].bound, found["sent"].percent) == ("1.5 MiB", "2.0 MiB", 75)
    assert (found["requests"].used, found["requests"].bound) == ("2", "8")


def test_a_policy_that_the_ledger_did_not_commit_to_gives_no_bounds(state: Path, tmp_path: Path) -> None:
    """Whoever changes the policy beside the ledger changes nothing that the report shows."""
    import shutil

    copy = tmp_path / "state"
    shutil.copytree(state, copy)
    path = copy / "sessions" / SESSION / "policy.yaml"
    path.write_text(path.read_text().replace("turns: 6", "turns: 600"))

    report = report_of(copy)

    assert report.policy.policy is None
    assert "not the policy that the ledger committed to" in report.policy.why_not
    assert {gauge.bound for gauge in gauges(report.fold, report.policy.policy)} == {""}


def test_egress_is_summed_by_host(state: Path) -> None:
    hosts = report_of(state).fold.traffic.hosts

    assert [(h.to, h.allowed, h.denied, h.sent_bytes, h.received_bytes, h.codes) for h in hosts.values()] == [
        ("api.github.com:443", 1, 0, 812, 64120, []),
        ("evil.example:443", 0, 1, 0, 0, ["host"]),
    ]


async def test_time_in_which_a_session_lay_interrupted_does_not_count(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await ordinary(state, end=False)
    before = report_of(state).fold.time.now_ms
    story = begin(state)
    story.clock.move(3_600_000)
    async with Journal.reopen(state, SESSION, clock=story.clock) as journal:
        story.clock.move(500)
        await journal.record(event.SafetyNoted(code="x", message="x"))

    fold = report_of(state).fold

    assert fold.time.now_ms == before + 500
    assert fold.time.interruptions == [before]
    assert "taken up again" in [found.name for found in fold.steps.kept]


async def test_entries_that_belong_to_nothing_are_told_all_the_same(tmp_path: Path) -> None:
    """A forger or a fault can leave an outcome without an action; it is shown as one."""
    story = begin(tmp_path / "state")
    async with story.journal as journal:
        await story.finish(f"{SESSION}/9", "from nowhere")
        await journal.record(
            event.EgressClosed(
                connection="c9", sent_bytes=1, received_bytes=2, requests=1, duration_ms=3, why="done"
            )
        )
        await journal.record(event.MessageAdded(role="tool", content=journal.commit("hm"), call="c77"))

    report = report_of(tmp_path / "state")

    assert [(found.name, found.tags) for found in report.fold.steps.kept[1:4]] == [
        ("unknown action", ["failed"]),
        ("unknown connection", ["failed"]),
        ("told to the model", []),
    ]
    assert report.task == ""


def test_a_full_page_leaves_out_the_ordinary_and_keeps_denials() -> None:
    """An agent cannot push a denial off the page by doing harmless things first."""
    steps = Steps(most=3, most_notable=1)

    for number in range(5):
        steps.add(Moment(number, "", 0), step(Moment(number, "", 0), "action", "files read", ""))
    for number in (5, 6):
        denied = step(Moment(number, "", 0), "action", "http get", "", tags=["denied"])
        steps.add(Moment(number, "", 0), denied)

    assert [found.seq for found in steps.kept] == [0, 1, 2, 5]
    assert steps.left_out == {"action": 3}


def test_a_step_that_grows_is_told_again_and_others_are_not() -> None:
    steps = Steps()
    first = steps.add(Moment(1, "", 0), step(Moment(1, "", 0), "model", "turn 1", ""))
    steps.add(Moment(2, "", 0), step(Moment(2, "", 0), "model", "turn 2", ""))
    steps.take_changed()

    steps.changed(first)

    assert [(place, found.seq) for place, found in steps.take_changed()] == [(0, 1)]
    assert steps.take_changed() == []


@pytest.mark.parametrize(
    ("spans", "columns"),
    [
        ([Span(0, 1000)], [(0, 1000)]),
        ([Span(0, 0)], [(0, 1)]),
        ([Span(0, 100), Span(500, 600)], [(0, 100), (500, 100)]),
        ([Span(10, 10), Span(10, 11), Span(11, 12)], [(10, 2)]),
        ([Span(2000, 3000)], [(999, 1)]),
    ],
)
def test_spans_are_drawn_at_least_one_column_wide_and_within_the_box(
    spans: list[Span], columns: list[tuple[int, int]]
) -> None:
    assert drawn(spans, 1000) == columns


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    curve = Curve()

    for ms in range(100_000):
        curve.add(ms, 2)

    assert len(curve.points) <= 2 * MOST_POINTS
    assert curve.points[-1] == (99_999, 200_000) == (99_999, curve.total)
    assert curve.points == sorted(curve.points)


@pytest.mark.parametrize(
    ("happened", "name", "title"),
    [
        (
            event.SessionDelegated(action="a4", child="0123456789cd", grant="files", policy_digest="0" * 64),
            "delegated",
            "to session 0123456789cd: files",
        ),
        (
            event.TranscriptCompacted(
                turn=40,
                kept_turns=6,
                most_characters=200_000,
                characters_before=401_000,
                characters_after=90_500,
            ),
            "conversation shortened",
            "401,000 characters became 90,500; the last 6 turns stand whole",
        ),
    ],
)
def test_what_the_runner_does_beside_the_turns_is_a_step(happened: Event, name: str, title: str) -> None:
    told = happening(Moment(seq=1, at="", ms=0), happened)

    assert told is not None
    assert (told.name, told.title) == (name, title)


@pytest.mark.parametrize(
    ("unsealed_from", "told"),
    [
        (41, "its last runner died; entries from 41 on were not sealed then"),
        (42, "another runner goes on; every entry before was sealed"),
    ],
)
def test_a_session_taken_up_after_an_orderly_end_is_not_told_as_one_whose_runner_died(
    unsealed_from: int, told: str
) -> None:
    recovered = event.SessionRecovered(
        session=SESSION,
        epoch=2,
        vkey="k",
        writer="0.1.0",
        unsealed_from=unsealed_from,
        dropped_bytes=0,
        dropped_sha256="e3" * 32,
    )

    found = happening(Moment(42, "", 0), recovered)

    assert found is not None
    assert found.title == told


def test_an_end_is_told_in_words_and_once() -> None:
    closed = event.SessionClosed(
        status="model_failed", exit_code=7, reason="model failed", unfinished=False, totals=Totals()
    )

    found = happening(Moment(42, "", 0), closed)

    assert found is not None
    assert (found.name, found.title) == ("session ended: model failed", "")


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [(999, "999 ms"), (59_900, "59.9 s"), (600_000, "10 min"), (605_000, "10 min 5 s"), (86_400_000, "24 h")],
)
def test_a_length_of_time_has_no_unit_of_which_there_is_none(milliseconds: int, told: str) -> None:
    assert duration(milliseconds) == told
