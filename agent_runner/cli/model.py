"""Show the configured models, and find out what one can do: `pairlock model list|check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.commands import Group
from agent_runner.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.backends.backend import Backend
    from agent_runner.backends.check import Finding
    from agent_runner.backends.configuration import ConfiguredModel

app = typer.Typer(
    cls=Group, help="The models that sessions may ask.", no_args_is_help=True, rich_markup_mode=None
)
_INDENT = 25
"""Columns before the text of a finding."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the configured models; keys are shown by reference only."""
    import json

    from agent_runner.backends.configuration import read_configuration
    from agent_runner.cli.folding import tell
    from agent_runner.cli.talk import say
    from agent_runner.models import configuration_path
    from audit.escape import escape_line

    path = configuration_path()
    models = read_configuration(path).models
    if as_json:
        typer.echo(json.dumps({name: _facts(model) for name, model in models.items()}))
        return
    if not models:
        say(f"no model is configured in {escape_line(str(path))}")
    for name, model in models.items():
        facts = _facts(model)
        rest = [str(facts[key]) for key in ("model", "base_url", "models", "script") if facts.get(key)]
        key = f"key: {facts['key']}" if facts.get("key") else ""
        tell(_line(f"{name:<16}{facts['backend']:<11}", "  ".join([*rest, key])), indent=_INDENT)


def _facts(model: ConfiguredModel) -> dict[str, object]:
    facts = model.model_dump(mode="json", exclude_none=True, exclude={"key"})
    key = getattr(model, "key", None)
    return {**facts, **({"key": str(key)} if key is not None else {})}


def _line(start: str, text: str) -> str:
    from audit.escape import escape_line

    return escape_line(start + text.rstrip(), width=400)


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A configured model, or openai:MODEL@URL.")],
    as_json: Json = False,
) -> None:
    """Ask a model's server two small questions: does it answer, stream, count, call tools, keep a prefix."""
    from agent_runner.cli.interrupting import interruptible

    if not interruptible(_check(name, as_json=as_json)):
        raise typer.Exit(Exit.FAILED)


async def _check(name: str, *, as_json: bool) -> bool:
    import json

    from agent_runner.backends.check import unanswered
    from agent_runner.backends.failure import ModelServerError
    from agent_runner.cli.talk import say
    from agent_runner.models import choose_backend

    backend = choose_backend(name, notice=say)
    findings: list[tuple[str, Finding]] = []
    failed: ModelServerError | None = None
    models = getattr(backend, "models", (backend,))
    try:
        for each in models:
            try:
                async for found in _findings(each, as_json=as_json):
                    findings.append((each.model, found))  # noqa: PERF401 - kept when the next one fails
            except ModelServerError as error:
                failed = error
                findings.append((each.model, unanswered(error)))
                if len(models) > 1 and not as_json:  # only the last one's is told by the exit
                    _print(findings[-1][1])
    finally:
        await backend.close()
    if as_json:
        typer.echo(json.dumps([_object(model, found) for model, found in findings]))
    elif failed is None:
        _print_cost(name, [found for _, found in findings])
    if failed is not None:
        raise failed
    return all(found.standing == "yes" for _, found in findings if found.needed)


async def _findings(backend: Backend, *, as_json: bool) -> AsyncIterator[Finding]:
    from agent_runner.backends.anthropic_messages import AnthropicBackend
    from agent_runner.backends.chat_completions import OpenAIBackend
    from agent_runner.backends.check import check as ask
    from agent_runner.errors import InvalidInputError

    if not isinstance(backend, OpenAIBackend | AnthropicBackend):
        raise InvalidInputError(
            f"`{backend.model}` has no server to be checked: its backend is `{backend.kind}`"
        )
    if not as_json:
        typer.echo(_line("", backend.model))
    async for found in ask(backend):
        if not as_json:
            _print(found)
        yield found


def _print(found: Finding) -> None:
    from agent_runner.cli.folding import tell

    tell(_line(f"  {found.name:<14}{found.standing:<9}", found.text), indent=_INDENT)


def _object(model: str, found: Finding) -> dict[str, object]:
    return {
        "model": model,
        "name": found.name,
        "standing": found.standing,
        "text": found.text,
        "needed": found.needed,
    }


def _print_cost(name: str, findings: list[Finding]) -> None:
    """Say what the questions cost, if the operator told the price."""
    from agent_runner.backends.configuration import read_configuration
    from agent_runner.models import configuration_path

    price = getattr(read_configuration(configuration_path()).models.get(name), "price", None)
    if price is not None:
        dollars = sum(price.dollars(found.reply.usage) for found in findings if found.reply is not None)
        typer.echo(f"  {'cost':<14}{'':<9}{dollars:.4f} USD for the questions of this check")
