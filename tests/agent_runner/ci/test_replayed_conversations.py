"""What counts as the recorded conversation, where another one departs, and how recordings are read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.backends.backend import (
    Call,
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.backends.scripted import Script, ScriptedBackend, Turn
from agent_runner.ci.policy_diff import Otherwise, decided_otherwise
from agent_runner.ci.reading import read_task
from agent_runner.ci.recording import RecordedCall, RecordedTurn, Recording, as_text, read_recording, turns_of
from agent_runner.ci.replay import DepartedError, RecordedModel, same
from agent_runner.errors import InvalidInputError
from cli_tools.action import LineProposal, ToolProposal
from tests.agent_runner.ci.task_stand import POLICY, Project, pairlock

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "0" * 12, "1" * 12
RECORDING = Recording(
    task="mend",
    model="small (m-1)",
    policy="mend",
    session=OLD,
    system="You work",
    prompt="mend it",
    turns=(
        RecordedTurn(
            text="I look",
            calls=(
                RecordedCall(id="a", command="files read app.txt", answer=("one", "two")),
                RecordedCall(id="b", tool="files_list", arguments='{"path": "."}', answer="2 in 0.12s"),
            ),
            output_tokens=7,
        ),
        RecordedTurn(calls=(RecordedCall(id="c", command="finish --status done ok", answer="ok"),)),
    ),
)
BEGUN: tuple[Message, ...] = (SystemMessage(text="You work"), UserMessage(text="mend it"))


def answers(*texts: str) -> tuple[Message, ...]:
    return tuple(
        ObservationMessage(call_id=call, text=text, refused=False)
        for call, text in zip("ab", texts, strict=False)
    )


def asked(model: RecordedModel, *more: Message, begun: tuple[Message, ...] = BEGUN) -> Reply:
    return asyncio.run(model.ask((*begun, *more), ()))


def test_the_recorded_replies_come_again_with_their_calls_while_the_answers_are_the_recorded_ones() -> None:
    model = RecordedModel(RECORDING, session=NEW)

    first = asked(model)
    second = asked(model, ModelMessage(reply=first), *answers("one\ntwo", "2 in 3.4s"))

    assert first == Reply(
        text="I look",
        calls=(
            Call(call_id="a", proposal=LineProposal(line="files read app.txt")),
            Call(call_id="b", proposal=ToolProposal(tool="files_list", arguments='{"path": "."}')),
        ),
        usage=replace(first.usage, output_tokens=7),
    )
    assert second.calls[0].proposal == LineProposal(line="finish --status done ok")
    assert (model.kind, model.model, model.departure) == ("replay", "small (m-1)", None)


@pytest.mark.parametrize(
    ("begun", "said", "turn", "what"),
    [
        ((SystemMessage(text="You rest"), BEGUN[1]), None, 0, "what the session may do differs"),
        ((BEGUN[0], UserMessage(text="carry it off")), None, 0, "the prompt differs"),
        (BEGUN, ("one\ntwo", "3 in 0.12s"), 1, "another answer"),
        (BEGUN, ("one\ntwo",), 1, "it was answered then alone"),
        (BEGUN, ("one\ntwo ", "2 in 0.12s"), 1, "another answer"),
    ],
)
def test_the_first_difference_is_told_and_nothing_is_answered(
    begun: tuple[Message, ...], said: tuple[str, ...] | None, turn: int, what: str
) -> None:
    model = RecordedModel(RECORDING, session=NEW)

    more = (ModelMessage(reply=asked(model)), *answers(*said)) if said is not None else ()

    with pytest.raises(DepartedError) as departed:
        asked(model, *more, begun=begun)

    assert (departed.value.departure.turn, departed.value.departure.what) == (turn, what)


def test_a_difference_names_turn_action_expected_and_got_and_agents_texts_are_escaped() -> None:
    model = RecordedModel(RECORDING, session=NEW)
    reply = ModelMessage(reply=asked(model))

    with pytest.raises(DepartedError) as departed:
        asked(model, reply, *answers("one\n\x1b[2Jthree\u202e", "2 in 0.12s"))

    text = departed.value.departure.text()
    assert text.splitlines()[0] == "turn 1, `files read app.txt`: another answer"
    assert "\n-two" in text
    assert "three" in text
    assert not {"\x1b", "\u202e"} & set(text)


def test_the_last_turns_answers_and_turns_that_never_came_are_looked_at_at_the_end() -> None:
    whole = [*BEGUN]
    for turn in RECORDING.turns:
        whole += [ModelMessage(reply=turn.reply())]
        whole += [
            ObservationMessage(call_id=call.id, text=call.answered or "", refused=False)
            for call in turn.calls
        ]

    def back(messages: list[Message]) -> str:
        model = RecordedModel(RECORDING, session=NEW)
        model.look_back(messages)
        return model.departure.what if model.departure else ""

    other_end = ObservationMessage(call_id="c", text="otherwise", refused=False)
    assert back(whole) == ""
    assert back([*whole[:-1], other_end]) == "another answer"
    assert back(whole[:-2]) == "it ended here; 2 turns are recorded"


def test_a_model_goes_on_from_the_difference_and_a_script_from_its_own_turn() -> None:
    turns = (Turn(text="first"), Turn(text="second"), Turn(text="third"))
    live = ScriptedBackend(Script(version=1, turns=turns), name="live")
    model = RecordedModel(RECORDING, session=NEW, live=lambda: live)
    reply = ModelMessage(reply=asked(model))

    gone_on = [asked(model, reply, *answers("other", "2 in 1s")), asked(model, reply)]

    assert [each.text for each in gone_on] == ["second", "third"]
    assert model.departure is not None
    assert model.departure.turn == 1


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("3 passed in 0.02s", "3 passed in 11.9s", 1),
        ("3 passed in 0.02s", "4 passed in 0.02s", 0),
        ("at 2026-01-02T03:04:05.123456Z", "at 2025-12-31 23:59:59+01:00", 1),
        ("took 12 ms", "took 1.5 ms", 1),
        ("took 12 ms", "took 12 MB", 0),
        (f"session {OLD}", f"session {NEW}", 1),
        (f"session {OLD}", f"session {'2' * 12}", 0),
        ("<a.B object at 0x7f12deadbeef>", "<a.B object at 0x7f0000001234>", 1),
        ("0x10", "0x11", 0),
        ("6f1f0d1e-0c6b-4b8e-8f0e-0123456789ab", "11111111-2222-3333-4444-555555555555", 1),
        ("port 8080", "port 8081", 0),
        ("v1.2.3s", "v1.2.4s", 0),
    ],
)
def test_times_and_ids_alone_may_differ(one: str, other: str, alike: int) -> None:
    assert (same(one, (OLD, NEW)) == same(other, (OLD, NEW))) == bool(alike)


@given(st.text(), st.binary(), st.text())
def test_what_is_recorded_reads_back_as_it_was(text: str, body: bytes, answer: str) -> None:
    reply = Reply(
        text=text, calls=(Call(call_id="1", proposal=LineProposal(line="files write x", body=body)),)
    )
    messages: list[Message] = [
        ModelMessage(reply=reply),
        ObservationMessage(call_id="1", text=answer, refused=False),
    ]
    recording = RECORDING.model_copy(update={"turns": tuple(turns_of(messages))})

    again = Recording.model_validate_json(as_text(recording))

    assert again == recording
    assert again.turns[0].reply() == reply
    assert again.turns[0].calls[0].answered == answer
    assert as_text(recording).isascii()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"version": 1', '"version": 2', "`version`"),
        ('"task"', '"taks"', "`task`: field required"),
        ('"turns": [', '"turns": [7, ', "`turns.0`"),
        ('"turns": [', '"turns": [{"input_tokens": -1}, ', "`turns.0.input_tokens`"),
        ('"turns": [', '"turns": [{"output_tokens": 1' + "0" * 400 + "}, ", "`turns.0.output_tokens`"),
        ('"turns": [', '"turns": [{"calls": [{"id": "1", "content_base64": "a"}]}, ', "content_base64`"),
        ('"turns": [', '"turns": [{"calls": [{"id": "1", "content_base64": "%%"}]}, ', "content_base64`"),
        (f'"session": "{OLD}"', '"session": ""', "`session`"),
        (f'"session": "{OLD}"', '"session": "another text"', "`session`"),
        ("}", "", "invalid json"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "mend.json"
    path.write_text(as_text(RECORDING).replace(old, new))

    with pytest.raises(InvalidInputError) as refused:
        read_recording(path, "mend")

    assert said in refused.value.message


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "mend.json").write_text(as_text(RECORDING))
    return folder


def test_a_policy_that_denies_more_is_told_action_by_action_and_the_same_one_tells_nothing(
    project: Project, recordings: Path
) -> None:
    project.script("[]")
    task = read_task(project.task())
    narrow = POLICY.replace('["files *", run]', "[files list, run]")
    old = project.write("old/mend.yaml", narrow)

    found = [*decided_otherwise([task], recordings, str(old))]
    by_folder = [*decided_otherwise([task], recordings, str(old.parent))]
    same_policy = [*decided_otherwise([task], recordings, str(project.folder / "policies/mend.yaml"))]
    unknown = [*decided_otherwise([task], recordings, str(recordings))]

    assert found == by_folder
    assert [(each.turn, each.action, each.old.verdict, each.new.verdict) for each in found
            if isinstance(each, Otherwise)] == [(1, "files read app.txt", "denied", "allowed")]  # fmt: skip
    assert same_policy == []
    assert unknown == ["mend"]


def test_the_difference_of_policies_is_shown_and_ends_with_1_and_runs_nothing(
    project: Project, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No engine is asked and no model is configured."""
    monkeypatch.setenv("PAIRLOCK_STATE", str(tmp_path / "state"))
    path = project.task()
    old = project.write("old/mend.yaml", POLICY.replace('["files *", run]', "[files list, run]"))
    assert pairlock("trust", path).exit_code == 0

    other = pairlock("run", path, "--replay", recordings, "--policy-diff", old)
    same_policy = pairlock(
        "run", path, "--replay", recordings, "--policy-diff", project.folder / "policies/mend.yaml"
    )
    alone = pairlock("run", path, "--policy-diff", old)

    assert (other.exit_code, same_policy.exit_code, alone.exit_code) == (1, 0, 2)
    assert "mend: turn 1: denied -> allowed: files read app.txt" in other.stdout
    assert same_policy.stdout == ""
