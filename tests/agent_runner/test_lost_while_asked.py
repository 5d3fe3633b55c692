"""A session whose sandbox goes while a person is asked withdraws the question; resumed, it asks again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_runner.cli.talk import PlainWatcher
from audit.verify import verify_session
from tests.agent_runner.people import DecidedPerson, SleepingPerson
from tests.agent_runner.reachable import LONG, POLICY
from tests.agent_runner.stand import FINISH, SESSION, Stand, lines, saying

if TYPE_CHECKING:
    import pytest

    from agent_runner.approvals import Answer
    from agent_runner.question import Question


class Unlucky(SleepingPerson):
    """Sleeps over a question while the sandbox is killed."""

    def __init__(self, stand: Stand) -> None:
        super().__init__()
        self._stand = stand

    async def ask(self, question: Question) -> Answer:
        """Kill the guest, and wait for ever."""
        self._stand.housing.kill()
        return await super().ask(question)


async def test_a_question_about_a_sandbox_that_is_gone_is_withdrawn_and_asked_again_later(
    stand: Stand,
) -> None:
    """As when its engine is killed: nobody approves what can no longer be done; nothing was done."""
    (stand.folder / "a").write_text("a")
    person = Unlucky(stand)

    asked = stand.run(saying(lines("files remove a")), POLICY, headless=False, approver=person)
    result = await asyncio.wait_for(asked, LONG)
    kept = (stand.folder / "a").exists()
    again = await stand.resume(saying(FINISH), headless=False, approver=DecidedPerson("approved"))

    assert (result.status, result.exit_code, kept) == ("sandbox_failed", 4, True)
    assert result.reason == "the sandbox was lost while the session waited"
    assert person.withdrawn
    assert again.status == "done"
    assert [entry["answer"] for entry in stand.entries("approval.answered")] == ["approved"]
    assert len(stand.entries("approval.requested")) == 2
    assert not (stand.folder / "a").exists()
    assert verify_session(stand.state, SESSION).faults() == {}


async def test_what_an_earlier_runner_left_open_is_shown_with_its_command_line(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person who goes on with a session saw `ran`, and not what."""
    (stand.folder / "a").write_text("a")
    tidies = saying(lines("files list", "files remove a", text="I tidy up."))
    asked = stand.run(tidies, POLICY, headless=False, approver=Unlucky(stand))
    await asyncio.wait_for(asked, LONG)

    yes = DecidedPerson("approved")
    await stand.resume(saying(FINISH), headless=False, approver=yes, watcher=PlainWatcher())

    shown = capsys.readouterr().err.splitlines()
    assert shown[:3] == ["turn 1", "  | I tidy up.", "  ran     files remove a"]
    assert "turn 2" in shown
