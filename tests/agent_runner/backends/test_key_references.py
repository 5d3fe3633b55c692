"""A key comes by reference, when it is needed, and shows itself nowhere."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from agent_runner.backends import key as keys
from agent_runner.backends.failure import ModelServerError, one_line, status_error
from agent_runner.backends.key import Key, KeyReference, fetch_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "sk-0123456789"  # noqa: S105 - a made-up key


async def no_key(reference: KeyReference) -> str:
    """Return the message of a key that is not to be had."""
    with pytest.raises(ModelServerError) as caught:
        await fetch_key(reference, {})
    assert caught.value.failure.kind == "credential"
    return caught.value.message


async def test_a_key_comes_from_the_environment_a_file_or_a_command(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    printing = (sys.executable, "-c", f"print('{SECRET}')")

    found = [
        await fetch_key(KeyReference(env="K"), {"K": SECRET}),
        await fetch_key(KeyReference(file=str(tmp_path / "key"))),
        await fetch_key(KeyReference(command=printing)),
    ]

    assert found == [Key(SECRET)] * 3
    assert SECRET not in repr(found)


async def test_a_key_that_is_not_there_is_named_by_its_reference(tmp_path: Path) -> None:
    start = "the key of the model is not to be had: "
    missing = str(tmp_path / "none")

    assert await no_key(KeyReference(env="K")) == f"{start}environment variable K is empty or not set"
    assert await no_key(KeyReference(file=missing)) == (
        f"{start}file {missing} cannot be read: No such file or directory"
    )
    assert await no_key(KeyReference(command=("/none",))) == (
        f"{start}command /none cannot be run: No such file or directory"
    )


@pytest.mark.parametrize("text", ["two words", "a\nb", "sk-\x00", "k\u00e9y", "x" * 20_000])
async def test_what_is_no_key_is_not_shown(tmp_path: Path, text: str) -> None:
    """A key with a line break would be a header of its own."""
    (tmp_path / "key").write_text(text)

    message = await no_key(KeyReference(file=str(tmp_path / "key")))

    assert message.endswith("holds no key: expected one word of printable ASCII")


async def test_a_command_that_fails_or_floods_gives_no_key() -> None:
    failing = (sys.executable, "-c", f"import sys; print('{SECRET}'); sys.exit(3)")
    flooding = (sys.executable, "-c", "while True: print('x' * 65536)")

    assert (await no_key(KeyReference(command=failing))).endswith("ended with exit code 3")
    for command in (flooding, ("sh", "-c", "yes; echo k")):
        message = await no_key(KeyReference(command=command))
        assert message.endswith("holds no key: expected one word of printable ASCII")


async def test_a_command_that_hangs_gives_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "COMMAND_SECONDS", 1.0)
    hanging = (sys.executable, "-c", "import time; time.sleep(600)")

    assert (await no_key(KeyReference(command=hanging))).endswith("did not end within 1 s")


async def test_what_a_hanging_command_started_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended is the shell alone: its child holds the output, here until somebody writes."""
    monkeypatch.setattr(keys, "COMMAND_SECONDS", 1.0)
    waited_for = tmp_path / "fifo"
    os.mkfifo(waited_for)
    try:
        async with asyncio.timeout(30):
            message = await no_key(KeyReference(command=("sh", "-c", f"cat {waited_for}; echo {SECRET}")))
    finally:
        os.close(os.open(waited_for, os.O_WRONLY | os.O_NONBLOCK))

    assert message.endswith("did not end within 1 s")


def test_a_file_that_nobody_writes_gives_no_key_and_holds_up_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe with a name; the loop's own threads would be waited for at its end."""
    monkeypatch.setattr(keys, "COMMAND_SECONDS", 1.0)
    path = tmp_path / "key"
    os.mkfifo(path)
    said: list[str] = []
    running = threading.Thread(target=lambda: said.append(asyncio.run(no_key(KeyReference(file=str(path))))))

    running.start()
    running.join(30)
    is_over = not running.is_alive()
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    running.join()

    assert is_over
    assert said == [f"the key of the model is not to be had: file {path} was not read within 1 s"]


async def test_a_try_that_was_given_up_takes_no_key_from_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes the pipe writes it once."""
    path = tmp_path / "key"
    os.mkfifo(path)
    monkeypatch.setattr(keys, "COMMAND_SECONDS", 1.0)
    assert (await no_key(KeyReference(file=str(path)))).endswith("was not read within 1 s")
    monkeypatch.setattr(keys, "COMMAND_SECONDS", 30.0)
    fetching = asyncio.create_task(fetch_key(KeyReference(file=str(path))))

    await asyncio.to_thread(path.write_text, f"{SECRET}\n")

    assert (await fetching).value == SECRET


@pytest.mark.parametrize(
    "given", [{}, {"env": "A", "file": "b"}, {"env": "a b"}, {"command": []}, {"value": SECRET}]
)
def test_a_reference_is_exactly_one(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        KeyReference.model_validate(given)


def test_a_key_is_hidden_from_text() -> None:
    assert Key(SECRET).hidden_from(f"wrong key {SECRET}!") == "wrong key [key]!"


@pytest.mark.parametrize(
    ("body", "offsets"),
    [
        (lambda key, at: {"error": {"message": "x" * at + key + "x" * 400}}, range(250, 310)),
        (lambda key, at: {"error": {"message": "x" + " " * at + key + "x" * 400}}, range(2370, 2410)),
        (lambda key, at: b"x" + b" " * at + key.encode() + b"x" * 400, range(2370, 2410)),
        (lambda key, at: b" " * at + key.encode() + b"x" * 400, range(65500, 65540)),
        (lambda key, at: b"x" * at + key.encode(), range(250, 310)),
    ],
)
def test_a_key_is_hidden_where_a_servers_words_are_cut_within_it(
    body: Callable[[str, int], object], offsets: range
) -> None:
    """A server chooses where in its answer the key is echoed: not so that most of it stays."""
    for at in offsets:
        message = Key(SECRET).hidden_from(status_error("`x`", 401, body(SECRET, at)).message)

        assert SECRET[:4] not in message, at


def test_only_what_is_cut_and_begins_a_key_is_hidden() -> None:
    hidden = Key(SECRET).hidden_from

    assert hidden("sk-0 and more… sk-0") == "sk-0 and more… sk-0"
    assert hidden("a sk-01… b sk-0123456789… sk-") == "a [key]… b [key]… sk-"
    assert one_line("  a\n b " + " " * 9000) == "a b"
    assert one_line("a" + " " * 9000 + "b") == "a…"
    assert Key("abc").hidden_from("abc…") == "abc…"
