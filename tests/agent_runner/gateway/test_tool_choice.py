"""An agent may want a tool to be called: any of its own, or one of them; never one that a server runs."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent_runner.backends.backend import Reply
from agent_runner.backends.choice import Choice, choosing
from agent_runner.backends.closed import require_closed
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.installed import InstalledBackend
from agent_runner.backends.route import RouteBackend
from agent_runner.gateway.asked import RefusedRequestError
from agent_runner.gateway.crossing import question_bytes, question_of
from sandbox.egress.wire import WireError
from tests.agent_runner.gateway.test_book import Ledger, asked
from tests.agent_runner.gateway.test_gateway_closed import APIS
from tests.agent_runner.stand import Model
from tests.contract.asking import TALK, TOOL, backend_for
from tests.contract.model_server import Saying, answer, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.model_server import Dialect

WAYS: Final[dict[str, dict[str, Any]]] = {
    "chat": {"any": "required", "named": {"type": "function", "function": {"name": "read"}}},
    "responses": {"any": "required", "named": {"type": "function", "name": "read"}},
    "messages": {"any": {"type": "any"}, "named": {"type": "tool", "name": "read"}},
}
SENT: Final[dict[Dialect, list[object]]] = {
    "chat": ["required", {"type": "function", "function": {"name": "files_list"}}],
    "messages": [{"type": "any"}, {"type": "tool", "name": "files_list"}],
}
CHOICES: Final = (Choice(), Choice(tool="files_list"))


def with_choice(api: str, given: object) -> dict[str, Any]:
    body = copy.deepcopy(APIS[api][1])
    return {**body, "tool_choice": given}


@pytest.mark.parametrize("api", WAYS)
def test_a_choice_crosses_as_it_was_asked_for(api: str) -> None:
    found = [
        question_of(question_bytes(APIS[api][0].read(with_choice(api, given)))).choice
        for given in (WAYS[api]["any"], WAYS[api]["named"])
    ]

    assert found == [Choice(), Choice(tool="read")]


@pytest.mark.parametrize("api", WAYS)
def test_a_tool_that_is_not_on_offer_is_no_choice(api: str) -> None:
    """Not the word alone: a server has tools of its own, and runs them."""
    named = {**WAYS[api]["named"], "name": "web_search"} if api != "chat" else {
        "type": "function", "function": {"name": "web_search"}
    }  # fmt: skip
    with pytest.raises(RefusedRequestError, match="not on offer"):
        APIS[api][0].read(with_choice(api, named))
    with pytest.raises(RefusedRequestError):
        APIS[api][0].read({**with_choice(api, WAYS[api]["any"]), "tools": []})


SERVERS_OWN: Final = [
    {"type": "web_search_preview"},
    {"type": "mcp", "server_label": "x"},
    {"type": "allowed_tools", "mode": "auto", "tools": []},
    {"type": "custom", "name": "read"},
    {"type": "code_interpreter"},
]


@pytest.mark.parametrize("given", SERVERS_OWN, ids=lambda given: str(given["type"]))
@pytest.mark.parametrize("api", WAYS)
def test_a_tool_of_a_servers_own_cannot_be_chosen(api: str, given: dict[str, object]) -> None:
    with pytest.raises(RefusedRequestError):
        APIS[api][0].read(with_choice(api, given))
    with pytest.raises(ModelServerError) as caught:
        require_closed("chat", {"messages": [], "tool_choice": given})
    assert caught.value.failure.kind == "capability"


async def test_each_api_has_the_choice_and_the_next_question_has_none(dialect: Dialect) -> None:
    async with serving(Saying(text="x").play(dialect)) as server:
        backend = backend_for(server, dialect)
        for choice in CHOICES:
            await choosing(backend, choice).ask(TALK, (TOOL,))
        await choosing(backend, None).ask(TALK, (TOOL,))
        await backend.close()

    assert [request.json.get("tool_choice") for request in server.asked] == [*SENT[dialect], None]


async def test_a_choice_goes_with_the_question_to_the_next_model_of_a_route(dialect: Dialect) -> None:
    """And whoever answers it is asked first from then on, as with any question."""
    async with (
        serving(answer(400, {"error": "down"})) as down,
        serving(Saying(text="x").play(dialect)) as up,
    ):
        models = {"one": backend_for(down, dialect), "two": backend_for(up, dialect)}
        route = RouteBackend(models, name="both", notice=lambda _: None)
        reply = await choosing(route, CHOICES[1]).ask(TALK, (TOOL,))
        await route.ask(TALK, (TOOL,))
        await route.close()

    assert reply.by == "both > default (m)"
    assert [each.json.get("tool_choice") for each in (*down.asked, *up.asked)] == [
        SENT[dialect][1],
        SENT[dialect][1],
        None,
    ]


async def test_a_backend_that_cannot_choose_is_not_asked(tmp_path: Path) -> None:
    """It is said, and costs no turn; an agent would wait for a call that nobody asked for."""
    model = Model(lambda _, __: pytest.fail("it was asked"))
    ledger = Ledger(tmp_path)
    async with ledger.journal:
        with pytest.raises(RefusedRequestError) as caught:
            await ledger.book.ask(model, replace(asked(), choice=Choice()))

    assert (caught.value.code, caught.value.status) == ("unsupported", 400)
    assert ledger.budget.turns == 0


async def test_a_model_that_cannot_choose_stays_the_first_of_its_route() -> None:
    """Else an agent would choose for good which model answers, with one question that wants a call."""
    first = InstalledBackend(Model(lambda _, __: Reply(text="first")), kind="theirs")
    async with serving(Saying(text="second").play("chat")) as up:
        models = {"one": first, "two": backend_for(up, "chat")}
        route = RouteBackend(models, name="both", notice=lambda _: None)
        wanted = await choosing(route, Choice()).ask(TALK, (TOOL,))
        then = await route.ask(TALK, (TOOL,))
        await route.close()

    assert (wanted.text, then.text) == ("second", "first")


async def test_a_route_of_models_that_cannot_choose_is_not_asked(tmp_path: Path) -> None:
    model = Model(lambda _, __: pytest.fail("it was asked"))
    route = RouteBackend({"one": model, "two": model}, name="both", notice=lambda _: None)
    ledger = Ledger(tmp_path)
    async with ledger.journal:
        with pytest.raises(RefusedRequestError) as caught:
            await ledger.book.ask(route, replace(asked(), choice=Choice()))

    assert (caught.value.code, caught.value.status) == ("unsupported", 400)
    assert ledger.budget.turns == 0


@pytest.mark.parametrize("wanted", ["other", "web_search", "a b", "x" * 65, "read\n", "read\x1b[2J"])
def test_a_parser_that_was_taken_over_can_want_no_other_call(wanted: str) -> None:
    """What is wanted reaches the server: only the name of a tool on offer does, and nothing without any."""
    blob = question_bytes(APIS["chat"][0].read(with_choice("chat", WAYS["chat"]["named"])))
    question = json.loads(blob)
    assert question_of(blob).choice == Choice(tool="read")

    for spoilt in ({"choice": {"tool": wanted}}, {"choice": {"tool": ""}, "tools": []}):
        with pytest.raises(WireError):
            question_of(json.dumps({**question, **spoilt}).encode())
