"""A compromised agent crowds its own loopback, from inside: it gains nothing, and can be answered again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent_runner.backends.backend import Reply
from tests.agent_runner.gateway.screen import asked
from tests.agent_runner.stand import Model

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

CROWD = """
    import resource, socket
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    question = {"model": "main", "messages": [{"role": "user", "content": "x"}]}
    raw = json.dumps({**question, "stream": True}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: "
    whole = head + b"%d\\r\\n\\r\\n" % len(raw) + raw
    def crowd(sent):
        lines = []
        for _ in range(1000):
            line = socket.socket()
            line.setblocking(False)
            try:
                line.connect(("127.0.0.1", 3128))
            except BlockingIOError:
                pass
            lines.append(line)
        for line in lines:
            try:
                line.send(sent)
            except OSError:
                pass
        for line in lines:
            line.close()
    def answered():
        status, body = post("/v1/chat/completions", question)
        return status, json.loads(body)["choices"][0]["message"]["content"]
    told = []
    for sent in (b"P", head, b"\\0" * 4096, whole):
        crowd(sent)
        told.append(answered())
    print(json.dumps(told))
"""


async def test_a_thousand_connections_at_once_leave_the_next_request_answered(stand: Stand) -> None:
    """Begun heads, whole questions that nobody waits for, bytes that are nothing: four thousand in all."""
    model = Model(lambda _, __: Reply(text="It is."))

    done, screen = await asked(stand, model, CROWD)

    assert done.code == 0, bytes(screen.errors).decode()[-2000:]
    assert json.loads(screen.shown) == [[200, "It is."]] * 4
    assert done.result.totals.turns == len(model.heard)
