"""A recorded session answers again: the same to the same conversation, and nothing to another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner import models
from agent_runner.backends.backend import UserMessage
from agent_runner.backends.replay import ConversationDepartedError, ReplayBackend, recorded_backend
from agent_runner.errors import BackendError, InvalidInputError
from agent_runner.fold import read_past
from agent_runner.models import choose_backend, model_reference
from audit.errors import AuditError
from cli_tools.action import LineProposal
from tests.agent_runner.careful import careful, prepare
from tests.agent_runner.stand import FINISH, SESSION, lines, saying

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.stand import Stand

AGAIN = "bcdefghjkmnp"


async def recorded(stand: Stand) -> ReplayBackend:
    """Run a session with bodies, denials, errors and parallel calls, and return what replays it."""
    prepare(stand.folder)
    assert (await stand.run(careful())).status == "done"
    return recorded_backend(str(stand.state / "sessions" / SESSION), name="replay")


def emptied(stand: Stand) -> None:
    """Bring the workspace back to what the recorded session began with."""
    for path in stand.folder.iterdir():
        path.unlink()
    prepare(stand.folder)


async def test_the_same_session_runs_again_to_the_same_end(stand: Stand) -> None:
    backend = await recorded(stand)
    after = {path.name: path.read_bytes() for path in stand.folder.iterdir()}
    emptied(stand)

    result = await stand.run(backend, session=AGAIN)

    assert (result.status, result.totals.input_tokens) == ("done", 7 * 6)
    assert {path.name: path.read_bytes() for path in stand.folder.iterdir()} == after
    assert read_past(stand.state, AGAIN).messages == read_past(stand.state, SESSION).messages


async def test_a_conversation_that_departs_is_refused_with_the_difference(stand: Stand) -> None:
    """The workspace holds a file that was not there: the first observation is another one."""
    backend = await recorded(stand)
    emptied(stand)
    (stand.folder / "new").write_text("")

    result = await stand.run(backend, session=AGAIN)

    error = result.error
    assert (result.status, result.exit_code) == ("model_failed", 7)
    assert isinstance(error, ConversationDepartedError)
    assert (error.session, error.place) == (SESSION, 4)
    assert [line[0] for line in error.detail.splitlines() if "new" in line] == ["+"]
    assert "new" not in error.recorded
    assert f"message 4 is not what session `{SESSION}` recorded" in result.reason


async def test_another_task_is_another_conversation(stand: Stand) -> None:
    backend = await recorded(stand)
    emptied(stand)

    result = await stand.run(backend, session=AGAIN, task="another")

    assert isinstance(result.error, ConversationDepartedError)
    assert result.error.place == 2
    assert result.error.detail.splitlines()[-2:] == ["-a test", "+another"]
    assert (stand.folder / "old").exists()


async def test_a_record_that_ends_early_is_replayed_up_to_there(stand: Stand) -> None:
    prepare(stand.folder)
    await stand.run(saying(lines("files list")))
    backend = recorded_backend(str(stand.state / "sessions" / SESSION), name="replay")

    result = await stand.run(backend, session=AGAIN)

    assert result.reason == f"session `{SESSION}` ended after 4 messages, nothing more is recorded"
    assert (result.totals.turns, result.totals.actions) == (1, 1)


async def test_a_question_asked_too_early_is_refused(stand: Stand) -> None:
    backend = await recorded(stand)
    said = read_past(stand.state, SESSION).messages

    with pytest.raises(ConversationDepartedError):
        await backend.ask(said[:1], ())
    with pytest.raises(ConversationDepartedError):
        await backend.ask((*said[:2], UserMessage(text="more")), ())
    with pytest.raises(BackendError, match="ended after"):
        await backend.ask(said, ())
    first = (await backend.ask(said[:2], ())).calls[0].proposal
    assert first == LineProposal(line="files list")


async def test_a_replay_goes_on_after_an_interruption(stand: Stand) -> None:
    """It remembers no turn: what it is asked says where it is."""
    backend = await recorded(stand)
    said = read_past(stand.state, SESSION).messages

    replies = [m.reply for place, m in enumerate(said) if hasattr(m, "reply") and place > 6]
    again = ReplayBackend(said, session=SESSION, name="replay")
    asked = [
        await again.ask(said[:place], ()) for place, m in enumerate(said) if hasattr(m, "reply") and place > 6
    ]

    assert asked == replies
    assert backend.model == f"replay ({SESSION})"


async def test_a_session_is_named_by_id_or_folder(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await recorded(stand)
    monkeypatch.setenv("PAIRLOCK_STATE", str(stand.state))
    config = tmp_path / "config.yaml"
    config.write_text(f"version: 1\nmodels: {{default: {{backend: replay, session: {SESSION[:6]!r}}}}}\n")
    monkeypatch.setattr(models, "configuration_path", lambda: config)
    folder = str(stand.state / "sessions" / SESSION)

    named = [choose_backend(name).model for name in (None, "replay:last", f"replay:{folder}")]

    assert named == [f"default ({SESSION})", f"replay:last ({SESSION})", f"replay:{folder} ({SESSION})"]
    assert model_reference("replay:last") == f"replay:{folder}"


@pytest.mark.parametrize("given", ["/tmp", "./nothing", "/x/sessions/short"])
def test_a_folder_that_is_no_sessions_is_refused(given: str) -> None:
    with pytest.raises(InvalidInputError, match="is no session's folder"):
        recorded_backend(given, name="r")


def test_a_session_that_is_not_there_is_refused(stand: Stand) -> None:
    with pytest.raises(AuditError, match="`0000"):
        recorded_backend(str(stand.state / "sessions" / "000000000000"), name="r")


async def test_a_ledger_that_was_changed_answers_nothing(stand: Stand) -> None:
    prepare(stand.folder)
    await stand.run(saying(FINISH))
    path = stand.state / "sessions" / SESSION / "events.jsonl"
    path.write_text(path.read_text().replace('"finish --status done ok"', '"files remove old"'))

    with pytest.raises(AuditError):
        recorded_backend(str(path.parent), name="r")
