"""A report says on top whether the ledger verifies, and hides nothing that is broken, withheld or gone."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from agent_runner.report.bodies import LARGEST_BYTES, SHORT, Bodies
from agent_runner.report.happenings import step
from agent_runner.report.moment import Moment
from agent_runner.report.page import render
from agent_runner.report.step import Absent, Prose
from agent_runner.report.visible import visible_line
from agent_runner.report.weight import loaded
from audit.host import HostLog
from audit.keys import host_vkey
from audit.openings import without
from audit.reader import SessionReader
from audit.state import StateFiles
from audit.withhold import prune, redact
from tests.agent_runner.report.reading import Page, page_of, report_of, told
from tests.agent_runner.report.story import SESSION, begin, ordinary

if TYPE_CHECKING:
    from pathlib import Path


def log_of(state: Path) -> Path:
    return state / "sessions" / SESSION / "events.jsonl"


async def test_without_a_pinned_key_a_report_claims_no_more_than_agreement(tmp_path: Path) -> None:
    await ordinary(tmp_path / "state")

    found = report_of(tmp_path / "state").verdict

    assert (found.level, found.headline, found.faults) == ("unsure", "The ledger agrees with itself", {})
    assert found.verdicts["authenticity"].startswith("self-claimed by `pairlock-")


async def test_with_the_pinned_key_a_report_verifies_and_says_with_which(tmp_path: Path) -> None:
    await ordinary(tmp_path / "state")
    key = str(host_vkey(StateFiles(tmp_path / "state")))

    report = report_of(tmp_path / "state", vkey=key)
    page = page_of(tmp_path / "state", vkey=key)

    assert (report.verdict.level, report.verdict.headline) == ("good", "The ledger verifies")
    assert report.verdict.key == key
    assert shlex.split(report.verdict.commands[0]) == ["pairlock", "audit", "verify", SESSION, "--key", key]
    assert f"pinned key {key.split('+', maxsplit=1)[0]}" in page.text


async def test_another_key_than_the_pinned_one_is_a_forgery(tmp_path: Path) -> None:
    await ordinary(tmp_path / "state")
    await ordinary(tmp_path / "other")
    key = str(host_vkey(StateFiles(tmp_path / "other")))

    found = report_of(tmp_path / "state", vkey=key).verdict

    assert found.level == "bad"
    assert list(found.faults) == ["authenticity"]


async def test_a_checkpoint_kept_elsewhere_is_held_against_the_ledger(tmp_path: Path) -> None:
    await ordinary(tmp_path / "state")
    note = report_of(tmp_path / "state").verdict.checkpoint
    await ordinary(tmp_path / "other")

    same = report_of(tmp_path / "state", against=note).verdict
    rolled = report_of(tmp_path / "other", against=note).verdict

    assert same.verdicts["freshness"].startswith("anchored through")
    assert (rolled.level, list(rolled.faults)) == ("bad", ["freshness"])


async def test_entries_that_were_deleted_on_purpose_are_told_beside_the_verdict(tmp_path: Path) -> None:
    state = tmp_path / "state"
    story = begin(state, segment_bytes=20_000)
    async with story.journal:
        await story.open("Say it often.")
        for number in range(60):
            await story.message("user", f"{number} times")
    note = report_of(state).verdict.checkpoint
    with HostLog(state) as host:
        gone = prune(host, SESSION, why="old", keep_segments=1)

    plain, anchored = report_of(state).verdict, report_of(state, against=note).verdict

    said = f" The first {gone} entries were deleted on purpose"
    assert gone > 0
    assert plain.explanation.endswith(f"{said}.")
    assert anchored.explanation.endswith(f"{said}, after that checkpoint was made.")


async def test_an_edited_entry_is_told_on_top_and_in_its_place_and_nothing_behind_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await ordinary(state)
    raw = log_of(state).read_bytes()
    log_of(state).write_bytes(raw.replace(b'"exit_code":1', b'"exit_code":0', 1))

    report, page = report_of(state), page_of(state)

    assert report.verdict.level == "bad"
    assert "integrity" in report.verdict.faults
    assert "The ledger does not verify" in page.text
    last = page.data["steps"][-1]
    assert (last["name"], last["tags"]) == ("BROKEN ENTRY", ["broken"])
    assert "both tests pass" not in told(page.data)
    assert report.verdict.checkpoint == ""


async def test_a_tail_that_was_cut_off_is_told(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await ordinary(state)
    lines = log_of(state).read_bytes().splitlines(keepends=True)
    log_of(state).write_bytes(b"".join(lines[:20]))

    report = report_of(state)

    assert "completeness" in report.verdict.faults
    assert report.fold.steps.kept[-1].name == "BROKEN ENTRY"
    assert "the host's log knows" in report.fold.steps.kept[-1].title


async def test_what_was_withheld_stays_withheld_and_says_so(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await ordinary(state)
    digest = _commitment_of(state, "1 failed, 1 passed")
    with HostLog(state) as log:
        redact(log, SESSION, digest, by="ada", why="private")

    page = page_of(state)

    assert "1 failed, 1 passed" not in told(page.data)
    (run, _) = [found for found in page.data["steps"] if found["name"] == "run"]
    assert run["parts"][-1] == {
        "form": "absent",
        "label": "what came of it",
        "why": "withheld on purpose; the host's log accounts for it",
        "alarming": False,
    }
    assert "private, by ada" in page.text


async def test_what_is_gone_without_account_is_alarming(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await ordinary(state)
    without(StateFiles(state).session(SESSION), {_commitment_of(state, "1 failed, 1 passed")})

    report = report_of(state)

    assert list(report.verdict.faults) == ["disclosure"]
    (run, _) = [found for found in report.fold.steps.kept if found.name == "run"]
    assert run.parts[-1] == Absent(
        label="what came of it", why="gone, and nothing accounts for it", alarming=True
    )


async def test_a_body_that_was_changed_is_not_shown(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await ordinary(state)
    openings = state / "sessions" / SESSION / "openings.jsonl"
    openings.write_bytes(openings.read_bytes().replace(b"1 failed, 1 passed", b"2 passed, 0 failed"))

    report, page = report_of(state), page_of(state)

    assert list(report.verdict.faults) == ["disclosure"]
    assert "2 passed, 0 failed" not in told(page.data)
    assert "not what the entry committed to" in told(page.data)


async def test_a_secret_that_was_replaced_stays_replaced(tmp_path: Path) -> None:
    story = begin(tmp_path / "state", secrets_by_name={"github": "ghp_s3cret/with+odd=chars"})
    async with story.journal:
        await story.open("use ghp_s3cret/with+odd=chars")
        number = await story.intend("run", "echo", "ghp_s3cret/with+odd=chars")
        await story.finish(number, "ghp_s3cret/with+odd=chars")

    page = page_of(tmp_path / "state")

    assert "ghp_s3cret" not in told(page.data) + page.text
    assert "[secret:github:" in page.text


def _commitment_of(state: Path, text: str) -> str:
    reader = SessionReader(state, SESSION)
    for digest in reader.openings.digests():
        line = reader.openings._fields(digest)
        if text in str(line.get("utf8")):
            return digest
    raise AssertionError(text)


async def test_a_forged_key_name_cannot_put_words_into_the_command_that_a_reader_copies(
    tmp_path: Path,
) -> None:
    from agent_runner.report.verdict import _commands

    command = _commands(SESSION, "x';rm${IFS}-rf${IFS}~;'+abcd+AAAA")[0]

    assert shlex.split(command) == [
        "pairlock",
        "audit",
        "verify",
        SESSION,
        "--key",
        "x';rm${IFS}-rf${IFS}~;'+abcd+AAAA",
    ]


async def test_bodies_that_the_page_has_no_room_for_are_cut_and_say_so(tmp_path: Path) -> None:
    story = begin(tmp_path / "state")
    async with story.journal as journal:
        one, two = journal.commit("a" * 3000), journal.commit("b" * 3000)
        number = await story.intend("run", "x")
        await story.finish(number, "c")
    bodies = Bodies(SessionReader(tmp_path / "state", SESSION), frozenset(), room_bytes=4000)

    first, second = bodies.part(one, "one"), bodies.part(two, "two")

    assert isinstance(first, Prose)
    assert isinstance(second, Prose)
    assert (len(first.text), first.left_out) == (3000, 0)
    assert (len(second.text), second.left_out) == (SHORT, 3000 - SHORT)


@pytest.mark.parametrize("char", ["\x00", "\u202e", "<", "\U000e0041", "\ud800"])
async def test_a_body_of_characters_that_grow_when_they_are_spelled_takes_no_more_room(
    tmp_path: Path, char: str
) -> None:
    """A megabyte of NUL would be seventeen on the page: enough of them, and nobody can open it."""
    story = begin(tmp_path / "state")
    async with story.journal:
        number = await story.intend("run", "x")
        await story.finish(number, (char * 800_000).encode("utf-8", "surrogatepass"))

    text = render(report_of(tmp_path / "state"))

    assert len(text.encode()) < LARGEST_BYTES + 200_000
    assert Page(text).data["steps"][1]["parts"][0]["left_out"] > 0


def test_a_page_that_would_be_too_heavy_is_cut_and_then_left_out_and_says_how_much() -> None:
    long = "x" * 5000 + "\u202e" * 100
    steps = [step(Moment(n, "", 0), "action", "run", long, tags=["denied"]) for n in range(20)]

    load = loaded(steps, whole_bytes=30_000, most_bytes=45_000)

    assert (load.cut, load.left_out, len(load.steps)) == (16, 2, 18)
    assert load.steps[0]["title"] == visible_line(long)
    assert str(load.steps[12]["title"]).startswith("x" * 1024 + "... (")
    assert load.steps[12]["tags"] == ["denied"]


def test_a_text_is_never_cut_within_a_spelled_character() -> None:
    (told,) = loaded([step(Moment(0, "", 0), "action", "run", "\u202e" * 500)], whole_bytes=0).steps

    shown = str(told["title"]).partition("...")[0]
    assert shown.count("\x01") == shown.count("\x02") == 1024 // 8


async def test_command_lines_are_never_cut_while_there_is_room(tmp_path: Path) -> None:
    story = begin(tmp_path / "state")
    async with story.journal:
        await story.intend("run", "sh", "-c", "x" * 1_000_000)

    (action,) = [found for found in page_of(tmp_path / "state").data["steps"] if found["kind"] == "action"]

    assert len(action["words"][3]) == 1_000_000
