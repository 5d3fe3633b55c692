"""The operator's configuration of models: what is wrong is told with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pytest
from pydantic import BaseModel, Field

from agent_runner import models
from agent_runner.backends.anthropic_messages import AnthropicBackend
from agent_runner.backends.backend import Usage
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.checked_yaml import read_checked
from agent_runner.backends.configuration import Price, read_configuration
from agent_runner.backends.key import KeyReference
from agent_runner.backends.route import RouteBackend
from agent_runner.backends.server import Server
from agent_runner.errors import InvalidInputError
from agent_runner.models import choose_backend
from tests.contract.asking import asked, backend_for
from tests.contract.model_server import answer, serving

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """version: 1
models:
  default:
    backend: openai
    model: qwen3
    base_url: http://127.0.0.1:8000/v1/
    key: {env: QWEN_KEY}
    timeout: 10m
    silence: 30s
    attempts: 3
    output_tokens: 4k
    parallel_calls: false
    price: {input: 3, output: 15, cached: 0.3}
  claude: {backend: anthropic, model: claude, key: {command: [pass, show, claude]}, prompt_cache: false}
  both: {backend: route, models: [default, claude]}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the operator's configuration."""
    path = tmp_path / "config.yaml"
    monkeypatch.setattr(models, "configuration_path", lambda: path)
    return path


def test_every_setting_reaches_the_backend(config: Path) -> None:
    config.write_text(GOOD)

    backend = choose_backend(None)

    assert isinstance(backend, OpenAIBackend)
    assert backend.talk.server == Server(
        base_url="http://127.0.0.1:8000/v1",
        model="qwen3",
        key=KeyReference(env="QWEN_KEY"),
        timeout_seconds=600.0,
        silence_seconds=30.0,
        output_tokens=4000,
        parallel_calls=False,
        prompt_cache=False,
        price=Price(input=3, output=15, cached=0.3),
    )
    assert backend.model == "default (qwen3)"


def test_the_other_kinds_are_made_by_name(config: Path) -> None:
    config.write_text(GOOD)

    claude, both = choose_backend("claude"), choose_backend("both")

    assert isinstance(claude, AnthropicBackend)
    assert claude.talk.server.base_url == "https://api.anthropic.com"
    assert isinstance(both, RouteBackend)
    assert [model.kind for model in both.models] == ["openai", "anthropic"]


def test_a_server_without_a_key_can_be_named_on_the_command_line(config: Path) -> None:
    backend = choose_backend("openai:qwen3:8b@http://127.0.0.1:11434/v1")

    assert isinstance(backend, OpenAIBackend)
    assert backend.talk.server == Server(
        base_url="http://127.0.0.1:11434/v1", model="qwen3:8b", prompt_cache=False
    )
    for wrong in ("openai:m", "openai:@http://127.0.0.1/v1", "openai:m@ftp://x", "openai:m@http://u:p@h/v1"):
        with pytest.raises(InvalidInputError):
            choose_backend(wrong)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("openai:m@http://user:pa@ss/w@h/v1", "`openai:m@http://…@h/v1` names no server"),
        ("openai:m@https://h/v1?key=pass#pass", "`openai:m@https://h/v1?…` names no server"),
        ("http://user:pass@h/v1", "no model `http://…@h/v1` is configured"),
    ],
)
def test_a_password_in_a_models_name_is_not_repeated(config: Path, given: str, shown: str) -> None:
    """An error stands in the logs of CI."""
    config.write_text("version: 1\n")

    with pytest.raises(InvalidInputError) as caught:
        choose_backend(given)

    assert caught.value.message.startswith(shown)
    assert "pa" not in caught.value.message.replace("password", "")


def one(line: str) -> str:
    """Return a configuration with one model."""
    return f"version: 1\nmodels:\n  default: {{{line}}}\n"


ROUTE = "backend: route, models: [a, b], "
WRONG = [
    (one(ROUTE + "weights: {c: 1}"), ":3:3: `models.default`: `c` is not among `models`"),
    (one(ROUTE + "weights: {a: 0}"), ":3:3: `models.default`: `weights` are all 0"),
    (one(ROUTE + "weights: {a: -1}"), ":3:55: `models.default.weights.a`: "),
    (one(ROUTE + "roles: {small: c}"), ":3:3: `models.default`: `c` is not among `models`"),
    (one(ROUTE + "roles: {other: a}"), ":3:53: key `other` in `models.default.roles`: expected"),
    (one("backend: route, models: [a, a]"), ":3:3: `models.default`: `models` names one twice"),
    (one("backend: replay"), ":3:3: key `session` is missing in `models.default`; hint: add `session: …`"),
    (one("backend: installed, kind: A/B"), ":3:33: `models.default.kind`: "),
    (one("backend: openai"), ":3:3: key `model` is missing in `models.default`"),
    (
        one("backend: opnai, model: m"),
        ":3:3: `models.default`: its `backend` is none that is known; hint: did you mean `openai`?",
    ),
    (one("model: m"), ":3:3: key `backend` is missing in `models.default`"),
    (
        one("backend: openai, model: m, extra_body: {nvext: 1}"),
        ":3:40: key `extra_body` is not known in `models.default`",
    ),
    (one("backend: openai, model: m, tools: [web]"), ":3:40: key `tools` is not known in `models.default`"),
    (
        one("backend: openai, model: m, key: sk-123"),
        ":3:40: `models.default.key`: expected a block; hint: its keys are `env`, `file`, `command`",
    ),
    (one("backend: openai, model: m, key: {}"), ":3:40: `models.default.key`: expected exactly one of"),
    (
        one("backend: openai, model: m, timeout: 120"),
        ":3:40: `models.default.timeout` is not a duration; hint: ",
    ),
    (one("backend: openai, model: m, base_url: 'ftp://x'"), ":3:40: `models.default.base_url`: "),
    (
        one("backend: openai, model: m, base_url: 'https://u:p@h/v1'"),
        ":3:40: `models.default.base_url`: a URL",
    ),
    (one("backend: openai, model: m, base_url: 'https://h/v1?k=1'"), ":3:40: `models.default.base_url`: "),
    (
        one("backend: openai, model: m, base_url: 'http://h/v1', key: {env: K}"),
        ":3:3: `models.default`: the key",
    ),
    (one("backend: openai, model: m, attempts: 0"), ":3:40: `models.default.attempts`: "),
    (one("backend: openai, model: m, stream: yes"), ":3:40: `models.default.stream`: expected true or false"),
    (
        one("backend: openai, model: m, price: {input: -1, output: 1}"),
        ":3:48: `models.default.price.input`: ",
    ),
    (one("backend: openai, model: m, model: n"), ":3:"),
    ("version: 2\n", ":1:1: `version`: expected 1\n"),
    ("models: {}\n", ":1:1: key `version` is missing; hint: add `version: …`"),
    ("version: 1\nmodel: {}\n", ":2:1: key `model` is not known; hint: did you mean `models`?"),
    (
        one("backend: openai, model: m, key: {evn: K}"),
        ":3:46: key `evn` is not known in `models.default.key`; hint: did you mean `env`?",
    ),
    (
        one("backend: openai, model: m, base_ulr: x"),
        ":3:40: key `base_ulr` is not known in `models.default`; hint: did you mean `base_url`?",
    ),
    (
        "version: 1\napprovals: {ask: 'https://h/a', answers: 'https://h/b', wiat: 3}\n",
        ":2:1: key `public_key` is missing in `approvals`; hint: add `public_key: …`\n",
    ),
    (
        "version: 1\nmodels: {openai: {backend: openai, model: m, price: {inptu: 1, output: 2}}}\n",
        ":2:54: key `inptu` is not known in `models.openai.price`; hint: did you mean `input`?\n",
    ),
    (
        "version: 1\nmodels: [a]\n",
        ":2:1: `models`: expected a block; hint: names, each with a block\n",
    ),
    (
        "version: 1\nmodels: {a: 3}\n",
        ":2:10: `models.a`: expected a block; hint: its `backend` is one of `scripted`, `openai`, ",
    ),
    ("version: 1\nmodels: {3: {}}\n", ":2:10: key `3` in `models`: expected a text\n"),
    ("version: 1\nmodels: {~: 3}\n", ":2:1: key `None` in `models`: expected a text\n"),
    (
        one("backend: installed, kind: a, settings: {a: [x]}"),
        ":3:53: `models.default.settings.a`: expected a text, a whole number, a number or true or false\n",
    ),
    (
        one("backend: installed, kind: a, settings: [x]"),
        ":3:42: `models.default.settings`: expected a block; hint: names, each with a value\n",
    ),
    (
        one("backend: openai, model: m, price: {input: abc, output: 1}"),
        ":3:48: `models.default.price.input`: expected a number\n",
    ),
    (
        one("backend: openai, model: m, timeout: abc"),
        ":3:40: `models.default.timeout` is not a duration; hint: write a whole number and a unit, as in ",
    ),
    (
        one(ROUTE + "roles: {smal: a}"),
        ":3:53: key `smal` in `models.default.roles`: expected `main` or `small`\n",
    ),
    ("models: [\n", ":"),
    ("\tmodels: {}\n", ":1:1: found character "),
    ("- x\n", ":1:1: `configuration`: expected a block; hint: its keys are `version`, `models`, "),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_told_with_its_place(config: Path, text: str, words: str) -> None:
    config.write_text(text)

    with pytest.raises(InvalidInputError) as caught:
        choose_backend(None)

    assert f"{caught.value.message}\n".startswith(f"{config}{words}")
    assert "sk-123" not in caught.value.message
    assert "u:p" not in caught.value.message


class Unions(BaseModel):
    """Places where two members of a union find the same fault, or different ones."""

    same: tuple[str, ...] | tuple[int, ...] = ()
    bounded: Annotated[int, Field(gt=1)] | Annotated[int, Field(gt=1, lt=9)] = 2
    different: int | float = 1


def test_what_members_of_a_union_find_alike_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("same: x\nbounded: 0\ndifferent: x\n")

    with pytest.raises(InvalidInputError) as caught:
        read_checked(file, Unions, what="file", maximum_bytes=1000)

    assert caught.value.message.splitlines() == [
        f"{file}:1:1: `same`: expected a list, as in `[one, two]`",
        f"{file}:2:1: `bounded`: input should be greater than 1",
        f"{file}:3:1: `different`: expected a whole number or a number",
    ]


SERVED = "backend: openai, model: m, "
MISPLACED = [
    one(SERVED + "base_url: 'https://h/v1?api_key=hunter2'"),
    one(SERVED + "base_url: 'https://h:hunter2/v1'"),
    one(SERVED + "base_url: 'https://hunter2@h/v1'"),
    one(SERVED + "base_url: hunter2"),
    one(SERVED + "proxy: 'http://[hunter2'"),
    one(SERVED + "timeout: hunter2"),
    one(SERVED + "timeout: 3hunter2"),
    one(SERVED + "output_tokens: hunter2"),
    one(SERVED + "context: [hunter2]"),
    one(SERVED + "key: hunter2"),
    one("backend: hunter2, model: m"),
    "version: hunter2\n",
    "version: 1\ncredentials: {a: {env: A, hosts: ['h/hunter2']}}\n",
    "version: 1\ncredentials: {a: {env: A, hosts: [h.test], kind: hunter2}}\n",
    "version: 1\napprovals: {ask: 'https://h/?hunter2', answers: 'https://h', public_key: hunter2}\n",
    "version: 1\nconnectors: {slack: {base_url: 'https://h/?hunter2', credential: a}}\n",
]


@pytest.mark.parametrize("text", MISPLACED, ids=range(len(MISPLACED)))
def test_a_secret_in_the_wrong_place_is_in_no_message(config: Path, text: str) -> None:
    config.write_text(text)

    with pytest.raises(InvalidInputError) as caught:
        choose_backend(None)

    assert caught.value.message.startswith(f"{config}:")
    assert "hunter2" not in caught.value.message


def test_a_key_may_go_in_the_clear_to_this_machine_only(config: Path) -> None:
    for host in ("127.0.0.1:8000", "localhost", "[::1]:9"):
        config.write_text(one(f"backend: openai, model: m, base_url: 'http://{host}/v1', key: {{env: K}}"))
        choose_backend(None)


@pytest.mark.parametrize("names", ["[both, default]", "[default, none]"])
def test_a_route_names_models_that_answer_themselves(config: Path, names: str) -> None:
    config.write_text(GOOD.replace("[default, claude]", names))

    with pytest.raises(InvalidInputError, match=r"route `both` names `(both|none)`"):
        choose_backend("both")


def test_a_missing_configuration_is_empty(config: Path) -> None:
    assert read_configuration(config).models == {}


def test_a_price_counts_cached_tokens_apart() -> None:
    usage = Usage(input_tokens=1_000_000, cached_tokens=400_000, output_tokens=100_000)

    assert Price(input=3, output=15, cached=0.5).dollars(usage) == pytest.approx(1.8 + 0.2 + 1.5)
    assert Price(input=3, output=15).dollars(usage) == pytest.approx(3.0 + 1.5)


async def test_what_is_written_into_a_cache_has_a_price_of_its_own() -> None:
    """Anthropic takes a quarter more for it than for input; a price without it counts it as that."""
    usage = {
        "input_tokens": 100_000,
        "cache_read_input_tokens": 400_000,
        "cache_creation_input_tokens": 500_000,
        "output_tokens": 0,
    }
    content = [{"type": "text", "text": "x"}]
    whole = {"type": "message", "content": content, "stop_reason": "end_turn", "usage": usage}
    async with serving(answer(200, whole)) as server:
        dearer = Price(input=3, output=0, cached=0.3, cache_write=3.75)
        costs = [
            (await asked(backend_for(server, "messages", stream=False, price=price))).usage.cost_micros
            for price in (dearer, Price(input=3, output=0, cached=0.3))
        ]

    assert costs == [300_000 + 120_000 + 1_875_000, 300_000 + 120_000 + 1_500_000]
