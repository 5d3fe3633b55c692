"""Another terminal of the same user answers a question, or stops a session; and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.approvals import Answer, FirstAnswer, OneAtATime, ask_and_record
from agent_runner.door import Door, dead_sockets, socket_path, tell
from agent_runner.errors import InvalidInputError, RunnerError
from agent_runner.question import Question, digest_of, question_fields
from agent_runner.session import SessionRun
from audit.journal import Journal, Registration
from audit.state import SessionFiles
from policies.request import Reason
from tests.agent_runner.people import DecidedPerson, SilentPerson, SleepingPerson
from tests.agent_runner.stand import FINISH, SESSION, lines, saying

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

CHECKOUT = Path(__file__).resolve().parents[2]
ARGV = ("files", "write", "a\x1b[2J")
ASK = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"], ask: ["files remove"]}\n'
QUESTION = Question(
    action=f"{SESSION}/1",
    argv=ARGV,
    body=b"new\x1b[0m",
    digest=digest_of(ARGV, b"new\x1b[0m"),
    reasons=(Reason("command", "the policy asks"),),
)
FILES = SessionFiles(Path("/nonexistent"))
"""Nobody subscribes here."""


pytestmark = pytest.mark.usefixtures("runtime")


def journal_in(state: Path) -> Journal:
    """Return a new ledger."""
    return Journal.create(
        state,
        SESSION,
        registration=Registration(grant="files", workspace=None, owner_uid=os.getuid()),
        secrets_by_name={},
        writer="test",
        programs=False,
    )


async def said(**request: object) -> dict[str, object]:
    """Speak from another terminal."""
    return await asyncio.to_thread(lambda: tell(SESSION, **request))


async def waiting() -> dict[str, Any]:
    """Return the question that waits, once one does."""
    while True:
        question = (await said(do="status"))["question"]
        if isinstance(question, dict):
            return question
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(("word", "verdict"), [("approve", "approved"), ("deny", "denied")])
async def test_what_is_shown_is_answered_from_another_terminal(word: str, verdict: str) -> None:
    """Escaped and whole; the answer names the action and its digest."""
    door = Door(SESSION, stop=lambda: None, files=FILES)
    async with door.open():
        asked = asyncio.ensure_future(door.ask(QUESTION))
        shown = await waiting()
        await said(do=word, action=shown["action"], digest=shown["digest"])
        answer = await asked

    assert (answer.verdict, answer.via) == (verdict, "socket")
    assert "\x1b" not in json.dumps(shown, ensure_ascii=False)
    assert shown["argv"][:2] == ["files", "write"]
    assert shown["body"].startswith("new")


async def test_a_question_is_escaped_once_however_often_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Escaped anew for each look of one who was attached, a long one took a fifth of a processor."""
    escaped: list[Question] = []
    monkeypatch.setattr(
        "agent_runner.door.question_fields", lambda asked: escaped.append(asked) or question_fields(asked)
    )
    door = Door(SESSION, stop=lambda: None, files=FILES)
    second = replace(QUESTION, action=f"{SESSION}/2")
    async with door.open():
        for question in (QUESTION, second):
            asked = asyncio.ensure_future(door.ask(question))
            told = [await waiting(), await waiting()]
            assert told == [question_fields(question)] * 2
            await said(do="deny", action=question.action, digest=question.digest)
            await asked
            assert (await said(do="status"))["question"] is None

    assert escaped == [QUESTION, second]


async def test_an_answer_to_another_action_is_refused() -> None:
    """The digest holds what was shown to what will run; no answer is for another, or for always (B59)."""
    door = Door(SESSION, stop=lambda: None, files=FILES)
    async with door.open():
        asked = asyncio.ensure_future(door.ask(QUESTION))
        await waiting()
        with pytest.raises(InvalidInputError, match="what waits is another action"):
            await said(do="approve", action=QUESTION.action, digest="0" * 64)
        asked.cancel()


async def test_nobody_in_time_is_no() -> None:
    door = Door(SESSION, stop=lambda: None, files=FILES, wait_seconds=0.05)

    assert (await door.ask(QUESTION)).verdict == "timed_out"


async def test_an_answer_that_comes_too_late_answers_nothing() -> None:
    door = Door(SESSION, stop=lambda: None, files=FILES, wait_seconds=0.05)
    async with door.open():
        await door.ask(QUESTION)
        with pytest.raises(InvalidInputError, match="nothing waits"):
            await said(do="approve", action=QUESTION.action, digest=QUESTION.digest)


async def test_an_answer_that_was_taken_as_the_time_ended_counts() -> None:
    """Whoever was told that the answer counts is not told otherwise by the ledger."""
    loop = asyncio.get_running_loop()
    told: list[object] = []
    door = Door(SESSION, stop=lambda: None, files=FILES, wait_seconds=0.05)

    def answer() -> None:
        told.append(door._decided("approve", QUESTION.action, QUESTION.digest)["ok"])

    asked = asyncio.ensure_future(door.ask(QUESTION))
    await asyncio.sleep(0)
    loop.call_later(0.01, time.sleep, 0.1)  # then the answer and the end are due in one round, in this order
    loop.call_later(0.02, answer)
    verdict = (await asked).verdict

    assert (verdict, told) == ("approved", [True])


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[]\n", b'{"version":2,"do":"stop"}\n', b'{"version":1,"do":"run"}\n']
)
async def test_what_is_no_request_is_refused_and_does_nothing(line: bytes) -> None:
    stopped: list[bool] = []
    door = Door(SESSION, stop=lambda: stopped.append(True), files=FILES)
    async with door.open():
        reader, writer = await asyncio.open_unix_connection(str(socket_path(SESSION)))
        writer.write(line)
        answer = json.loads(await reader.readline())
        writer.close()

    assert answer["ok"] is False
    assert stopped == []


async def test_a_door_has_its_name_only_once_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who came a moment before was told that the session had ended, and `clean` took the name away."""
    named: list[bool] = []
    listen = socket.socket.listen

    def watched(line: socket.socket, *backlog: int) -> None:
        named.append(socket_path(SESSION).exists())
        listen(line, *backlog)

    monkeypatch.setattr(socket.socket, "listen", watched)
    async with Door(SESSION, stop=lambda: None, files=FILES).open():
        left = [path.name for path in socket_path(SESSION).parent.iterdir()]

    assert named == [False]
    assert left == [SESSION]


async def test_a_socket_folder_of_somebody_else_is_not_used(runtime: Path) -> None:
    (runtime / "pairlock").mkdir(mode=0o777)
    (runtime / "pairlock").chmod(0o777)

    with pytest.raises(RunnerError, match="is not this user's alone"):
        socket_path(SESSION)


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user to be")
async def test_another_user_is_not_heard(runtime: Path) -> None:
    """Even where the modes of the folder would let it in."""
    door = Door(SESSION, stop=lambda: None, files=FILES)
    async with door.open():
        path = socket_path(SESSION)
        for folder in (*reversed(path.parents), path):
            if folder.is_relative_to(runtime.parents[1]):
                folder.chmod(0o777)
        code = (
            "import os, socket, sys; os.setuid(23456); s = socket.socket(socket.AF_UNIX); "
            's.connect(sys.argv[1]); s.sendall(b\'{"version":1,"do":"status"}\\n\'); print(len(s.recv(99)))'
        )
        command = [sys.executable, "-c", code, str(path)]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)

    assert done.stdout.strip() in {"", "0"}, done.stderr


async def test_the_first_answer_counts_and_the_other_question_is_withdrawn() -> None:
    asleep = SleepingPerson()

    answer = await FirstAnswer(asleep, DecidedPerson("denied")).ask(QUESTION)

    assert answer.verdict == "denied"
    assert asleep.withdrawn


async def test_of_two_answers_at_once_a_no_counts() -> None:
    """Whichever place stands first."""
    people = (DecidedPerson("approved"), DecidedPerson("denied"))

    answers = [await FirstAnswer(*order).ask(QUESTION) for order in (people, people[::-1])]

    assert [answer.verdict for answer in answers] == ["denied", "denied"]


class Typing:
    """A terminal at which an answer is typed when a test says so."""

    def __init__(self) -> None:
        self.typed: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def ask(self, question: Question) -> Answer:  # noqa: ARG002 - the protocol's parameter
        """Return what is typed."""
        return await self.typed


@pytest.mark.parametrize("door_first", [True, False])
@pytest.mark.parametrize("turns", range(6))
async def test_a_no_that_was_told_to_count_counts_beside_a_yes_elsewhere(
    *, door_first: bool, turns: int
) -> None:
    """However few turns of the loop lie between the two, and whichever place stands first."""
    door, terminal = Door(SESSION, stop=lambda: None, files=FILES), Typing()
    places = (door, terminal) if door_first else (terminal, door)
    asked = asyncio.ensure_future(OneAtATime(FirstAnswer(*places)).ask(QUESTION))
    await asyncio.sleep(0.01)

    terminal.typed.set_result(Answer(verdict="approved", by="somebody", via="terminal"))
    for _ in range(turns):
        await asyncio.sleep(0)
    told = denied_at(door)
    answer = await asked

    assert answer.verdict == ("denied" if told else "approved")
    assert told or turns


@pytest.mark.parametrize("turns", range(6))
async def test_a_yes_that_comes_after_a_no_changes_nothing(turns: int) -> None:
    door, terminal = Door(SESSION, stop=lambda: None, files=FILES), Typing()
    asked = asyncio.ensure_future(OneAtATime(FirstAnswer(terminal, door)).ask(QUESTION))
    await asyncio.sleep(0.01)

    told = denied_at(door)
    for _ in range(turns):
        await asyncio.sleep(0)
    if not terminal.typed.done():
        terminal.typed.set_result(Answer(verdict="approved", by="somebody", via="terminal"))

    assert (told, (await asked).verdict) == (True, "denied")


def denied_at(door: Door) -> bool:
    """Say no as another terminal does, within this turn of the loop; tell whether it was told to count."""
    line = {"version": 1, "do": "deny", "action": QUESTION.action, "digest": QUESTION.digest}
    told, _ = door._replied(json.dumps(line).encode())
    return bool(told["ok"])


class AtTheLastMoment:
    """Answers as the question is withdrawn."""

    async def ask(self, question: Question) -> Answer:  # noqa: ARG002 - the protocol's parameter
        """Wait for the withdrawal."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Answer(verdict="denied", by="somebody", via="socket")
        raise AssertionError("nobody wakes it")


async def test_an_answer_as_the_time_ends_is_the_one_that_the_ledger_has(tmp_path: Path) -> None:
    """An egress rule's question has a time of its own, which may end before its places' times do."""
    asker = OneAtATime(FirstAnswer(AtTheLastMoment(), SleepingPerson()))
    async with journal_in(tmp_path) as journal:
        why_not = await ask_and_record(journal, asker, QUESTION, wait_seconds=0.05)
        silence = await ask_and_record(
            journal, OneAtATime(FirstAnswer(SleepingPerson())), QUESTION, wait_seconds=0.05
        )

    assert (why_not, silence) == ("a person said no", "nobody answered in time")


async def test_a_session_that_is_interrupted_goes_on_for_no_answer(tmp_path: Path) -> None:
    """What cancels it cancels it, though somebody answers in that moment."""
    asker = OneAtATime(FirstAnswer(AtTheLastMoment()))
    async with journal_in(tmp_path) as journal:
        asking = asyncio.ensure_future(ask_and_record(journal, asker, QUESTION))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait({asking})

    assert asking.cancelled()


async def test_a_place_whose_time_is_over_does_not_cut_off_the_others() -> None:
    """Each waits its own time; only when all have waited it out has nobody answered."""

    class Later(DecidedPerson):
        async def ask(self, question: Question) -> Answer:
            await asyncio.sleep(0.05)
            return await super().ask(question)

    late = await FirstAnswer(SilentPerson(), Later("approved")).ask(QUESTION)
    silence = await FirstAnswer(SilentPerson(), SilentPerson()).ask(QUESTION)

    assert (late.verdict, silence.verdict) == ("approved", "timed_out")


async def test_of_two_questions_at_once_an_answer_counts_for_the_one_that_is_shown() -> None:
    """An action's and an egress rule's come from two places; `yes` to one is never `yes` to the other."""
    other = replace(QUESTION, action=f"{SESSION}/2", digest="f" * 64)
    door = Door(SESSION, stop=lambda: None, files=FILES)
    asker = OneAtATime(door)
    async with door.open():
        first = asyncio.ensure_future(asker.ask(QUESTION))
        shown = await waiting()
        second = asyncio.ensure_future(asker.ask(other))
        with pytest.raises(InvalidInputError, match="what waits is another action"):
            await said(do="approve", action=other.action, digest=other.digest)
        await said(do="approve", action=shown["action"], digest=shown["digest"])
        answer = await first
        then = await waiting()
        open_still = not second.done()
        await said(do="deny", action=then["action"], digest=then["digest"])

    assert (answer.verdict, open_still) == ("approved", True)
    assert then["digest"] == other.digest
    assert (await second).verdict == "denied"


@pytest.mark.parametrize(("headless", "verdict"), [(True, "timed_out"), (False, "approved")])
async def test_a_headless_session_asks_nobody_about_its_egress_either(
    stand: Stand, *, headless: bool, verdict: str
) -> None:
    """Both gates put their questions to the one asker of the session."""
    person = DecidedPerson("approved")
    request = stand.request(saying(), ASK, approver=person, headless=headless)
    async with journal_in(stand.state) as journal:
        run = SessionRun(request, SESSION, journal, stand.state)
        answer = await run._asker.ask(QUESTION)

    assert isinstance(run._asker, OneAtATime)
    assert answer.verdict == verdict
    assert len(person.asked) == (0 if headless else 1)


@pytest.mark.parametrize(("verdict", "kind"), [("approved", "done"), ("denied", "denied")])
async def test_an_approval_and_its_question_are_entries_before_the_act(
    stand: Stand, verdict: Any, kind: str
) -> None:
    """Asked, answered, then done or not: in this order in the ledger, with one digest."""
    (stand.folder / "f").write_text("x")
    person = DecidedPerson(verdict)

    await stand.run(saying(lines("files remove f"), FINISH), ASK, approver=person, headless=False)

    requested, answered = stand.entries("approval.requested"), stand.entries("approval.answered")
    assert stand.eyes.seen[0].kind == kind
    assert (stand.folder / "f").exists() == (verdict == "denied")
    assert [entry["digest"] for entry in (*requested, *answered)] == [person.asked[0].digest] * 2
    assert answered[0]["answer"] == verdict
    assert person.asked[0].argv == ("files", "remove", "f")


async def test_a_socket_left_before_it_had_its_name_is_known_as_dead_and_one_taken_away_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A runner may be killed between the two; `clean` may look in that moment."""
    path = socket_path(SESSION)
    unready = path.with_name(f".{SESSION[1:]}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(unready))
    left = dead_sockets()

    rename, renamed = Path.rename, list[Path]()

    def taken(self: Path, target: Path) -> Path:
        renamed.append(self)
        if len(renamed) == 1:
            self.unlink()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", taken)
    async with Door(SESSION, stop=lambda: None, files=FILES).open():
        listens = dead_sockets() == [] and path.is_socket()

    assert left == [unready]
    assert renamed == [unready, unready]
    assert listens
    assert list(path.parent.iterdir()) == []
