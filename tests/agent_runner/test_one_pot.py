"""What crosses the egress gate and how often a command is called: one pot, across resumes and children."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import pytest

from agent_runner.backends.backend import ModelMessage, UserMessage
from agent_runner.budget import Budget
from agent_runner.budget_limits import less_crossed, limits_of_policy
from agent_runner.delegation import Delegating, policy_below
from agent_runner.errors import BackendError
from agent_runner.fold import read_past
from agent_runner.meta import write_meta
from agent_runner.opening import meta_of
from agent_runner.past_below import with_below
from agent_runner.review import read_policy
from agent_runner.session import run_session
from agent_runner.shown import shown
from agent_runner.traffic import Pot, Traffic
from audit.event import ActionIntended, EgressClosed, EgressOpened
from audit.journal import Journal, Registration
from audit.reader import SessionReader
from audit.state import StateFiles
from cli_tools.delegate import Errand
from policies.source import parse_policy
from sandbox.egress.rules import Crossed, Limits, Rule
from tests.agent_runner.people import SilentPerson
from tests.agent_runner.stand import FINISH, SESSION, Eyes, Model, lines, saying

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.backend import Message, Reply
    from agent_runner.request import SessionRequest, SessionResult
    from tests.agent_runner.stand import Stand


THRICE = (
    "version: 1\nname: x\ngrant: [files]\n"
    'commands: {allow: ["files *", delegate], rules: [{command: files read, max_calls: 3}]}\n'
)
POSTS = (
    "version: 1\nname: x\ngrant: [network]\n"
    "network:\n  allow:\n"
    "    - {host: a.example, methods: [POST], paths: [/x], limits: {sent_bytes: 100B, requests: 2}}\n"
    "    - {host: b.example}\n"
)


def reading(*parent: Reply) -> Model:
    """Return a model whose sessions below read a file twice."""
    child = (lines("files read a", "files read b"), FINISH)

    def answer(messages: Sequence[Message], _: int) -> Reply:
        turn = sum(isinstance(message, ModelMessage) for message in messages)
        task = next(message.text for message in messages if isinstance(message, UserMessage))
        replies = parent if task == "a test" else child
        if turn == len(replies):
            raise BackendError("the model has nothing more to say")
        return replies[turn]

    return Model(answer)


def verdicts(stand: Stand, session: str) -> list[str]:
    """Return what was decided of each `files read` of a session."""
    entries = (entry for _, entry in SessionReader(stand.state, session).events())
    intended = (entry for entry in entries if isinstance(entry, ActionIntended))
    return [entry.verdict for entry in intended if entry.command == "files read"]


def closed(connection: str, *, sent_bytes: int, rule: str = "") -> EgressClosed:
    """Return the end of a connection over which one request went."""
    return EgressClosed(
        connection=connection,
        sent_bytes=sent_bytes,
        received_bytes=7,
        requests=1,
        duration_ms=3,
        why="done",
        host="a.example",
        port=443,
        address="1.1.1.1",
        rule=rule,
    )


async def cross(stand: Stand, session: str, *, sent_bytes: int, rule: str = "", part: str = "") -> None:
    """Write into a session's ledger that something crossed its gate."""
    owner = f"{session}/{part}" if part else session
    async with Journal.reopen(stand.state, session) as journal:
        await journal.record(closed(f"{owner}/c1", sent_bytes=sent_bytes, rule=rule))


async def test_what_crossed_counts_once_after_a_resume(stand: Stand) -> None:
    await stand.run(saying(lines("files list")))

    await cross(stand, SESSION, sent_bytes=5, rule="a.example")

    async with Journal.reopen(stand.state, SESSION) as journal:
        await journal.record(
            EgressOpened(connection=f"{SESSION}/c7", host="a", port=1, scheme="https", verdict="denied")
        )

    crossed = Crossed(sent_bytes=5, received_bytes=7, requests=1)
    assert read_past(stand.state, SESSION).traffic.of(SESSION) == crossed
    assert read_past(stand.state, SESSION).traffic.numbered(SESSION) == 7


async def test_a_child_has_what_is_left_of_the_calls_above_it_and_not_its_own(stand: Stand) -> None:
    """Three reads are three, whichever of the sessions makes them, and after a resume too."""
    for name in "ab":
        (stand.folder / name).write_text("content")
    model = reading(lines("delegate look"), lines("delegate look"), lines("files read a"))

    await stand.run(model, THRICE, may_delegate=True)
    first, second = read_past(stand.state, SESSION).children
    again = saying(lines("files read b"), FINISH)
    await stand.resume(again)

    assert verdicts(stand, first) == ["allowed", "allowed"]
    assert verdicts(stand, second) == ["allowed", "denied"]
    assert verdicts(stand, SESSION) == ["denied", "denied"]
    assert with_below(read_past(stand.state, SESSION), stand.state).allowed["files read"] == 3


def test_a_child_has_what_is_left_under_each_rule() -> None:
    """What crossed above and in earlier children is taken off; a rule without limits stays without."""
    policy = parse_policy(POSTS, origin="test.yaml")
    assert policy.network is not None
    rule = Rule.of(policy.network.allow[0], Limits()).name
    above, earlier = Traffic(), Traffic()
    above.take(closed(f"{SESSION}/c1", sent_bytes=30, rule=rule))
    earlier.take(closed("child/c1", sent_bytes=60, rule=rule))
    above.add_below(earlier, "child")

    below = policy_below(
        policy,
        Errand(action="", task="t", grant=None, policy="", turns=None),
        limits_of_policy(policy),
        above.by_rule(SESSION),
    )

    assert below.network is not None
    limits = below.network.allow[0].limits
    assert (limits.sent_bytes, limits.requests) == (10, 0)
    assert below.network.allow[1] == policy.network.allow[1]
    assert less_crossed(policy, {}).network == policy.network


def test_what_crossed_under_a_rule_that_was_narrowed_below_counts_under_each() -> None:
    """Else a policy of the library, which names a rule anew, would give each child the whole bound."""
    policy = parse_policy(POSTS, origin="test.yaml")

    below = less_crossed(policy, {"narrowed": Crossed(rule="narrowed", sent_bytes=60, requests=1)})

    assert below.network is not None
    limits = below.network.allow[0].limits
    assert (limits.sent_bytes, limits.requests) == (40, 1)


class Nested(Eyes):
    """Watch a session and those below it."""

    def below(self, session: str, task: str) -> Nested:  # noqa: ARG002 - a watcher's parameters
        """Look at one below, too."""
        return self


class Served:
    """A server of the loopback that answers with nothing."""

    def __init__(self) -> None:
        self.port = 0

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()


@pytest.mark.parametrize(("most", "last"), [(2, "budget"), (3, "done")])
async def test_what_a_child_sends_is_no_longer_left_for_the_gate_above(
    stand: Stand, most: int, last: str
) -> None:
    """While both sessions run: one request above, one below, and the next above is one too many, or not."""
    async with Served() as server:
        url = f"http://127.0.0.1:{server.port}/"
        policy = (
            'version: 1\nname: x\ngrant: [network]\ncommands: {allow: ["http *", delegate]}\n'
            f"network: {{allow: [{{host: 127.0.0.1, ports: [{server.port}], private: true}}], "
            f"limits: {{requests: {most}}}}}\n"
        )
        get = lines(f"http get {url}")
        replies = {"a test": (get, lines("delegate look"), get), "look": (get, FINISH)}

        def answer(messages: Sequence[Message], _: int) -> Reply:
            turn = sum(isinstance(message, ModelMessage) for message in messages)
            task = next(message.text for message in messages if isinstance(message, UserMessage))
            return (*replies[task], FINISH)[turn]

        await stand.run(Model(answer), policy, may_delegate=True)

    seen = [each for each in stand.eyes.seen if each.command == "http get"]
    assert [each.code or each.kind for each in seen] == ["done", last]


async def delegated(
    stand: Stand, policy: str, starting: Callable[[Traffic, str], None], *, before: int, replies: Model
) -> None:
    """Delegate from a session whose gate has let some requests through, while something happens meanwhile."""
    parsed = parse_policy(policy, origin="test.yaml")
    assert parsed.network is not None
    rule = Rule.of(parsed.network.allow[0], Limits()).name
    traffic, budget = Traffic(), Budget(limits_of_policy(parsed))
    budget.watch_egress(traffic.total)
    for _ in range(before):
        crosses(traffic, rule)

    async def start(request: SessionRequest) -> SessionResult:
        starting(traffic, rule)
        return await run_session(request)

    registration = Registration(grant="network", workspace=None, owner_uid=os.getuid())
    request = stand.request(replies, policy, may_delegate=True)
    async with Journal.create(stand.state, SESSION, registration=registration) as journal:
        folder = StateFiles(stand.state).session(SESSION).folder
        write_meta(folder, meta_of(request, SESSION, command=False), policy)
        delegating = Delegating(
            request,
            SESSION,
            journal,
            budget,
            calls=Counter(),
            traffic=traffic,
            asker=SilentPerson(),
            start=start,
        )
        await delegating.delegate(
            Errand(action=f"{SESSION}/1", task="look", grant=None, policy="", turns=None)
        )


def crosses(traffic: Traffic, rule: str) -> None:
    """Let a request above end, as its gate tells it."""
    ended = closed(f"{SESSION}/c1", sent_bytes=30, rule=rule)
    traffic.take(ended)
    traffic.pot.tell(SESSION, ended)


@pytest.mark.parametrize("bounds", ["the session", "the rule"])
@pytest.mark.parametrize(("most", "told"), [(2, "budget"), (3, "done")])
async def test_what_crosses_above_while_a_child_starts_is_no_longer_left_for_the_child(
    stand: Stand, bounds: str, most: int, told: str
) -> None:
    """One request before the child's bounds are set, which counts once, and one before its gate is open."""
    stand.eyes = Nested()
    limits = f", limits: {{requests: {most}}}"
    of_rule, of_session = (limits, "") if bounds == "the rule" else ("", limits)
    async with Served() as server:
        policy = (
            'version: 1\nname: x\ngrant: [network]\ncommands: {allow: ["http *", delegate]}\n'
            f"network: {{allow: [{{host: 127.0.0.1, ports: [{server.port}], private: true{of_rule}}}]"
            f"{of_session}}}\n"
        )
        asks = saying(lines(f"http get http://127.0.0.1:{server.port}/"), FINISH)
        await delegated(stand, policy, crosses, before=1, replies=asks)

    (seen,) = [each for each in stand.eyes.seen if each.command == "http get"]
    assert (seen.code or seen.kind) == told


def test_a_gate_that_joins_is_told_what_crossed_those_above_since_its_bounds_were_set_and_no_other() -> None:
    """What crossed a session beside it, which has ended, is off its bounds; its own it counts itself."""
    pot, heard = Pot(), list[Crossed]()
    pot.tell("first", closed("first/c1", sent_bytes=1, rule="a"))
    known = {"first": pot.told("first")}
    pot.tell("first", closed("first/c2", sent_bytes=2, rule="a"))
    known |= {"second": pot.told("second")}
    for session, sent_bytes, rule in (("second", 4, "a"), ("first", 8, "b"), ("beside", 16, "a")):
        pot.tell(session, closed(f"{session}/c3", sent_bytes=sent_bytes, rule=rule))

    with pot.shared("third", heard.append, known=known):
        at_once = list(heard)
        pot.tell("first", closed("first/c4", sent_bytes=32, rule="a"))
        pot.tell("third", closed("third/c1", sent_bytes=64, rule="a"))

    assert at_once == [
        Crossed(rule="a", sent_bytes=2, received_bytes=7, requests=1),
        Crossed(rule="b", sent_bytes=8, received_bytes=7, requests=1),
        Crossed(rule="a", sent_bytes=4, received_bytes=7, requests=1),
    ]
    assert heard[3:] == [Crossed(rule="a", sent_bytes=32, received_bytes=7, requests=1)]


async def test_what_crossed_below_counts_after_a_resume_and_is_taken_off_what_the_gate_lets_out(
    stand: Stand,
) -> None:
    await stand.run(reading(lines("delegate look")), THRICE, may_delegate=True)
    (child,) = read_past(stand.state, SESSION).children
    await cross(stand, child, sent_bytes=5)

    past = with_below(read_past(stand.state, SESSION), stand.state)

    assert (past.below.sent_bytes, past.below.received_bytes, past.below.requests) == (5, 7, 1)


@pytest.mark.parametrize(("requests", "told"), [(1, "budget"), (2, "address")])
async def test_after_a_resume_the_gate_lets_out_what_earlier_sessions_below_left(
    stand: Stand, requests: int, told: str
) -> None:
    """Where one request is left, it comes as far as the address, which is private and so refused."""
    policy = (
        "version: 1\nname: x\ngrant: [network]\n"
        'commands: {allow: ["http *", delegate]}\n'
        f"network: {{allow: [{{host: localhost}}], limits: {{requests: {requests}}}}}\n"
    )
    await stand.run(reading(lines("delegate look")), policy, may_delegate=True)
    (child,) = read_past(stand.state, SESSION).children
    await cross(stand, child, sent_bytes=5)

    await stand.resume(saying(lines("http get https://localhost/"), FINISH))

    (seen,) = [each for each in stand.eyes.seen if each.command == "http get"]
    assert seen.code == told


@pytest.mark.parametrize(
    ("under", "requests", "told"),
    [("its own", 1, "budget"), ("narrowed", 1, "budget"), ("its own", 2, "address")],
)
async def test_after_a_resume_a_rule_lets_out_what_earlier_sessions_below_left_of_its_own_limits(
    stand: Stand, under: str, requests: int, told: str
) -> None:
    """Else each resume would give its whole bound anew; what crossed under a narrowed rule counts too."""
    policy = (
        "version: 1\nname: x\ngrant: [network]\n"
        'commands: {allow: ["http *", delegate]}\n'
        f"network: {{allow: [{{host: localhost, limits: {{requests: {requests}}}}}]}}\n"
    )
    await stand.run(reading(lines("delegate look")), policy, may_delegate=True)
    (child,) = read_past(stand.state, SESSION).children
    network = parse_policy(policy, origin="test.yaml").network
    assert network is not None
    rule = Rule.of(network.allow[0], Limits()).name if under == "its own" else "narrowed"
    await cross(stand, child, sent_bytes=5, rule=rule)

    await stand.resume(saying(lines("http get https://localhost/"), FINISH))

    (seen,) = [each for each in stand.eyes.seen if each.command == "http get"]
    assert seen.code == told


async def test_what_a_connector_sent_is_no_longer_left_for_a_child(stand: Stand) -> None:
    policy = (
        "version: 1\nname: x\ngrant: [network]\ncommands: {allow: [delegate]}\n"
        "network: {allow: [{host: localhost}], limits: {requests: 5}}\n"
    )
    await stand.run(reading(), policy, may_delegate=True)
    await cross(stand, SESSION, sent_bytes=9, part="slack")
    files = StateFiles(stand.state).session(SESSION)

    told = {each.name: each.observed for each in shown(files, stand.state).budgets}
    await stand.resume(reading(lines("delegate look")))

    (child,) = read_past(stand.state, SESSION).children
    below = read_policy(stand.state / "sessions" / child).network
    assert (told["bytes sent"], told["requests"]) == (9, 1)
    assert below is not None
    assert below.limits.requests == 4
