"""What people are asked and shown of the way out: approvals with a time limit, and the live view."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.approvals import Answer
from agent_runner.egress_approval import EgressApproval
from agent_runner.traffic import Traffic
from agent_runner.way_out import written
from audit.event import EgressClosed, EgressOpened, LimitHit, ProcessStarted
from audit.journal import Journal, Registration
from policies.source import parse_policy
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.rules import RuleSet
from tests.sandbox.egress.ground import Server, gate_for, loopback_proxy, rule, rules, serving

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.question import Question
    from policies.policy import Policy

SESSION = "0123456789ab"


class Person:
    """Answer each question with the same word, or never."""

    def __init__(self, verdict: str) -> None:
        self.verdict = verdict
        self.asked: list[Question] = []

    async def ask(self, question: Question) -> Answer:
        """Answer."""
        self.asked.append(question)
        if self.verdict == "silence":
            await asyncio.Event().wait()
        return Answer(verdict=self.verdict, by="tester", via="test")  # type: ignore[arg-type]


POLICY = """\
version: 1
name: bounded
grant: [network]
network:
  allow:
    - {{host: 127.0.0.1, ports: [{port}], private: true, limits: {{requests: 2}}, methods: [POST, GET]}}
    - {{host: 127.0.0.1, ports: [{port}], private: true, limits: {{requests: 4}}, methods: [DELETE]}}
commands: {{allow: [http]}}
"""


async def spend(policy: Policy, port: int, traffic: Traffic, methods: str) -> list[str]:
    """Ask until the words are through, in one part of a session; return what came of each."""
    seen = []
    async with gate_for(RuleSet.of(policy.network), crossed=traffic.under(SESSION)) as kept:
        for method in methods.split():
            try:
                seen.append(str((await kept.gate.request(method, f"http://127.0.0.1:{port}/")).status))
            except EgressDeniedError as denied:
                seen.append(denied.code)
    for happened in kept.events:
        traffic.take(written(happened, SESSION))
    return seen


async def test_a_rules_own_limits_go_on_where_a_resume_reads_the_policy_that_was_written() -> None:
    """Its rules stand elsewhere there, and in another order; each keeps what crossed under it."""
    traffic = Traffic()
    async with serving(Server()) as server:
        first = parse_policy(POLICY.format(port=server.port), origin="pairlock.yaml")
        again = parse_policy("# written\n" + first.as_yaml(), origin="sessions/1/policy.yaml", resolved=True)
        before = await spend(first, server.port, traffic, "GET DELETE")
        after = await spend(again, server.port, traffic, "GET POST DELETE DELETE DELETE DELETE")

    assert before == ["200", "200"]
    assert after == ["200", "budget", "200", "200", "200", "budget"]


async def test_connections_are_numbered_through_all_resumes_and_never_twice() -> None:
    """Refused ones, and requests inside a tunnel, have numbers too; a connector's have their own."""
    traffic, numbers = Traffic(), []
    async with serving(Server()) as server:
        allowed = rules(rule("127.0.0.1", server.port))
        for _ in range(3):
            async with gate_for(allowed, numbered=traffic.numbered(SESSION)) as kept:
                await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")
                with pytest.raises(EgressDeniedError):
                    await kept.gate.request("POST", f"http://127.0.0.1:{server.port}/")
            for happened in kept.events:
                traffic.take(written(happened, SESSION))
            numbers += [event.connection for event in kept.decided]
        within = replace(kept.decided[0], connection="c90", within="c89")
        traffic.take(written(within, SESSION))
        traffic.take(written(within, f"{SESSION}/slack"))

    assert numbers == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert traffic.numbered(SESSION) == traffic.numbered(f"{SESSION}/slack") == 90
    assert traffic.numbered("another") == 0


async def test_a_tunnel_whose_server_never_answered_is_one_request_before_a_resume_and_after() -> None:
    """Its end tells of no request; that is what tells it from a tunnel that was read, and dialled nothing."""
    traffic = Traffic()
    async with serving(Server()) as server:
        pass
    once = rules(rule("127.0.0.1", server.port), requests=1)
    tunnel = f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    answers = []
    for part in (1, 2):
        async with (
            gate_for(once, proxy=True, crossed=traffic.under(SESSION)) as kept,
            loopback_proxy(kept) as port,
        ):
            for _ in range(3 - part):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(tunnel)
                answers.append((await asyncio.wait_for(reader.read(), 60)).split()[1])
                writer.close()
        for happened in kept.events:
            traffic.take(written(happened, SESSION))

    assert answers == [b"502", b"403", b"403"]
    assert traffic.of(SESSION).requests == 1


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state folder."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


def recorded(state: Path, kind: str) -> list[dict[str, object]]:
    """Return the bodies of the ledger's entries of one type."""
    ledger = state / "sessions" / SESSION / "events.jsonl"
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    return [entry["body"] for entry in entries if entry["type"] == kind]


@pytest.mark.parametrize(
    ("verdict", "words", "written"),
    [
        ("approved", "hello", "approved"),
        ("denied", "a person said no", "denied"),
        ("silence", "nobody answered in time", "timed_out"),
    ],
)
async def test_a_rule_that_asks_waits_for_a_person_and_silence_is_no(
    state: Path, verdict: str, words: str, written: str
) -> None:
    """Through the gate and its process; question and answer are entries, the query is in neither (B110)."""
    person = Person(verdict)
    async with Journal.create(state, SESSION, registration=Registration(grant="network")) as journal:
        approval = EgressApproval(journal, SESSION, person, wait_seconds=1.0)
        async with (
            serving(Server()) as server,
            gate_for(
                rules(rule("127.0.0.1", server.port, ask=True)), approval=approval.ask, proxy=True
            ) as kept,
            loopback_proxy(kept) as port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            at = f"127.0.0.1:{server.port}"
            writer.write(
                f"GET http://{at}/a?token=x HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = await asyncio.wait_for(reader.read(), 60)
            writer.close()

    assert words.encode() in answer
    assert server.connections == (1 if verdict == "approved" else 0)
    assert person.asked[0].argv == ("connect", "GET", f"http://{at}/a?token=x")
    assert [body["answer"] for body in recorded(state, "approval.answered")] == [written]
    assert recorded(state, "approval.requested")[0]["action"] == f"{SESSION}/c1"
    assert "token=x" not in (state / "sessions" / SESSION / "events.jsonl").read_text()


async def test_tail_net_shows_what_went_out_as_it_comes_and_ends_with_the_session(state: Path) -> None:
    """Connections, their ends and the bounds that they reached; nothing of what programs do besides."""
    opened = EgressOpened(
        connection=f"{SESSION}/c1", host="a.example", port=443, scheme="tunnel", verdict="allowed",
        reasons=(), action="", rule="a.example", method="", path="",
    )  # fmt: skip
    closed = EgressClosed(
        connection=f"{SESSION}/c1", sent_bytes=5, received_bytes=7, requests=1, duration_ms=3, why="done",
        host="a.example", port=443, address="1.1.1.1",
    )  # fmt: skip
    spent = LimitHit(limit="egress.sent_bytes", bound=5, observed=6, unit="bytes")
    async with Journal.create(state, SESSION, registration=Registration(grant="network")) as journal:
        await journal.record(ProcessStarted(action=f"{SESSION}/1", argv=("ls",), folder="."))
        tail = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent_runner", "audit", "tail", SESSION, "--net", "--json",
            stdout=asyncio.subprocess.PIPE, env={**os.environ, "PAIRLOCK_STATE": str(state)},
        )  # fmt: skip
        assert tail.stdout is not None
        seen = []
        for event in (
            opened,
            LimitHit(limit="budget.turns", bound=1, observed=2, unit="turns"),
            spent,
            closed,
        ):
            await journal.record(event)
            if event.kind.startswith("egress.") or event is spent:
                line = await asyncio.wait_for(tail.stdout.readline(), 120)
                seen.append(json.loads(line))
    rest, _ = await asyncio.wait_for(tail.communicate(), 120)

    assert [entry["type"] for entry in seen] == ["egress.opened", "limit.hit", "egress.closed"]
    assert seen[1]["body"]["limit"] == "egress.sent_bytes"
    assert rest == b""
    assert tail.returncode in {0, 6}
