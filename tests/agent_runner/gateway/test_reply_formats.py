"""An agent may want its reply in JSON, by a schema of its own: no server does anything else for that."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import anthropic
import httpx2
import openai
import pytest
from pydantic import BaseModel

from agent_runner.backends.backend import Reply
from agent_runner.backends.closed import require_closed
from agent_runner.backends.estimate import estimated
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.reply_format import MOST_CHARACTERS, ReplyFormat, formatting
from agent_runner.backends.route import RouteBackend
from agent_runner.backends.scripted import Script, ScriptedBackend
from agent_runner.errors import BackendError
from agent_runner.gateway.asked import RefusedRequestError
from agent_runner.gateway.crossing import question_bytes, question_of
from cli_tools.schema import Tool
from tests.agent_runner.gateway.test_book import LIMITS, SECRET, Ledger, asked
from tests.agent_runner.gateway.test_gateway_closed import APIS, ELSEWHERE, WITHIN
from tests.agent_runner.gateway.test_sdk_parameters import TALK as SAID
from tests.agent_runner.gateway.test_sdk_parameters import ToDesk
from tests.agent_runner.stand import Model
from tests.contract.asking import TALK, TOOL, backend_for
from tests.contract.model_server import Saying, answer, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent_runner.backends.aloud import Step
    from agent_runner.backends.backend import Backend
    from agent_runner.gateway.asked import Asked
    from tests.contract.model_server import Dialect

SCHEMA: Final[dict[str, object]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
NAMED: Final[dict[str, Any]] = {"name": "place", "description": "D", "strict": True, "schema": SCHEMA}
FORM: Final = ReplyFormat(
    described=Tool(name="place", description="D", parameters=SCHEMA),
    strict=True,
)
NAMELESS: Final = ReplyFormat(described=Tool(name="reply", description="", parameters=SCHEMA))
SENT: Final[dict[Dialect, tuple[str, object]]] = {
    "chat": ("response_format", {"type": "json_schema", "json_schema": NAMED}),
    "messages": (
        "output_config",
        {"format": {"type": "json_schema", "schema": {"description": "D", **SCHEMA}}},
    ),
}


def with_format(api: str, given: object) -> dict[str, Any]:
    """Return a request that wants a format, in an API's own place for it."""
    places = {
        "chat": {"response_format": given},
        "responses": {"text": {"format": given}},
        "messages": {"output_config": {"format": given}},
    }
    return {**copy.deepcopy(APIS[api][1]), **places[api]}


def by_schema(api: str, named: dict[str, Any]) -> dict[str, Any]:
    """Return a format by a schema, as an API writes one."""
    inner = {"json_schema": named} if api == "chat" else named
    return {"type": "json_schema", **inner}


def crossed(api: str, given: object) -> ReplyFormat | None:
    return question_of(question_bytes(APIS[api][0].read(with_format(api, given)))).form


def test_a_format_crosses_as_it_was_asked_for() -> None:
    found = [crossed(api, by_schema(api, NAMED)) for api in ("chat", "responses")]
    found += [crossed("messages", by_schema("messages", {"schema": SCHEMA}))]
    others = [
        crossed(api, {"type": kind}) for api in ("chat", "responses") for kind in ("json_object", "text")
    ]

    assert found == [FORM, FORM, NAMELESS]
    assert others == [ReplyFormat(), None, ReplyFormat(), None]


OTHERS: Final = [
    {"type": "grammar", "grammar": "root ::= x"},
    {"type": "regex", "pattern": "x"},
    {"type": "structural_tag", "structures": []},
    {"type": ["json_object"]},
    {"type": "json_object", "schema": SCHEMA},
    {},
]
WRONG: Final = [
    {**NAMED, "tomorrow": 1},
    {**NAMED, "schema": None},
    {**NAMED, "schema": "https://evil.example/s.json"},
    {**NAMED, "schema": {"$ref": "https://evil.example/s.json"}},
    {**NAMED, "schema": {"title": "\ud800"}},
]
WRONG_NAMES: Final = [{**NAMED, "name": "a b"}, {**NAMED, "name": None}, {**NAMED, "strict": "yes"}]


@pytest.mark.parametrize("given", OTHERS, ids=str)
@pytest.mark.parametrize("api", APIS)
def test_a_format_of_another_kind_is_refused(api: str, given: dict[str, object]) -> None:
    with pytest.raises(RefusedRequestError) as caught:
        crossed(api, given)

    assert (caught.value.code, caught.value.status) == ("capability", 400)


@pytest.mark.parametrize("api", APIS)
def test_what_is_wrong_in_a_format_is_refused(api: str) -> None:
    """Anthropic's has a schema and nothing else."""
    wrong = [*WRONG, *(WRONG_NAMES if api != "messages" else [])]
    nameless = [{name: each[name] for name in each.keys() & {"schema", "tomorrow"}} for each in WRONG]
    for named in nameless if api == "messages" else wrong:
        with pytest.raises(RefusedRequestError) as caught:
            crossed(api, by_schema(api, named))
        assert 400 <= caught.value.status < 500
        assert "evil.example" not in caught.value.message


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_formats_schema_refers_to_itself_and_nowhere_else(name: str) -> None:
    """The positive twin stands below; where it leaves it is looked at again, whoever built it."""
    for api in APIS:
        named = {
            "schema": {"type": "object", **ELSEWHERE[name]},
            **({"name": "x"} if api != "messages" else {}),
        }
        with pytest.raises(RefusedRequestError, match="refers elsewhere") as caught:
            crossed(api, by_schema(api, named))
        assert caught.value.code == "capability"


LEAVING: Final[list[tuple[Dialect, dict[str, Any]]]] = [
    ("chat", {"response_format": {"type": "json_object"}}),
    ("chat", {"response_format": by_schema("chat", NAMED)}),
    ("chat", {"response_format": by_schema("chat", {"name": "x", "schema": WITHIN})}),
    ("messages", {"output_config": {"format": by_schema("messages", {"schema": WITHIN})}}),
]
STAYING: Final[list[tuple[Dialect, dict[str, Any]]]] = [
    ("chat", {"response_format": None}),
    *(("chat", {"response_format": each}) for each in OTHERS),
    *(("chat", {"response_format": by_schema("chat", each)}) for each in WRONG[:4]),
    ("chat", {"response_format": by_schema("chat", {**NAMED, "strict": "yes"})}),
    ("chat", {"response_format": by_schema("chat", {**NAMED, "name": 3})}),
    ("chat", {"response_format": {**by_schema("chat", NAMED), "url": "x"}}),
    ("chat", {"output_config": {"format": by_schema("messages", {"schema": SCHEMA})}}),
    ("messages", {"response_format": {"type": "json_object"}}),
    ("messages", {"output_config": {"effort": "low"}}),
    ("messages", {"output_config": {"format": {"type": "json_object"}}}),
    ("messages", {"output_config": {"format": by_schema("messages", NAMED)}}),
    ("messages", {"output_config": {"format": by_schema("messages", {"schema": WRONG[3]["schema"]})}}),
]


def test_a_format_that_leaves_is_json_and_nothing_else() -> None:
    """A parser that was taken over can ask for no other."""
    for dialect, held in LEAVING:
        require_closed(dialect, {"messages": [], **held})
    for dialect, held in STAYING:
        with pytest.raises(ModelServerError) as caught:
            require_closed(dialect, {"messages": [], **held})
        assert caught.value.failure.kind == "capability", held


async def test_each_server_has_the_format_and_the_next_question_has_none(dialect: Dialect) -> None:
    async with serving(Saying(text="{}").play(dialect)) as server:
        backend = backend_for(server, dialect)
        await formatting(backend, FORM).ask(TALK, (TOOL,))
        await formatting(backend, FORM).ask(TALK, ())
        await formatting(backend, None).ask(TALK, (TOOL,))
        await backend.close()

    name, sent = SENT[dialect]
    assert [request.json.get(name) for request in server.asked] == [sent, sent, None]


async def test_any_json_object_is_asked_of_a_server_that_knows_that_alone() -> None:
    """Anthropic's API has JSON by a schema only; the next model of a route is asked, for that question."""
    async with (
        serving(Saying(text="{}").play("chat")) as chat,
        serving(Saying(text="x").play("messages")) as messages,
    ):
        models = {"one": backend_for(messages, "messages"), "two": backend_for(chat, "chat")}
        route = RouteBackend(models, name="both", notice=lambda _: None)
        wanted = await formatting(route, ReplyFormat()).ask(TALK, ())
        then = await route.ask(TALK, ())
        with pytest.raises(ModelServerError, match="asks for JSON by a schema"):
            formatting(models["one"], ReplyFormat())
        await route.close()

    assert (wanted.text, then.text) == ("{}", "x")
    assert [request.json.get("response_format") for request in chat.asked] == [{"type": "json_object"}]


def scripted(_: Path) -> Backend:
    script = Script.model_validate({"version": 1, "turns": [{"text": "{}"}]})
    return ScriptedBackend(script, name="script")


def both(place: Path) -> Backend:
    return RouteBackend({"one": scripted(place), "two": scripted(place)}, name="both", notice=lambda _: None)


@pytest.mark.parametrize("made", [scripted, both])
async def test_a_backend_that_cannot_ask_for_a_format_is_not_asked(
    tmp_path: Path, made: Callable[[Path], Backend]
) -> None:
    """It is said, and costs no turn; a script answers the same question without a format."""
    ledger, model = Ledger(tmp_path), made(tmp_path)
    async with ledger.journal:
        with pytest.raises(RefusedRequestError) as caught:
            await ledger.book.ask(model, replace(asked(), form=FORM))
        turns = ledger.budget.turns
        reply = await ledger.book.ask(model, asked())

    assert (caught.value.code, caught.value.status, turns) == ("unsupported", 400, 0)
    assert reply.text == "{}"


class Formatting(Model):
    """Keep the formats that are asked for; `reply_format.FormattingBackend`."""

    def __init__(self, answers: Callable[[], Reply]) -> None:
        super().__init__(lambda _, __: answers())
        self.forms: list[ReplyFormat] = []

    def formatting(self, form: ReplyFormat) -> Formatting:
        """Keep it."""
        self.forms.append(form)
        return self


async def test_a_format_is_in_the_ledger_once_and_no_secret_leaves_in_it(tmp_path: Path) -> None:
    described = Tool(name=SECRET, description=f"D {SECRET}", parameters={"title": SECRET, "type": "object"})
    wanted = ReplyFormat(described=described)
    ledger, model = Ledger(tmp_path), Formatting(lambda: Reply(text="{}"))
    async with ledger.journal:
        for _ in range(2):
            await ledger.book.ask(model, replace(asked(), form=wanted))

    assert SECRET not in repr(model.forms)
    assert SECRET not in ledger.openings()
    assert [form.described.name for form in model.forms if form.described] == ["reply", "reply"]
    said = [entry for entry in ledger.entries("message.added") if entry["role"] == "system"]
    assert len(said) == 1


@pytest.mark.parametrize("where", ["description", "parameters", "both"])
async def test_a_format_is_as_large_as_may_be_with_its_description_and_no_larger(
    tmp_path: Path, where: str
) -> None:
    """It is measured as the agent sent it: measured without secrets, it would say for nothing what is one."""
    empty = Tool(name="x", description="", parameters={"title": ""})
    room = MOST_CHARACTERS - len(json.dumps([empty.description, empty.parameters]))

    def sized(characters: int) -> ReplyFormat:
        said = {"description": characters, "parameters": 0, "both": characters // 2}[where]
        secret = SECRET * ((characters - said) // len(SECRET))
        title = secret.ljust(characters - said, "x")
        return ReplyFormat(described=replace(empty, description="d" * said, parameters={"title": title}))

    ledger, model = Ledger(tmp_path), Formatting(lambda: Reply(text="{}"))
    async with ledger.journal:
        with pytest.raises(RefusedRequestError) as caught:
            await ledger.book.ask(model, replace(asked(), form=sized(room + 1)))
        turns = ledger.budget.turns
        reply = await ledger.book.ask(model, replace(asked(), form=sized(room)))

    assert (caught.value.status, caught.value.code, turns) == (413, "request_too_large", 0)
    assert reply.text == "{}"
    assert len(model.forms) == len(ledger.entries("model.asked")) == 1


async def test_a_format_counts_where_nobody_answers(tmp_path: Path) -> None:
    """Else a schema of any length could be put for nothing, again and again."""

    def fail() -> Reply:
        raise BackendError("down")

    ledger = Ledger(tmp_path)
    async with ledger.journal:
        with pytest.raises(RefusedRequestError):
            await ledger.book.ask(Formatting(fail), replace(asked(), form=FORM))

    assert FORM.described is not None
    assert ledger.budget.input_tokens >= estimated((), (FORM.described,)) > 0


class Place(BaseModel):
    """What a program wants its reply to be."""

    city: str


class Desk:
    """Ask as a session does: over the pipe's form of a question, and with the book; `desk.Asker`."""

    def __init__(self, ledger: Ledger, backend: Backend) -> None:
        self._ledger = ledger
        self._backend = backend

    async def ask(self, asked: Asked, hear: Callable[[Step], None]) -> Reply:
        """Ask the model."""

        async def tell(step: Step) -> None:
            hear(step)

        question = question_of(question_bytes(asked))
        return await self._ledger.book.ask(self._backend, question, tell if asked.stream else None)


async def parsed(asker: Desk) -> dict[str, object]:
    """Return what the SDKs' own helpers make of a reply that they want to be a place."""
    found: dict[str, object] = {}
    async with httpx2.AsyncClient(transport=ToDesk(asker)) as http:
        one: Any = openai.AsyncOpenAI(api_key="k", base_url="http://x/v1", http_client=http, max_retries=0)
        two: Any = anthropic.AsyncAnthropic(api_key="k", base_url="http://x", http_client=http, max_retries=0)
        chat = {"model": "main", "messages": SAID, "response_format": Place}
        said = {"model": "main", "messages": SAID, "output_format": Place, "max_tokens": 9}
        told = {"model": "main", "input": "x", "text_format": Place}
        whole = await one.chat.completions.parse(**chat)
        found["chat"] = whole.choices[0].message.parsed
        async with one.chat.completions.stream(**chat) as stream:
            found["chat, streamed"] = (await stream.get_final_completion()).choices[0].message.parsed
        found["responses"] = (await one.responses.parse(**told)).output_parsed
        async with one.responses.stream(**told) as stream:
            found["responses, streamed"] = (await stream.get_final_response()).output_parsed
        found["messages"] = (await two.messages.parse(**said)).parsed_output
        async with two.messages.stream(**said) as stream:
            found["messages, streamed"] = (await stream.get_final_message()).parsed_output
    return found


async def test_the_sdks_own_helpers_parse_a_reply_of_either_server(tmp_path: Path, dialect: Dialect) -> None:
    ledger = Ledger(tmp_path, limits=replace(LIMITS, turns=9))
    async with ledger.journal, serving(Saying(text='{"city": "Basel"}').play(dialect)) as server:
        backend = backend_for(server, dialect)
        found = await parsed(Desk(ledger, backend))
        await backend.close()

    ways = [f"{api}{way}" for api in ("chat", "responses", "messages") for way in ("", ", streamed")]
    assert found == dict.fromkeys(ways, Place(city="Basel"))
    name = SENT[dialect][0]
    asked_for = [json.dumps(request.json[name]) for request in server.asked]
    assert ['"city"' in each and '"json_schema"' in each for each in asked_for] == [True] * 6


async def test_the_words_of_a_server_that_takes_no_format_reach_the_agent(
    tmp_path: Path, dialect: Dialect
) -> None:
    """In each API's own shape, and not asked for again."""
    body = {"error": {"message": "this model has no structured outputs", "type": "invalid_request_error"}}
    ledger = Ledger(tmp_path, limits=replace(LIMITS, turns=9))
    words = []
    async with ledger.journal, serving(answer(400, body)) as server:
        backend = backend_for(server, dialect)
        async with httpx2.AsyncClient(transport=ToDesk(Desk(ledger, backend))) as http:
            one: Any = openai.AsyncOpenAI(api_key="k", base_url="http://x/v1", http_client=http)
            two: Any = anthropic.AsyncAnthropic(api_key="k", base_url="http://x", http_client=http)
            for ask, given in (
                (one.chat.completions.parse, {"messages": SAID, "response_format": Place}),
                (one.responses.parse, {"input": "x", "text_format": Place}),
                (two.messages.parse, {"messages": SAID, "output_format": Place, "max_tokens": 9}),
            ):
                with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
                    await ask(model="main", **given)
                words.append(str(caught.value))
        await backend.close()

    assert ["this model has no structured outputs" in each for each in words] == [True] * 3
    assert len(server.asked) == 3
