"""Whatever a model says becomes a bounded, explained observation; it never ends a session by accident."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import Call, ModelMessage, ObservationMessage, Reply
from agent_runner.fold import read_conversation
from agent_runner.hearing import ARGUMENT_CHARACTERS, MOST_CALLS, NO_NAME, TEXT_CHARACTERS, bounded
from audit.verify import verify_session
from cli_tools.action import LineProposal, ToolProposal
from tests.agent_runner.stand import FINISH, SESSION, lines, saying, tool

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

HOSTILE = {
    "an undeclared tool": (
        tool("terminal", '{"cmd": "id"}'),
        "error (unknown-command): `terminal` is not a command",
    ),
    "no tool at all": (tool("", "{}"), "error (unknown-command): `(no name)` is not a command"),
    "an unknown argument": (tool("files_read", '{"path": "a", "sudo": true}'), "has no argument `sudo`"),
    "a missing argument": (tool("files_read", "{}"), "error (usage): `files read`"),
    "a wrong type": (tool("files_read", '{"path": {"a": 1}}'), "`path` must be text"),
    "no JSON": (tool("files_read", "{path: a}"), "are not JSON"),
    "half of JSON": (tool("files_read", '{"path": "a'), "are not JSON"),
    "a list": (tool("files_read", '["a"]'), "must be a JSON object"),
    "a name twice": (tool("files_read", '{"path": "a", "path": "b"}'), "a name stands twice"),
    "not a number": (tool("files_list", '{"depth": NaN}'), "is not JSON"),
    "deep nesting": (tool("files_read", "[" * 100_000), "are not JSON"),
    "a lone surrogate": (tool("files_read", '{"path": "\\ud800"}'), "error (usage)"),
    "a raw surrogate": (tool("files_read", '{"path": "\ud800"}'), "error"),
    "a NUL": (tool("files_read", '{"path": "a\\u0000b"}'), "holds a NUL"),
    "control tokens": (tool("<|im_start|>system", "{}"), "is not a command"),
    "an endless line": (lines("files read " + "x" * 100_000), "error (too-long)"),
    "megabytes of arguments": (
        tool("files_read", '{"path": "' + "x" * (ARGUMENT_CHARACTERS + 1) + '"}'),
        f"characters of arguments, at most {ARGUMENT_CHARACTERS} are read",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_output_is_a_bounded_explained_observation(stand: Stand, name: str) -> None:
    """The session goes on to its `finish`; ledger and model have the same words."""
    reply, expected = HOSTILE[name]
    model = saying(reply, FINISH)

    result = await stand.run(model)

    observation = next(m for m in model.heard[-1] if isinstance(m, ObservationMessage))
    assert result.status == "done"
    assert observation.refused
    assert expected in observation.text
    assert len(observation.text) < 2000
    assert "<|im_start|>" not in observation.text
    assert result.totals.denials == 0  # an error, and no denial by the policy
    assert verify_session(stand.state, SESSION).faults() == {}


async def test_conflicting_calls_of_one_reply_are_carried_out_one_after_the_other(stand: Stand) -> None:
    """In the order in which they stand, each seeing what the one before it did."""
    write = Call(call_id="a", proposal=LineProposal(line="files write f", body=b"one"))
    again = Call(call_id="b", proposal=LineProposal(line="files write f", body=b"two"))
    gone = Call(call_id="c", proposal=LineProposal(line="files remove f"))

    await stand.run(saying(Reply(text="", calls=(write, again, gone, gone)), FINISH))

    assert [seen.kind for seen in stand.eyes.seen] == ["done", "done", "done", "error", "done"]
    assert not (stand.folder / "f").exists()


@pytest.mark.parametrize("behind", [0, 2])
async def test_what_stands_behind_finish_is_not_carried_out_and_the_end_says_so(
    stand: Stand, behind: int
) -> None:
    """The model took it for done, and nobody would look for it."""
    calls = ["finish --status done ok", *["files remove f"] * behind]
    (stand.folder / "f").write_text("f")

    result = await stand.run(saying(lines("files list", *calls)))

    told = "[2 more of the same reply, behind `finish`, not carried out] " if behind else ""
    assert (result.status, result.reason) == ("done", f"{told}ok")
    assert stand.entries("session.closed")[0]["reason"] == result.reason
    assert (stand.folder / "f").exists()


def test_a_reply_that_fits_is_left_as_it_is() -> None:
    reply = lines("files list", "files read a", text="as it was")

    assert bounded(reply) is reply


def test_endless_text_is_cut_and_says_so() -> None:
    heard = bounded(Reply(text="x" * (TEXT_CHARACTERS + 7)))

    assert heard.text == "x" * TEXT_CHARACTERS + "\n[7 more characters were left out]"


def test_more_calls_than_are_taken_are_named() -> None:
    heard = bounded(lines(*["files list"] * (MOST_CALLS + 3)))

    assert len(heard.calls) == MOST_CALLS
    assert heard.text == "\n[3 more calls were left out: at most 64 of a reply are taken]"


def test_calls_without_an_id_or_with_the_same_are_told_apart() -> None:
    """Providers refuse a conversation in which two answers name one call."""
    proposal = ToolProposal(tool="files_list", arguments="{}")
    calls = tuple(Call(call_id=call_id, proposal=proposal) for call_id in ("", "x", "x", "x.3", ""))

    heard = bounded(Reply(text="", calls=calls))

    ids = [call.call_id for call in heard.calls]
    assert len(set(ids)) == len(ids)
    assert all(ids)
    assert ids[1] == "x"


def test_text_that_has_no_bytes_gets_some() -> None:
    assert bounded(Reply(text="a\ud800b")).text == "a\\ud800b"


async def test_a_call_without_a_name_reads_back_as_one_and_never_as_a_command_line(stand: Stand) -> None:
    """In the ledger what has no name is a command line: resumed, the session would have carried it out."""
    model = saying(tool("", "files remove a"), FINISH)

    await stand.run(model)

    heard = model.heard[-1]
    assert read_conversation(stand.state, SESSION)[: len(heard)] == heard
    assert [call.proposal for m in heard if isinstance(m, ModelMessage) for call in m.reply.calls] == [
        ToolProposal(tool=NO_NAME, arguments="files remove a")
    ]
