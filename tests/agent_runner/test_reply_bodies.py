"""What came beside a reply's words: read back as written, refused as one error otherwise."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agent_runner.backends.backend import Call, Reply, Thought
from agent_runner.hearing import BODY_BYTES
from agent_runner.reply_bodies import Beside, kept_beside, read_beside
from agent_runner.transcript_redacted import as_meant, redacted, without_what_changes
from audit.errors import BadEventError
from audit.redact import Redactor
from cli_tools.action import LineProposal, Proposal, ToolProposal

NONE = Redactor({}, key=b"k")
THOUGHT = Thought(by="m", sealed='{"type": "thinking", "signature": "s"}', characters=1, calls=0)


DEEP = "[" * 100_000


def thought(sealed: str, *, characters: object = 0, calls: object = 0) -> bytes:
    """Return a body with one thought."""
    kept = {"by": "m", "sealed": sealed, "characters": characters, "calls": calls}
    return json.dumps({"bodies": {}, "thoughts": [kept]}).encode()


def written(body: bytes) -> Reply:
    """Return a reply that writes a content."""
    call = Call(call_id="c", proposal=LineProposal(line="files write a -", body=body))
    return Reply(text="", calls=(call,))


def test_what_an_earlier_version_kept_is_read_back() -> None:
    assert read_beside(3, b'{"bodies":{"0":"YWI="}}') == Beside(bodies={"0": b"ab"})


def test_thoughts_are_read_back_as_they_were() -> None:
    reply = Reply(text="", reasoning="h\u00e9 \u2028", reasoning_by="m", thoughts=(THOUGHT,))

    found = read_beside(3, kept_beside(reply, NONE))

    assert found == Beside(reasoning=reply.reasoning, reasoning_by="m", thoughts=(THOUGHT,))


def test_a_reply_without_any_keeps_nothing() -> None:
    assert kept_beside(Reply(text="said"), NONE) == b""


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"bodies":[]}',
        b'{"bodies":{"0":1}}',
        b'{"bodies":{"0":"a"}}',
        b"\xff",
        b'{"bodies":{},"reasoning":1}',
        b'{"bodies":{},"thoughts":1}',
        b'{"bodies":{},"thoughts":[{"by":"m"}]}',
        b'{"bodies":{},"thoughts":[{"by":"m","sealed":"[]","characters":0,"calls":0}]}',
        b'{"bodies":{},"thoughts":[{"by":"m","sealed":"{","characters":0,"calls":0}]}',
        b'{"bodies":{},"thoughts":[{"by":"m","sealed":"{}","characters":"0","calls":0}]}',
        *(thought(sealed) for sealed in (DEEP, "{}", '{"type":[]}', '{"type":"text","text":"x"}')),
        thought('{"type":"thinking","thinking":1}'),
        thought('{"type":"thinking","cache_control":"x"}'),
        *(thought(THOUGHT.sealed, characters=each) for each in (-1, True, 1.0, "0")),
        *(thought(THOUGHT.sealed, calls=each) for each in (-1, False, None)),
    ],
    ids=range(26),
)
def test_a_body_that_no_writer_wrote_is_refused(raw: bytes) -> None:
    """A forged log is told as one, whoever reads it: `resume` as well as `audit replay`."""
    with pytest.raises(BadEventError, match="entry 3 cannot be read back"):
        read_beside(3, raw)


@pytest.mark.parametrize("body", [b"token=hunter22-hunter22 ", b"hunter22-hunter23", b"xhunter22-hunter23"])
def test_contents_are_read_back_though_their_base64_looks_like_a_secret(body: bytes) -> None:
    """The secret is taken out before; what differs in its last letter only has the same base64 inside."""
    knows = Redactor({"token": "hunter22-hunter22"}, key=b"k")
    reply = redacted(written(body), knows)

    kept = knows.raw(kept_beside(reply, knows))

    assert read_beside(3, kept).bodies == {"0": knows.raw(body)}


def test_a_call_that_is_told_cut_is_never_done_as_it_came() -> None:
    """What stands for a secret may be longer than it: of the call, the ledger has that it was too long."""
    knows = Redactor({"token": "hunter2"}, key=b"k")
    placeholder = next(iter(knows.placeholders))

    def both(content: str) -> list[Proposal]:
        tool = ToolProposal(tool="files_write", arguments=json.dumps({"content": content}))
        line = LineProposal(line="files write a -", body=content.encode())
        heard = Reply(
            text="", calls=tuple(Call(call_id=c, proposal=p) for c, p in (("a", tool), ("b", line)))
        )
        told, meant = as_meant(heard, knows)
        return [call.proposal for call in (*told.calls, *meant)]

    told_tool, told_line, meant_tool, meant_line = both("hunter2" * (BODY_BYTES // 16))
    short = both("hunter2")

    assert isinstance(told_tool, ToolProposal)
    assert "characters of arguments, at most" in told_tool.arguments
    assert (meant_tool, meant_line) == (told_tool, told_line)
    assert [p.arguments for p in short if isinstance(p, ToolProposal)] == [
        f'{{"content": "{placeholder}"}}',
        '{"content": "hunter2"}',
    ]
    assert [p.body for p in short if isinstance(p, LineProposal)] == [placeholder.encode(), b"hunter2"]


def test_a_secret_that_is_split_over_two_thoughts_leaves_none_of_them() -> None:
    """Neither piece looks like it; shown one behind the other, both are it."""
    knows = Redactor({"token": "hunter22-hunter22"}, key=b"k")
    halves = [json.dumps({"type": "thinking", "thinking": half}) for half in ("hunter22", "-hunter22")]
    thoughts = tuple(replace(THOUGHT, sealed=sealed) for sealed in halves)
    whole = Reply(text="", reasoning="hunter22-hunter23", thoughts=thoughts)

    reply = redacted(replace(whole, reasoning="hunter22-hunter22"), knows)

    assert (reply.thoughts, reply.reasoning) == ((), next(iter(knows.placeholders)))
    assert redacted(whole, knows) == whole


def test_what_was_thought_is_kept_once() -> None:
    """A server that seals it has it back as it sealed it; another may ask for it aloud."""
    sealed = Reply(text="", reasoning="Look.", thoughts=(THOUGHT,))
    aloud = replace(sealed, reasoning_by="m", thoughts=())

    assert without_what_changes(sealed, NONE) == replace(sealed, reasoning="")
    assert without_what_changes(aloud, NONE) == aloud
    assert without_what_changes(replace(sealed, thoughts=()), NONE) == replace(sealed, thoughts=())


def test_thoughts_that_the_ledger_would_change_are_not_kept() -> None:
    """Spelled in the ledger's JSON, what is no secret may look like one."""
    knows = Redactor({"token": '{\\"type'}, key=b"k")
    reply = redacted(Reply(text="", reasoning="r", thoughts=(THOUGHT,)), knows)

    kept = without_what_changes(reply, knows)

    assert (reply.thoughts, kept.thoughts, kept.reasoning) == ((THOUGHT,), (), "")
