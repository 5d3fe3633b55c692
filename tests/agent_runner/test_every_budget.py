"""Every budget warns the model at 80 %, ends the session with exit 5 under its name, and can be added to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from agent_runner.approvals import Answer
from agent_runner.backends.backend import Reply, Usage, UserMessage
from agent_runner.budget_limits import NAMES, parse_budget
from tests.agent_runner.stand import FINISH, Model, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message
    from agent_runner.question import Question
    from tests.agent_runner.stand import Stand


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A budget of ten, one of which each turn uses, and how it is added to."""

    policy: str
    more: str
    ran_out: str
    usage: Usage = field(default_factory=Usage)
    turn_seconds: float = 0.0


KINDS = {
    "turns": Kind(policy="turns: 10", more="turns=10", ran_out="turns ran out: 10 of 10 turns"),
    "tokens": Kind(
        policy="tokens: 100",
        more="tokens=100",
        ran_out="tokens ran out: 100 of 100 tokens",
        usage=Usage(input_tokens=4, output_tokens=6),
    ),
    "input tokens": Kind(
        policy="input_tokens: 100",
        more="input_tokens=100",
        ran_out="input tokens ran out: 100 of 100 tokens",
        usage=Usage(input_tokens=10),
    ),
    "output tokens": Kind(
        policy="output_tokens: 100",
        more="output_tokens=100",
        ran_out="output tokens ran out: 100 of 100 tokens",
        usage=Usage(output_tokens=10),
    ),
    "cached tokens": Kind(
        policy="cached_tokens: 100",
        more="cached_tokens=100",
        ran_out="cached tokens ran out: 100 of 100 tokens",
        usage=Usage(input_tokens=20, cached_tokens=10),
    ),
    "cost": Kind(
        policy="cost_usd: 0.01",
        more="cost_usd=0.01",
        ran_out="cost ran out: 10000 of 10000 millionths of a US dollar",
        usage=Usage(output_tokens=1, cost_micros=1000),
    ),
    "actions": Kind(policy="actions: 10", more="actions=10", ran_out="actions ran out: 10 of 10 actions"),
    "wall time": Kind(
        policy="wall_time: 8s",
        more="wall_time=5m",
        ran_out="wall time ran out: 8 of 8 seconds",
        turn_seconds=0.2,
    ),
}  # fmt: skip


def using(kind: Kind) -> Model:
    """Return a model that uses one part of a budget each turn, and ends when it hears that it may go on."""

    def answer(messages: Sequence[Message], turn: int) -> Reply:
        time.sleep(kind.turn_seconds)
        resumed = any(isinstance(m, UserMessage) and "was interrupted" in m.text for m in messages)
        said = FINISH if resumed else lines(f"files list --depth {turn % 9 + 1}")
        return Reply(text=said.text, calls=said.calls, usage=kind.usage)

    return Model(answer)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "wall time" else ()) for name in KINDS]
)
async def test_a_budget_warns_once_ends_by_its_name_and_goes_on_when_added_to(
    stand: Stand, name: str
) -> None:
    kind = KINDS[name]
    policy = (
        f'version: 1\nname: x\ngrant: [files]\ncommands: {{allow: ["files *"]}}\nbudget: {{{kind.policy}}}\n'
    )
    model = using(kind)

    ended = await stand.run(model, policy)
    again = await stand.resume(using(kind))
    more = await stand.resume(using(kind), added=parse_budget(kind.more))

    said = [message.text for message in model.heard[-1] if isinstance(message, UserMessage)]
    warnings = [text for text in said if text.startswith("note: little is left of the budget of ")]
    assert (ended.status, ended.exit_code, ended.reason) == ("budget", 5, f"the budget of {kind.ran_out}")
    assert (again.status, again.exit_code) == ("budget", 5)
    assert again.reason.startswith(f"the budget of {name} ran out: ")
    assert (more.status, more.exit_code) == ("done", 0)
    assert [text.partition(" of the budget of ")[2].partition(":")[0] for text in warnings] == [name]
    limits = [entry["limit"] for entry in stand.entries("limit.hit")]
    assert limits == [f"budget.{name.replace(' ', '_')}"] * 2


@pytest.mark.parametrize("name", NAMES)
async def test_a_session_goes_on_however_often_each_budget_was_added_to(stand: Stand, name: str) -> None:
    """What was added is read back out of the ledger at each later resume."""
    unit = {"sent_bytes": "1KiB", "received_bytes": "1MB", "cost_usd": "0.01", "wall_time": "1h"}
    policy = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\nbudget: {turns: 1}\n'
    more = {name: unit.get(name, "1k")} | {"turns": "1"}
    model = Model(lambda _, turn: FINISH if turn == 4 else lines(f"files list --depth {turn}"))

    ended = [await stand.run(model, policy)]
    for _ in range(3):
        words = ",".join(f"{budget}={amount}" for budget, amount in more.items())
        ended.append(await stand.resume(model, added=parse_budget(words)))

    assert [result.status for result in ended] == ["budget", "budget", "budget", "done"]


class Asleep:
    """Somebody who never answers."""

    async def ask(self, question: Question) -> Answer:  # noqa: ARG002 - the protocol's parameter
        """Wait."""
        await asyncio.Event().wait()
        raise AssertionError


class Awake:
    """Somebody who allows it."""

    async def ask(self, question: Question) -> Answer:  # noqa: ARG002 - the protocol's parameter
        """Answer."""
        return Answer(verdict="approved", by="a person", via="terminal")


async def test_the_wall_time_goes_on_while_a_person_is_asked_and_the_question_is_put_again(
    stand: Stand,
) -> None:
    """Nothing was done when it ran out, and with more of it the same action waits for the same answer."""
    (stand.folder / "a").write_text("a")
    asks = (
        'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"], ask: ["files remove"]}\n'
        "budget: {wall_time: 2s}\n"
    )
    model = Model(lambda _, turn: FINISH if turn == 2 else lines("files remove a"))

    ended = await stand.run(model, asks, headless=False, approver=Asleep())
    stands = (stand.folder / "a").exists()
    more = await stand.resume(model, headless=False, approver=Awake(), added=parse_budget("wall_time=1h"))

    assert (ended.status, ended.reason, stands) == (
        "budget",
        "the budget of wall time ran out: 2 of 2 seconds",
        True,
    )
    assert (more.status, (stand.folder / "a").exists()) == ("done", False)
