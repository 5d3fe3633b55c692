"""What a session goes on with, and when it does not go on."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import ObservationMessage, Reply, Usage, UserMessage
from agent_runner.budget_limits import NOTHING
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.fold import read_past
from agent_runner.interruption import COPY_LOST, RESUMED, UNFINISHED
from audit.errors import BrokenLedgerError
from audit.event import StageApplied, StageDiscarded
from audit.host import HostLog
from audit.lock import WriterLock
from audit.openings import without
from audit.state import StateFiles
from audit.verify import verify_session
from tests.agent_runner.people import SlowPerson
from tests.agent_runner.stand import FINISH, IN_ITS_SANDBOX, SESSION, Model, lines, saying, script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message
    from tests.agent_runner.stand import Stand

TURNS = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\nbudget: {turns: 5}\n'
ONCE = (
    "version: 1\nname: x\ngrant: [files]\n"
    'commands: {allow: ["files *"], rules: [{command: files read, max_calls: 1}]}\n'
)


async def left_behind(stand: Stand, policy: str = TURNS) -> None:
    """Run a session whose model fails after one turn."""
    (stand.folder / "f").write_text("content")
    result = await stand.run(saying(lines("files read f")), policy)
    assert result.status == "model_failed"


def texts(messages: Sequence[Message]) -> list[str]:
    """Return what was told to the model in the user's place."""
    return [message.text for message in messages if isinstance(message, UserMessage)]


async def test_the_conversation_goes_on_as_it_was_and_says_that_it_was_interrupted(stand: Stand) -> None:
    """Everything before is word for word what it was; the note comes after every open call."""
    first = saying(lines("files list"), lines("files list --depth 2"))
    await stand.run(first, TURNS)
    second = saying(FINISH)

    result = await stand.resume(second)

    heard = first.heard[-1]
    assert result.status == "done"
    assert second.heard[0][: len(heard)] == heard
    assert texts(second.heard[0]) == ["a test", RESUMED]
    assert result.totals.turns == 3
    assert result.totals.actions == 3
    assert [entry["action"] for entry in stand.entries("action.intended")] == [
        f"{SESSION}/{n}" for n in (1, 2, 3)
    ]
    assert verify_session(stand.state, SESSION).faults() == {}


@pytest.mark.parametrize(
    ("access", "out", "note"),
    [
        ("stage", True, COPY_LOST),
        ("stage", False, RESUMED),
        ("read", True, RESUMED),
    ],
)
async def test_the_model_is_told_whether_what_it_changed_in_a_copy_is_lost(
    stand: Stand, access: str, note: str, *, out: bool
) -> None:
    """A copy is out until it has come back; one that is only read holds nothing of the agent's."""
    await left_behind(stand, f"{TURNS}files: {{access: {access}}}\n")
    if out:
        stage = StateFiles(stand.state).session(SESSION).folder / "stage"
        stage.mkdir()
        (stage / "sent.json").write_text("{}")
    second = saying(FINISH)

    await stand.resume(second)

    assert texts(second.heard[0]) == ["a test", note]


async def test_a_script_goes_on_at_its_next_turn(stand: Stand) -> None:
    """The script begins anew in each process; the ledger knows how far it was."""
    turns = (["files list"], ["files list --depth 2"], ["finish --status done"])
    await stand.run(script(*turns), TURNS.replace("turns: 5", "turns: 2"))

    result = await stand.resume(script(*turns), added=replace(NOTHING, turns=2))

    assert result.status == "done"
    assert [entry["argv"][:2] for entry in stand.entries("action.intended")][-1] == ["finish", "--status"]
    assert len(stand.entries("action.intended")) == 3


async def test_a_shorter_script_is_not_the_one_that_was_run(stand: Stand) -> None:
    await stand.run(saying(lines("files list"), lines("files list")))

    with pytest.raises(InvalidInputError, match="is not the one the session was run with"):
        await stand.resume(script(["files list"]))


async def test_max_calls_holds_across_a_resume(stand: Stand) -> None:
    """A killed session must not get its calls back."""
    await left_behind(stand, ONCE)

    await stand.resume(saying(lines("files read f"), FINISH))

    assert [entry["verdict"] for entry in stand.entries("action.intended")] == [
        "allowed",
        "denied",
        "allowed",
    ]


async def test_a_budget_that_ran_out_stays_out_until_somebody_adds_to_it(stand: Stand) -> None:
    """Without `--add-budget` the same reason again; with it, on; and what was added is in the ledger."""
    model = Model(lambda _, turn: lines(f"files list --depth {turn}"))
    policy = TURNS.replace("turns: 5", "turns: 2")
    ran_out = await stand.run(model, policy)

    again = await stand.resume(model)
    more = await stand.resume(
        saying(lines("files list"), FINISH), added=replace(NOTHING, turns=2, tokens=5, wall_seconds=60.0)
    )

    assert (ran_out.status, again.status, more.status) == ("budget", "budget", "done")
    assert again.totals.turns == 2
    assert [entry["message"] for entry in stand.entries("safety.noted")] == ["turns=2,tokens=5,wall_time=60s"]
    assert verify_session(stand.state, SESSION).faults() == {}


async def test_an_unfinished_session_can_go_on(stand: Stand) -> None:
    """A model that stopped without `finish` is asked to."""
    await stand.run(saying(Reply(text="enough")), TURNS)
    model = saying(FINISH)

    result = await stand.resume(model)

    assert result.status == "done"
    assert texts(model.heard[0])[-1] == UNFINISHED


@pytest.mark.parametrize("word", ["done", "failed"])
async def test_a_session_that_ended_does_not_go_on(stand: Stand, word: str) -> None:
    await stand.run(saying(lines(f"finish --status {word}")))

    with pytest.raises(InvalidInputError, match=f"it ended as `{word}`"):
        await stand.resume(saying(FINISH))


async def test_a_running_session_is_not_run_twice(stand: Stand) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Model):
        async def ask(self, messages: object, tools: object) -> Reply:  # noqa: ARG002 - the protocol's parameters
            asked.set()
            await go_on.wait()
            return FINISH

    session = asyncio.ensure_future(stand.run(Slow(lambda *_: FINISH)))
    await asked.wait()

    with pytest.raises(InvalidInputError, match="is running"):
        await stand.resume(saying(FINISH))
    go_on.set()

    assert (await session).status == "done"


async def test_of_two_that_go_on_at_once_one_wins_and_the_other_is_told_that_it_runs(stand: Stand) -> None:
    """Also where the first one takes the ledger between the other's look and its own try."""
    await left_behind(stand)
    files = StateFiles(stand.state).session(SESSION)
    slow: list[WriterLock] = []

    class Late(Model):
        kind = "scripted"  # it is asked to pass over its turns just before the ledger is opened

        async def ask(self, messages: object, tools: object) -> Reply:  # noqa: ARG002 - the protocol's parameters
            slow.append(WriterLock(files.lock))
            return FINISH

    with pytest.raises(InvalidInputError, match="is running") as caught:
        await stand.resume(Late(lambda *_: FINISH))
    slow[0].release()

    assert caught.value.hint == f"wait for its end, or `pairlock stop {SESSION}`"
    assert (await stand.resume(saying(FINISH))).status == "done"


async def test_who_goes_on_with_a_session_that_somebody_else_ended_meanwhile_writes_nothing(
    stand: Stand,
) -> None:
    """Its ledger and the host's say that it is over; opened again, it was not."""
    await left_behind(stand)
    files = StateFiles(stand.state)
    won: list[str] = []
    written: list[list[bytes]] = []

    def logs() -> list[bytes]:
        return [path.read_bytes() for path in (files.session(SESSION).events, files.log)]

    class Late(Model):
        kind = "scripted"  # it is asked to pass over its turns just before the ledger is opened

        async def ask(self, messages: object, tools: object) -> Reply:  # noqa: ARG002 - the protocol's parameters
            won.append((await stand.resume(saying(FINISH))).status)
            written.append(logs())
            return FINISH

    with pytest.raises(InvalidInputError, match="was resumed by somebody else just now"):
        await stand.resume(Late(lambda *_: FINISH))

    closed = read_past(stand.state, SESSION).closed
    assert (won, written, closed and closed.status) == (["done"], [logs()], "done")
    with pytest.raises(InvalidInputError, match="it ended as `done`"):
        await stand.resume(saying(FINISH))


async def test_a_full_disk_where_the_sandbox_is_made_does_not_end_a_session_for_good(stand: Stand) -> None:
    """Nothing that the agent could mend failed: once there is room the work of hours goes on."""
    await left_behind(stand)
    stand.housing.error = OSError(errno.ENOSPC, "No space left on device", "stage/upper")

    full = await stand.resume(saying(FINISH))
    stand.housing.error = None

    assert (full.status, full.exit_code) == ("sandbox_failed", 4)
    assert full.reason == "stage/upper: no space left on device"
    assert (await stand.resume(saying(FINISH))).status == "done"


async def test_what_the_runner_failed_at_can_be_gone_on_with_and_a_repetition_cannot(stand: Stand) -> None:
    await left_behind(stand)
    stand.housing.error = InvalidInputError("credential `x` is not to be had")
    failed = await stand.resume(saying(FINISH))
    stand.housing.error = None

    again = lines("files list")
    stuck = await stand.resume(saying(again, again, again))

    assert (failed.status, stuck.status) == ("failed", "failed")
    with pytest.raises(InvalidInputError, match="it ended as `failed`"):
        await stand.resume(saying(FINISH))


async def test_a_ledger_that_does_not_hold_is_named_with_its_session_and_place(stand: Stand) -> None:
    await left_behind(stand)
    events = StateFiles(stand.state).session(SESSION).events
    events.write_bytes(events.read_bytes().replace(b"files read f", b"files read g", 1))

    with pytest.raises(BrokenLedgerError, match=f"the ledger of session `{SESSION}` does not hold") as caught:
        await stand.resume(saying(FINISH))

    assert caught.value.hint.startswith(f"`pairlock audit verify {SESSION}` says more")


async def test_a_kept_policy_that_is_no_text_is_refused(stand: Stand) -> None:
    await left_behind(stand)
    (stand.state / "sessions" / SESSION / "policy.yaml").write_bytes(b"\xff\x00\xfe")

    with pytest.raises(InvalidInputError, match="is no text in UTF-8"):
        await stand.resume(saying(FINISH))


async def test_a_withheld_body_is_named_and_the_session_does_not_go_on(stand: Stand) -> None:
    """The conversation cannot be read back, and is not made up."""
    await left_behind(stand)
    body = stand.entries("action.finished")[0]["body"]["digest"]
    without(StateFiles(stand.state).session(SESSION), {body})

    with pytest.raises(BrokenLedgerError, match=f"commitment `{body[:16]}`"):
        await stand.resume(saying(FINISH))


async def test_another_folder_at_the_workspaces_path_is_refused(stand: Stand) -> None:
    """What the agent changed, and the label, are those of the folder in which the session began."""
    await left_behind(stand)
    elsewhere = stand.folder.rename(stand.place / "elsewhere")
    shutil.copytree(elsewhere, stand.folder)

    with pytest.raises(RefusedError, match="is not the one that session `0123456789ab` began in") as caught:
        await stand.resume(saying(FINISH))

    assert caught.value.hint == "put that one back, or start another session"
    shutil.rmtree(stand.folder)
    elsewhere.rename(stand.folder)
    assert (await stand.resume(saying(FINISH))).status == "done"


async def test_a_folder_whose_device_has_another_number_since_a_restart_is_the_same(stand: Stand) -> None:
    await left_behind(stand)
    facts = stand.state / "sessions" / SESSION / "meta.json"
    told = json.loads(facts.read_text())
    facts.write_text(json.dumps(told | {"device": told["device"] + 7}))

    assert (await stand.resume(saying(FINISH))).status == "done"


async def test_another_policy_is_refused(stand: Stand) -> None:
    """Nobody widens a session by writing into its folder."""
    await left_behind(stand)
    kept = stand.state / "sessions" / SESSION / "policy.yaml"
    kept.write_text(kept.read_text().replace("turns: 5", "turns: 50"))

    with pytest.raises(RefusedError, match="is not the one that its ledger names"):
        await stand.resume(saying(FINISH))


@pytest.mark.parametrize("whole", [True, False])
async def test_a_stage_that_was_applied_whole_is_over(stand: Stand, *, whole: bool) -> None:
    """After a partial apply the rest goes on."""
    await left_behind(stand)
    applied = StageApplied(session=SESSION, workspace="w", applied=("f",), refused=(), by="me", whole=whole)
    with HostLog(stand.state) as log:
        log.append(applied)

    if whole:
        with pytest.raises(InvalidInputError, match="its changes were applied"):
            await stand.resume(saying(FINISH))
    else:
        assert (await stand.resume(saying(FINISH))).status == "done"


async def test_a_discarded_stage_is_over(stand: Stand) -> None:
    await left_behind(stand)
    with HostLog(stand.state) as log:
        log.append(StageDiscarded(session=SESSION, workspace="w", by="me", why="no"))

    with pytest.raises(InvalidInputError, match="its changes were discarded") as caught:
        await stand.resume(saying(FINISH))
    assert caught.value.hint == "start another session"


async def test_a_session_whose_changes_are_thrown_away_just_before_it_goes_on_is_over(stand: Stand) -> None:
    await left_behind(stand)

    class Late(Model):
        kind = "scripted"  # it is asked to pass over its turns just before the ledger is opened

        async def ask(self, messages: object, tools: object) -> Reply:  # noqa: ARG002 - the protocol's parameters
            with HostLog(stand.state) as log:
                log.append(StageDiscarded(session=SESSION, workspace="w", by="me", why="no"))
            return FINISH

    with pytest.raises(InvalidInputError, match="its changes were discarded"):
        await stand.resume(Late(lambda *_: FINISH))

    assert verify_session(stand.state, SESSION).faults() == {}
    WriterLock(StateFiles(stand.state).session(SESSION).lock).release()


async def test_the_model_is_warned_once_at_80_per_cent(stand: Stand) -> None:
    """In the user's place, before the question; and not again after a resume."""
    model = Model(lambda _, turn: lines(f"files list --depth {turn}"))
    await stand.run(model, TURNS)

    warnings = [text for text in texts(model.heard[-1]) if "little is left" in text]

    assert len(model.heard) == 5
    left = "note: little is left of the budget of turns: 4 of 5 turns are used"
    assert warnings == [f"{left}; finish what matters most and call `finish`"]
    assert read_past(stand.state, SESSION).used.warned == {"turns"}


async def test_what_was_used_before_counts(stand: Stand) -> None:
    """Tokens and turns of all runners together."""
    used = Usage(input_tokens=5, output_tokens=2, cached_tokens=1)
    await stand.run(saying(Reply(text="", calls=lines("files list").calls, usage=used)), TURNS)

    result = await stand.resume(saying(Reply(text="", calls=FINISH.calls, usage=used)))

    totals = result.totals
    assert (totals.turns, totals.input_tokens, totals.output_tokens, totals.cached_tokens) == (2, 10, 4, 2)


async def test_time_that_a_person_took_before_stays_a_persons(stand: Stand) -> None:
    """An action's duration holds the wait for its answer, which is not the sandbox's time."""
    ask = "version: 1\nname: x\ngrant: [files]\ncommands: {ask: [files list]}\n"
    first = await stand.run(saying(lines("files list")), ask, approver=SlowPerson(), headless=False)
    past = read_past(stand.state, SESSION)

    result = await stand.resume(saying(FINISH))

    (answered,) = stand.entries("approval.answered")
    assert first.totals.waiting_ms > SlowPerson.MILLISECONDS // 2
    assert past.totals.waiting_ms == answered["waited_ms"]
    assert past.totals.sandbox_ms == first.totals.sandbox_ms
    assert result.totals.waiting_ms == answered["waited_ms"]


async def test_an_account_is_of_all_runners_of_a_session(stand: Stand) -> None:
    """What the ledger and the sandbox took before is in the account at the end."""
    first = await stand.run(saying(lines("files list")), TURNS)
    kept = read_past(stand.state, SESSION).totals

    result = await stand.resume(saying(FINISH))

    assert first.totals.ledger_ms > 0
    assert (kept.ledger_ms, kept.sandbox_ms) == (first.totals.ledger_ms, first.totals.sandbox_ms)
    assert result.totals.ledger_ms > first.totals.ledger_ms
    assert result.totals.sandbox_ms >= first.totals.sandbox_ms
    assert read_past(stand.state, SESSION).totals.ledger_ms == result.totals.ledger_ms


async def test_an_observation_of_a_refusal_reads_back_word_for_word(stand: Stand) -> None:
    """Denials and errors are kept as they were told."""
    first = saying(
        lines("http get https://example.com", "files read nothing", "nonsense"), lines("files list"), FINISH
    )
    await stand.run(first, TURNS)

    past = read_past(stand.state, SESSION)

    told = [m for m in first.heard[-1] if isinstance(m, ObservationMessage)]
    assert [m for m in past.messages if isinstance(m, ObservationMessage)][:4] == told
    assert [message.refused for message in told] == [True, True, True, False]


async def test_what_is_done_again_because_nobody_knows_what_came_of_it_is_no_repetition(stand: Stand) -> None:
    """A machine that fails twice in one long action ends no session: the third time it gets through."""
    again = lines("files list")

    def cut_off(_: object, __: int) -> Reply:
        stand.housing.kill()
        return again

    lost = [await stand.run(Model(cut_off), TURNS, **IN_ITS_SANDBOX), await stand.resume(Model(cut_off))]
    past = read_past(stand.state, SESSION)
    result = await stand.resume(saying(again, FINISH))

    assert [each.status for each in lost] == ["sandbox_failed"] * 2
    assert past.repeating.times == 0
    assert (result.status, result.reason) == ("done", "ok")
    assert [entry["outcome"] for entry in stand.entries("action.finished")] == [
        "unknown",
        "unknown",
        "ok",
        "ok",
    ]


async def test_a_model_that_repeats_what_it_was_told_of_is_stopped_after_that(stand: Stand) -> None:
    """The twin: only what nobody knows the outcome of does not count."""
    again = lines("files list")

    def cut_off(_: object, __: int) -> Reply:
        stand.housing.kill()
        return again

    await stand.run(Model(cut_off), TURNS, **IN_ITS_SANDBOX)
    result = await stand.resume(saying(again, again, again))

    assert result.reason == "the model made the same calls 3 times in a row"
