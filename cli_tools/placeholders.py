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

LARGEST_BYTES: Final = 8 * 1024 * 1024
"""Of a file that is looked through for what a placeholder stands for in it: what one answer may hold."""
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
    given = {name: _restored(value) for name, value in request.arguments.items()}
    used = {
        placeholder: names
        for placeholder in redactor.placeholders
        if (names := {name for name, value in given.items() if placeholder.encode() in value})
    }
    if not used:
        return action
    content = CONTENT.get(action.command.name, frozenset())
    for placeholder, names in used.items():
        if elsewhere := sorted(names - content):
            raise _refusal(placeholder, f"and is no part of a file's content in `{elsewhere[0]}`")
    held = await _held(sandbox, written[0], redactor, next(iter(used)))
    for placeholder, names in used.items():
        spellings = held.get(placeholder, set())
        if len(spellings) != 1:
            why = "spells in several ways: one" if spellings else "does not hold: it"
            raise _refusal(placeholder, f"which the file {why} would be lost there", patch=bool(spellings))
        for name in names:
            given[name] = given[name].replace(placeholder.encode(), next(iter(spellings)))
    # Neutralised, for the command takes it for what was shown.
    changed = {name: neutralise(given[name]) for names in used.values() for name in names}
    body = changed.pop(action.command.body_parameter or "", None)
    return replace(
        action,
        body=action.body if body is None else body.encode("utf-8", "surrogateescape"),
        parameters={**action.parameters, **changed},
    )


def _restored(value: object) -> bytes:
    return restore(str(value).encode("utf-8", "surrogateescape"))


async def _held(sandbox: Sandbox, path: str, redactor: Redactor, placeholder: str) -> dict[str, set[bytes]]:
    """Return what the placeholders stand for in a file; nothing where there is none."""
    try:
        content, _ = await whole_file(sandbox, path, most_bytes=LARGEST_BYTES)
    except (ActionError, OperationError) as error:
        if error.code == "not-found":
            return {}
        why = f"and the file cannot be looked through for it: {error.message}"
        raise _refusal(placeholder, why, patch=True) from error
    return redactor.spelt_in(content)


def _refusal(placeholder: str, why: str, *, patch: bool = False) -> ActionError:
    return ActionError(
        "secret",
        f"`{placeholder}` only stands for a secret, {why}",
        hint="change what is around it with `files patch`, `--old` and `--new`" if patch else "",
    )
