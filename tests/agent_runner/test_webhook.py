"""A person somewhere else is asked by a webhook; only a signed answer to this very question counts."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent_runner import models
from agent_runner.backends.configuration import read_configuration
from agent_runner.backends.key import KeyReference
from agent_runner.errors import InvalidInputError
from agent_runner.question import Question, digest_of
from agent_runner.webhook import ConfiguredApprovals, WebhookAsker, signed_answer
from policies.request import Reason
from policies.units import Seconds
from tests.agent_runner.stand import FINISH, SESSION, lines, saying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.agent_runner.stand import Stand

KEY = Ed25519PrivateKey.generate()
OTHER_KEY = Ed25519PrivateKey.generate()
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
ARGV = ("files", "write", "a\x1b[2J\u202e")
QUESTION = Question(
    action=f"{SESSION}/1",
    argv=ARGV,
    body=b"new\x1b[0m",
    digest=digest_of(ARGV, b"new\x1b[0m"),
    reasons=(Reason("command", "the policy asks"),),
)
Said = bytes | int | None
"""A body; a status without one; or nothing yet."""


@dataclass
class Server:
    """A server of somebody else's: it keeps the questions, and serves what a test makes of the last one."""

    answer: Callable[[dict[str, Any]], Said]
    posts: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    failing_posts: int = 0
    port: int = 0
    endless: bool = False
    """Whether what it answers to a question has no end."""
    encoding: str = ""
    """What it says that its answers are packed in."""

    def configured(self, seconds: int = 30, **more: Any) -> ConfiguredApprovals:
        """Return the configuration that leads here."""
        at = f"http://127.0.0.1:{self.port}"
        return ConfiguredApprovals(
            ask=f"{at}/ask", answers=f"{at}/answers", public_key=PUBLIC, wait=Seconds(seconds), **more
        )


def without_end(handler: BaseHTTPRequestHandler) -> None:
    """Answer until whoever asked has gone."""
    handler.send_response(202)
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(bytes(64 * 1024))


@contextmanager
def serving(answer: Callable[[dict[str, Any]], Said], *, failing_posts: int = 0) -> Iterator[Server]:
    """Serve on loopback."""
    server = Server(answer, failing_posts=failing_posts)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.tokens.append(self.headers["Authorization"])
            server.failing_posts -= 1
            if server.failing_posts < 0:
                server.posts.append(json.loads(body))
            if server.endless:
                without_end(self)
            else:
                self._reply(500 if server.failing_posts >= 0 else 202, b"")

        def do_GET(self) -> None:
            server.fetched.append(self.path)
            said = server.answer(server.posts[-1])
            if isinstance(said, int):
                self._reply(said, b"")
            else:
                self._reply(404 if said is None else 200, said or b"")

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"http://127.0.0.1:{server.port}/answers/elsewhere")
            if server.encoding:
                self.send_header("Content-Encoding", server.encoding)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.port = listening.server_address[1]
        Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            listening.shutdown()


async def soon(_: float) -> None:
    """Wait a little."""
    await asyncio.sleep(0.02)


def asker(configured: ConfiguredApprovals, notices: list[str] | None = None) -> WebhookAsker:
    """Return one that does not rest for long."""
    return WebhookAsker(
        configured=configured, sleep=soon, notice=(notices if notices is not None else []).append
    )


@pytest.mark.parametrize("verdict", ["approved", "denied"])
async def test_what_is_posted_is_what_will_run_and_a_signed_answer_counts(verdict: Any) -> None:
    with serving(lambda shown: signed_answer(shown, verdict, by="ada", key=KEY)) as server:
        answer = await asker(server.configured()).ask(QUESTION)

    (shown,) = server.posts
    assert (answer.verdict, answer.by, answer.via) == (verdict, "ada", "webhook")
    assert (shown["action"], shown["digest"]) == (QUESTION.action, QUESTION.digest)
    assert shown["argv"] == ["files", "write", "a\\x1b[2J\\u202e"]
    assert shown["body"] == "new\\x1b[0m"
    assert server.fetched == [f"/answers/{shown['number']}"]


async def test_what_a_server_says_to_a_question_is_not_read_and_may_have_no_end() -> None:
    with serving(lambda shown: signed_answer(shown, "approved", by="ada", key=KEY)) as server:
        server.endless = True
        answer = await asker(server.configured()).ask(QUESTION)

    assert answer.verdict == "approved"


async def test_a_packed_answer_is_refused_before_it_is_unpacked() -> None:
    """A few bytes could become gigabytes; its twin, as it is, counts above."""
    notices: list[str] = []
    with serving(lambda shown: gzip.compress(signed_answer(shown, "approved", by="a", key=KEY))) as server:
        server.encoding = "gzip"
        answer = await asker(server.configured(seconds=2), notices).ask(QUESTION)

    assert answer.verdict == "timed_out"
    assert notices == ["approval by webhook: an answer in `gzip`, expected it as it is"]


def changed(**parts: str) -> Callable[[dict[str, Any]], bytes]:
    """Return an answer, rightly signed, to a question that differs in a part."""
    return lambda shown: signed_answer({**shown, **parts}, "approved", by="eve", key=KEY)


def tampered(shown: dict[str, Any]) -> bytes:
    """Turn a no into a yes without the key."""
    told = json.loads(signed_answer(shown, "denied", by="ada", key=KEY))
    payload = base64.b64decode(told["payload"]).replace(b"denied", b"approved")
    return json.dumps({**told, "payload": base64.b64encode(payload).decode()}).encode()


def bare(shown: dict[str, Any]) -> bytes:
    """Sign the payload as something else would be signed: without the words before it."""
    told = json.loads(signed_answer(shown, "approved", by="eve", key=KEY))
    signature = base64.b64encode(KEY.sign(base64.b64decode(told["payload"]))).decode()
    return json.dumps({**told, "signature": signature}).encode()


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(
            lambda shown: signed_answer(shown, "approved", by="eve", key=OTHER_KEY), id="another key"
        ),
        pytest.param(changed(number="0" * 64), id="replayed: an answer to an earlier question"),
        pytest.param(changed(digest="0" * 64), id="another command line"),
        pytest.param(changed(action=f"{SESSION}/2"), id="another action"),
        pytest.param(tampered, id="a no made a yes"),
        pytest.param(bare, id="signed as something else"),
        pytest.param(lambda _: b'{"verdict": "approved"}', id="not signed at all"),
        pytest.param(lambda _: b"\xff[[", id="no JSON"),
        pytest.param(lambda _: b" " * 100_000, id="longer than an answer is"),
        pytest.param(lambda _: 302, id="an answer that is elsewhere"),
        pytest.param(lambda _: 500, id="a server that fails"),
        pytest.param(lambda _: None, id="no answer"),
    ],
)
async def test_what_is_no_answer_by_whoever_may_give_one_does_not_count(
    forged: Callable[[dict[str, Any]], Said],
) -> None:
    notices: list[str] = []
    with serving(forged) as server:
        asked = asyncio.ensure_future(asker(server.configured(seconds=300), notices).ask(QUESTION))
        while len(server.fetched) < 4:  # noqa: ASYNC110 - another thread's list
            await asyncio.sleep(0.02)
        answered = asked.done()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    assert not answered
    assert len(notices) == (0 if forged(server.posts[0]) is None else 1)
    assert "/answers/elsewhere" not in server.fetched


async def test_no_answer_in_time_is_a_no() -> None:
    with serving(lambda _: None) as server:
        answer = await asker(server.configured(seconds=1)).ask(QUESTION)

    assert (answer.verdict, answer.via) == ("timed_out", "clock")


async def test_a_forged_answer_does_not_keep_the_right_one_from_counting() -> None:
    def answer(shown: dict[str, Any]) -> Said:
        forged = len(server.fetched) < 3
        return signed_answer(shown, "approved", by="ada", key=OTHER_KEY if forged else KEY)

    with serving(answer) as server:
        said = await asker(server.configured()).ask(QUESTION)

    assert (said.verdict, len(server.fetched)) == ("approved", 3)


async def test_a_server_that_is_down_for_a_while_is_asked_again_and_has_the_question_once() -> None:
    notices: list[str] = []
    with serving(lambda s: signed_answer(s, "approved", by="ada", key=KEY), failing_posts=2) as server:
        said = await asker(server.configured(), notices).ask(QUESTION)

    assert (said.verdict, len(server.posts), len(notices)) == ("approved", 1, 1)


async def test_the_same_question_asked_twice_has_two_numbers() -> None:
    """An answer is to one asking: the first yes is no second one."""
    with serving(lambda shown: signed_answer(shown, "approved", by="ada", key=KEY)) as server:
        for _ in range(2):
            await asker(server.configured()).ask(QUESTION)

    assert len({shown["number"] for shown in server.posts}) == 2


async def test_the_token_goes_with_the_question_and_without_it_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "not-a-real-token")
    monkeypatch.delenv("HOOK_MISSING", raising=False)
    notices: list[str] = []
    with serving(lambda shown: signed_answer(shown, "denied", by="ada", key=KEY)) as server:
        await asker(server.configured(key=KeyReference(env="HOOK_TOKEN"))).ask(QUESTION)
        lacking = server.configured(seconds=1, key=KeyReference(env="HOOK_MISSING"))
        nobody = await asker(lacking, notices).ask(QUESTION)

    assert server.tokens == ["Bearer not-a-real-token"]
    assert (nobody.verdict, len(notices)) == ("timed_out", 1)


async def test_an_action_waits_for_the_answer_and_both_are_in_the_ledger(stand: Stand) -> None:
    policy = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"], ask: ["files remove"]}\n'
    for name in ("a", "b"):
        (stand.folder / name).write_text(name)
    model = saying(lines("files remove a"), lines("files remove b"), FINISH)

    def answer(shown: dict[str, Any]) -> Said:
        verdict: Any = "approved" if shown["argv"][-1] == "a" else "denied"
        return signed_answer(shown, verdict, by="ada", key=KEY)

    with serving(answer) as server:
        await stand.run(model, policy, headless=False, approver=asker(server.configured()))

    assert [path.name for path in stand.folder.iterdir()] == ["b"]
    answered = stand.entries("approval.answered")
    assert [(entry["answer"], entry["by"], entry["via"]) for entry in answered] == [
        ("approved", "ada", "webhook"),
        ("denied", "ada", "webhook"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "ask: 'http://example.com/ask'",
        "ask: 'https://user:word@example.com/ask'",
        "answers: 'ftp://example.com/'",
        "public_key: 'c2hvcnQ='",
        "public_key: 'no base64'",
    ],
)
def test_a_way_of_asking_that_others_could_read_or_answer_is_refused(tmp_path: Path, wrong: str) -> None:
    right = {
        "ask": "'https://x.example/ask'",
        "answers": "'https://x.example/a'",
        "public_key": f"'{PUBLIC}'",
    }
    name, _, value = wrong.partition(": ")
    file = tmp_path / "config.yaml"

    def text(parts: dict[str, str]) -> str:
        inside = ", ".join(f"{key}: {word}" for key, word in parts.items())
        return f"version: 1\napprovals: {{{inside}}}\n"

    file.write_text(text(right))
    accepted = read_configuration(file).approvals
    file.write_text(text({**right, name: value}))

    assert accepted is not None
    with pytest.raises(InvalidInputError, match="expected"):
        read_configuration(file)


@pytest.mark.parametrize(("wait", "seconds"), [("20m", 1200.0), ("1m", 300.0)])
def test_what_leaves_waits_as_long_as_the_place_with_the_longest_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: str, seconds: float
) -> None:
    """A short time of the webhook's does not cut the person at the terminal short."""
    path = tmp_path / "config.yaml"
    at = "https://a.example"
    path.write_text(
        f"version: 1\napprovals: {{ask: {at}, answers: {at}, public_key: '{PUBLIC}', wait: {wait}}}\n"
    )
    monkeypatch.setattr(models, "configuration_path", lambda: path)

    assert models.approval_seconds() == seconds
