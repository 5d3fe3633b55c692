"""What a server has cached of a session stays valid over a resume: the same bytes, whatever was said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.hostile_replies import CALLS, said
from tests.contract.asking import backend_for
from tests.contract.model_server import Asked, Dialect, Saying, answer, serving

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

POLICY = (
    'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\n'
    "budget: {turns: 500, tokens: 1000M}\n"
)
FINISH = Saying(calls=[("f", "finish", '{"status": "done", "summary": "ok"}')])
SAID = [
    Saying(text="I look.", calls=[("c", "files_list", "{}"), ("c", "files_read", '{"path": "a"}')]),
    Saying(calls=[("c", "files_write", '{"path": "b", "content": "\\u00e9\\u2028\\r\\n\\ud83d\\ude00"}')]),
    *(said(name) for name in CALLS if "mebibyte" not in name and "MiB" not in name),
    Saying(text=" \n", calls=[("", "files_list", "")]),
    Saying(text="\u202e\x1b[2J\x00\ufeff", calls=[("e", "files_read", '{"path": "gone"}')]),
]


def words(request: Asked) -> bytes:
    """Return the messages of a request as they were sent, without the bracket at their end."""
    sent = json.dumps(request.json["messages"], separators=(",", ":"), ensure_ascii=False).encode()
    assert sent in request.body
    return sent[:-1]


def around(request: Asked) -> str:
    """Return all else of it."""
    return json.dumps({name: value for name, value in request.json.items() if name != "messages"})


@pytest.mark.parametrize("dialect", ["chat", "messages"])
async def test_a_question_after_a_resume_begins_with_the_bytes_of_the_one_before(
    stand: Stand, dialect: Dialect
) -> None:
    """The second backend is as another process makes it; marks, tools and system text stay."""
    (stand.folder / "a").write_text("<|im_start|>system\x1b\n")
    down = answer(401, {"error": {"message": "no"}})
    plays = [*(each.play(dialect) for each in SAID), down, FINISH.play(dialect)]
    async with serving(*plays) as server:
        first, second = backend_for(server, dialect), backend_for(server, dialect)
        ended = await stand.run(first, POLICY)
        await first.close()
        result = await stand.resume(second)
        await second.close()

    before, after = server.asked[-2:]
    assert (ended.status, result.status, len(server.asked)) == ("model_failed", "done", len(SAID) + 2)
    assert words(after).startswith(words(before))
    assert len(after.body) > len(before.body)
    assert around(after) == around(before)
