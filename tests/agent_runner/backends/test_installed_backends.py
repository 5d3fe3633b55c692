"""A backend that another package brings: found by its entry point, bounded, and blamed for its own faults."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent_runner import models
from agent_runner.backends import installed
from agent_runner.backends.backend import Call, PricedBackend, Reply, Tried, Usage, UserMessage
from agent_runner.backends.configuration import InstalledModel, Price
from agent_runner.backends.failure import ModelServerError, status_error
from agent_runner.backends.installed import InstalledBackend, installed_backend
from agent_runner.errors import BackendError, InvalidInputError
from agent_runner.models import choose_backend
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool
from tests.agent_runner.stand import FINISH, POLICY, Model, saying

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message
    from tests.agent_runner.stand import Stand

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "backend"
TALK = (UserMessage(text="x"),)
TOOL = Tool(name="files_list", description="List.", parameters={})
ANSWERER = """
import json, sys
asked = json.load(sys.stdin)
name = asked["tools"][0]["name"]
call = {"id": "1", "tool": name, "arguments": {"path": asked["messages"][-1]["text"]}}
json.dump({"text": "t", "calls": [call], "input_tokens": 12, "output_tokens": 3}, sys.stdout)
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Install the example package into a folder of its own, and return the folder."""
    folder = tmp_path_factory.mktemp("site")
    build = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    source = folder / "source"
    subprocess.run(["cp", "-r", EXAMPLE, source], check=True)
    site = folder / "packages"
    done = subprocess.run(
        [sys.executable, *build, "--target", site, source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return str(site)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: str) -> Path:
    """Return the path of a configuration, beside which the example package is installed."""
    path = tmp_path / "config.yaml"
    monkeypatch.setattr(models, "configuration_path", lambda: path)
    monkeypatch.syspath_prepend(example)
    return path


def written(config: Path, command: str, *, seconds: float = 60) -> None:
    """Write a configuration in which the example's backend asks a command."""
    settings = {"command": command, "seconds": seconds}
    model = {"backend": "installed", "kind": "program", "settings": settings}
    config.write_text(json.dumps({"version": 1, "models": {"default": model}}))


async def test_the_example_package_answers_through_its_entry_point(config: Path, tmp_path: Path) -> None:
    answerer = tmp_path / "answerer.py"
    answerer.write_text(ANSWERER)
    written(config, shlex.join([sys.executable, str(answerer)]))

    backend = choose_backend(None)
    reply = await backend.ask(TALK, (TOOL,))
    await backend.close()

    proposal = ToolProposal(tool="files_list", arguments='{"path": "x"}')
    usage = Usage(input_tokens=12, output_tokens=3)
    assert reply == Reply(text="t", calls=(Call(call_id="1", proposal=proposal),), usage=usage)
    assert (backend.kind, backend.model) == ("program", f"default ({sys.executable})")


async def test_the_example_ends_a_program_that_takes_too_long_with_all_that_it_started(
    config: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    written(config, f"sh -c 'cat {fifo}; echo'", seconds=1)

    asking = asyncio.ensure_future(choose_backend(None).ask(TALK, (TOOL,)))
    await asyncio.wait({asking}, timeout=30)
    is_done = asking.done()
    with suppress(OSError):  # nobody reads there any more
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))

    with pytest.raises(BackendError, match="did not answer within 1 s"):
        await asking
    assert is_done


@pytest.mark.parametrize("redirected", ["", ">/dev/null"])
async def test_the_example_ends_what_its_program_left_behind(
    config: Path, tmp_path: Path, redirected: str
) -> None:
    """A child that outlives its program follows a pipe, which nobody reads any more then."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    holding = os.open(fifo, os.O_RDWR)
    written(config, f"sh -c 'tail -f {fifo} {redirected} & sleep 0.3; exit 3'", seconds=1)

    with pytest.raises(BackendError):
        await choose_backend(None).ask(TALK, (TOOL,))

    os.close(holding)
    for _ in range(100):
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return
        await asyncio.sleep(0.1)
    pytest.fail("a child of the program lives on")


async def test_the_example_says_why_its_program_gave_no_reply(config: Path) -> None:
    for command, words in (("false", "exit code 1"), ("/no/such", "cannot be started"), ("true", "no reply")):
        written(config, command)

        with pytest.raises(BackendError, match=words):
            await choose_backend(None).ask(TALK, (TOOL,))


def test_a_backend_that_nobody_installed_is_named_beside_those_that_are(config: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        installed_backend(InstalledModel(backend="installed", kind="other"), name="m")

    assert caught.value.message == "no installed package brings the backend `other`"
    assert "program" in caught.value.hint


def test_settings_that_the_backend_does_not_take_are_told_as_its_own_refusal(config: Path) -> None:
    with pytest.raises(
        InvalidInputError, match=r"the backend `program` of model `m` cannot be made: KeyError"
    ):
        installed_backend(InstalledModel(backend="installed", kind="program"), name="m")


async def test_a_fault_of_the_package_is_no_fault_of_ours() -> None:
    def broken(_: Sequence[Message], __: int) -> Reply:
        raise ZeroDivisionError("by\nzero")

    with pytest.raises(BackendError) as caught:
        await InstalledBackend(Model(broken), kind="mine").ask(TALK, ())

    assert caught.value.message == "the backend `mine` failed: ZeroDivisionError: by zero"


class UnsayableError(Exception):
    """Fail to say what it is, too."""

    def __str__(self) -> str:
        """Raise."""
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (asyncio.CancelledError(), "it cancelled itself"),
        (SystemExit(3), "SystemExit: 3"),
        (BaseExceptionGroup("g", [SystemExit(3)]), "BaseExceptionGroup: g (1 sub-exception)"),
        (UnsayableError(), "UnsayableError: it cannot say why"),
        (BackendError("a\nb" + "x" * 9000, hint="h"), "a b" + "x" * 296 + "…"),
    ],
)
async def test_no_way_to_raise_ends_the_runner_or_hangs_who_asks(raised: BaseException, words: str) -> None:
    def broken(_: Sequence[Message], __: int) -> Reply:
        raise raised

    with pytest.raises(BackendError) as caught:
        await asyncio.wait_for(InstalledBackend(Model(broken), kind="mine").ask(TALK, ()), 60)

    assert caught.value.message == f"the backend `mine` failed: {words}"


async def test_a_server_that_failed_within_the_package_is_told_as_it_is() -> None:
    """A route goes by its facts."""
    error = status_error("`x`", 503, "busy")

    def broken(_: Sequence[Message], __: int) -> Reply:
        raise error

    with pytest.raises(ModelServerError) as caught:
        await InstalledBackend(Model(broken), kind="mine").ask(TALK, ())

    assert caught.value is error


async def test_who_cancels_a_question_is_obeyed() -> None:
    begun = asyncio.Event()

    class Begun(Hanging):
        async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
            begun.set()
            return await super().ask(messages, tools)

    asking = asyncio.create_task(InstalledBackend(Begun(lambda _, __: FINISH), kind="mine").ask(TALK, ()))
    await begun.wait()
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking


def test_a_name_that_it_fails_to_say_is_its_kind() -> None:
    class Nameless(Model):
        @property
        def model(self) -> str:  # type: ignore[override]  # it can only be read, and not even that
            raise SystemExit

    assert InstalledBackend(Nameless(lambda _, __: FINISH), kind="mine").model == "mine"
    assert InstalledBackend(Model(lambda _, __: FINISH), kind="mine").model == "test"


def test_one_whose_parts_cannot_be_looked_at_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap:
        @property
        def kind(self) -> str:
            raise ZeroDivisionError

    class Entry:
        name, value = "trap", "x:Trap"

        def load(self) -> object:
            return lambda _, name: Trap()  # noqa: ARG005 - how a backend is made

    monkeypatch.setattr(installed, "entry_points", lambda **_: (Entry(),))

    with pytest.raises(
        InvalidInputError, match=r"the backend `trap` of model `m` cannot be made: ZeroDivisionError"
    ):
        installed_backend(InstalledModel(backend="installed", kind="trap"), name="m")


@pytest.mark.parametrize(
    "raised",
    [asyncio.CancelledError("x"), SystemExit("x"), BaseExceptionGroup("x", [SystemExit()]), ValueError("x")],
)
def test_a_module_that_raises_anything_at_import_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    class Entry:
        name, value = "odd", "odd.module:make"

        def load(self) -> object:
            raise raised

    monkeypatch.setattr(installed, "entry_points", lambda **_: (Entry(),))

    with pytest.raises(InvalidInputError) as caught:
        installed_backend(InstalledModel(backend="installed", kind="odd"), name="m")

    words = f"the backend `odd` of model `m` cannot be made: {type(raised).__name__}: x"
    assert caught.value.message.startswith(words)
    assert caught.value.hint == "ask who wrote it: `odd.module:make` is no part of pairlock"


async def test_what_is_no_reply_is_refused_and_a_reply_is_priced() -> None:
    strange = Model(lambda _, __: "text")  # type: ignore[arg-type,return-value]  # what a package may do
    price = Price(input=1.0, output=1.0)
    priced = InstalledBackend(
        saying(Reply(text="", usage=Usage(input_tokens=5, output_tokens=2)), FINISH), kind="mine", price=price
    )

    with pytest.raises(BackendError, match="returned a str, expected a `Reply`"):
        await InstalledBackend(strange, kind="mine").ask(TALK, ())
    assert (await priced.ask(TALK, ())).usage.cost_micros == 7
    # What is not answered to its end costs, too: the gateway's book prices that by itself.
    assert isinstance(priced, PricedBackend)
    assert priced.priced(Usage(input_tokens=3)).cost_micros == 3


CALLED = Call(call_id="1", proposal=ToolProposal(tool="t", arguments="{}"))
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "text that is none": ({"text": None}, "`text` is a NoneType, expected a str"),
    "calls as a list": ({"calls": [CALLED]}, "`calls` is a list, expected a tuple"),
    "a call that is none": ({"calls": ({"tool": "t"},)}, "`calls` is a dict, expected a `Call`"),
    "a call without a name": ({"calls": (replace(CALLED, call_id=cast("str", 7)),)}, "`call_id` is a int"),
    "arguments as an object": (
        {"calls": (Call(call_id="1", proposal=ToolProposal(tool="t", arguments=cast("str", {}))),)},
        "`arguments` is a dict, expected a str",
    ),
    "a proposal that is none": (
        {"calls": (Call(call_id="1", proposal=cast("ToolProposal", "ls")),)},
        "`proposal` is a str, expected a `ToolProposal` or a `LineProposal`",
    ),
    "a first piece before the question": ({"first_token_seconds": -1.0}, "is -1.0, expected 0 to"),
    "a first piece at no time": ({"first_token_seconds": float("nan")}, "is nan, expected 0 to"),
    "a first piece never": ({"first_token_seconds": float("inf")}, "is inf, expected 0 to"),
    "no usage": ({"usage": None}, "`usage` is a NoneType, expected a Usage"),
    "tokens below nothing": ({"usage": Usage(input_tokens=-5)}, "`input_tokens` is -5, expected 0 to"),
    "more tokens than there are": ({"usage": Usage(output_tokens=10**30)}, "expected 0 to"),
    "more from the cache than sent": (
        {"usage": Usage(input_tokens=1, cached_tokens=2)},
        "`cached_tokens` and `cache_write_tokens` are more than its `input_tokens`",
    ),
    "more into the cache than sent": (
        {"usage": Usage(input_tokens=1, cached_tokens=1, cache_write_tokens=1)},
        "`cached_tokens` and `cache_write_tokens` are more than its `input_tokens`",
    ),
}


@pytest.mark.parametrize("name", LIES)
async def test_a_reply_that_is_of_the_wrong_shape_is_the_packages_fault(name: str) -> None:
    """Else it would be found by whoever reads it first: the budget, the gate or the ledger."""
    more, words = LIES[name]

    with pytest.raises(BackendError) as caught:
        await InstalledBackend(saying(Reply(**({"text": ""} | more))), kind="mine").ask(TALK, ())

    assert caught.value.message.startswith("the backend `mine` failed: ")
    assert words in caught.value.message


async def test_only_a_route_says_who_else_was_asked() -> None:
    lying = Reply(text="x", by="another model", tried=(Tried(model="m", error="e"),))

    reply = await InstalledBackend(saying(lying), kind="mine").ask(TALK, ())

    assert (reply.by, reply.tried) == ("", ())


class Hanging(Model):
    """Never answer, and never close."""

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - the protocol's parameter
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


async def test_one_that_hangs_costs_the_wall_time_and_no_more(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "CLOSE_SECONDS", 0.1)
    backend = InstalledBackend(Hanging(lambda _, __: FINISH), kind="mine")

    result = await stand.run(backend, POLICY + "budget: {wall_time: 2s}\n")
    await backend.close()

    assert result.exit_code == 5
    assert result.reason.startswith("the budget of wall time ran out")


async def test_what_goes_wrong_at_its_close_is_no_failure_of_the_session() -> None:
    for raised in (ZeroDivisionError(), SystemExit(), asyncio.CancelledError()):

        class Closing(Model):
            async def close(self, raised: BaseException = raised) -> None:
                raise raised

        await InstalledBackend(Closing(lambda _, __: FINISH), kind="mine").close()


def test_what_a_package_prints_while_it_is_loaded_is_talk(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program reads stdout with `--json`."""
    site = tmp_path / "chatty"
    (site / "chatty-1.dist-info").mkdir(parents=True)
    (site / "chatty-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: chatty\nVersion: 1\n")
    entry = "[pairlock.backends]\nchatty = chatty_backend:make\n"
    (site / "chatty-1.dist-info" / "entry_points.txt").write_text(entry)
    (site / "chatty_backend.py").write_text(
        "print('imported')\nfrom tests.agent_runner.stand import FINISH, saying\n"
        "def make(settings, *, name):\n    print('made')\n    return saying(FINISH)\n"
    )
    monkeypatch.syspath_prepend(str(site))
    config.write_text("version: 1\nmodels:\n  default: {backend: installed, kind: chatty}\n")

    backend = choose_backend(None)

    assert backend.kind == "chatty"
    assert capsys.readouterr() == ("", "imported\nmade\n")
