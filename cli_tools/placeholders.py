"""Give a file back the secret that it holds, where an agent writes what it was shown in its place."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cli_tools.errors import ActionError
from cli_tools.files.whole import whole_file
from cli_tools.neutral import neutralise, restore
from sandbox.errors import OperationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from audit.redact import Redactor
    from cli_tools.action import Action
    from sandbox.session import Sandbox

LARGEST_BYTES: Final = 16 * 1024 * 1024
"""Of a file that is looked through for what a placeholder stands for in it."""
CONTENT: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {"files write": frozenset({"content"}), "files patch": frozenset({"diff", "old", "new"})}
)
"""Command -> its arguments that are nothing but content of the one file it writes."""


async def with_secrets(action: Action, redactor: Redactor, sandbox: Sandbox) -> Action:
    """Return the action with the secrets themselves where placeholders stand for them in what it writes.

    INVARIANT: a file gets no secret that it does not hold already, and nothing but a file's content is
    changed. Whoever was shown what stands for a secret could otherwise have it written into any file, or
    sent in a URL that was decided without it.

    Args:
        action: What is about to be done; it was decided and written down with the placeholders.
        redactor: What stands for the session's secrets.
        sandbox: Where the file lies.

    Raises:
        ActionError: When it would write a placeholder in a secret's place.
    """
    if not redactor.knows:
        return action
    request = action.request()
    written = [use.path for use in request.paths if use.access == "write"]
    if not written:
        return action
    marked = {
        placeholder: {name for name, value in request.arguments.items() if _holds(value, placeholder)}
        for placeholder in redactor.placeholders
    }
    used = {placeholder: names for placeholder, names in marked.items() if names}
    if not used:
        return action
    content = CONTENT.get(action.command.name, frozenset())
    held = await _held(sandbox, written[0], redactor)
    for placeholder, names in used.items():
        if elsewhere := sorted(names - content):
            raise _refusal(placeholder, f"and is no part of a file's content in `{elsewhere[0]}`")
        spellings = held.get(placeholder, set())
        if len(spellings) != 1:
            why = "spells in several ways: one" if spellings else "does not hold: it"
            raise _refusal(placeholder, f"which the file {why} would be lost there")
        # neutralised, for the command takes it for what was shown
        secret = neutralise(next(iter(spellings)))
        action = _replaced(action, content, placeholder, secret)
        if any(_holds(value, placeholder) for value in action.request().arguments.values()):
            raise _refusal(placeholder, "and is written here with an escape in it")
    return action


async def _held(sandbox: Sandbox, path: str, redactor: Redactor) -> dict[str, set[bytes]]:
    try:
        content, _ = await whole_file(sandbox, path, most_bytes=LARGEST_BYTES)
    except (ActionError, OperationError):
        return {}
    return redactor.spelt_in(content)


def _holds(value: object, placeholder: str) -> bool:
    return placeholder.encode() in restore(str(value).encode("utf-8", "surrogateescape"))


def _replaced(action: Action, content: frozenset[str], placeholder: str, secret: str) -> Action:
    body = action.body
    if body is not None:
        body = body.replace(placeholder.encode(), secret.encode("utf-8", "surrogateescape"))
    parameters = {
        name: value.replace(placeholder, secret) if name in content and isinstance(value, str) else value
        for name, value in action.parameters.items()
    }
    return replace(action, body=body, parameters=parameters)


def _refusal(placeholder: str, why: str) -> ActionError:
    return ActionError(
        "secret",
        f"`{placeholder}` only stands for a secret, {why}",
        hint="change what is around it with `files patch`, `--old` and `--new`",
    )
