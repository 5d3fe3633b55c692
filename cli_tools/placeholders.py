"""Give a file back the secret that it holds, where an agent writes what it was shown in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cli_tools.errors import ActionError
from cli_tools.files.whole import whole_file
from cli_tools.neutral import neutralise, restore
from sandbox.errors import OperationError

if TYPE_CHECKING:
    from audit.redact import Redactor
    from cli_tools.action import Action
    from sandbox.session import Sandbox

LARGEST_BYTES: Final = 16 * 1024 * 1024
"""Of a file that is looked through for what a placeholder stands for in it."""


async def with_secrets(action: Action, redactor: Redactor, sandbox: Sandbox) -> Action:
    """Return the action with the secrets themselves where placeholders stand for them in what it writes.

    INVARIANT: a file gets no secret that it does not hold already. Whoever was shown what stands for one
    could otherwise have the secret itself written into any file.

    Args:
        action: What is about to be done; it was decided and written down with the placeholders.
        redactor: What stands for the session's secrets.
        sandbox: Where the file lies.

    Raises:
        ActionError: When it would write a placeholder in a secret's place.
    """
    if not redactor.knows:
        return action
    written = [use.path for use in action.request().paths if use.access == "write"]
    used = [mark for mark in redactor.placeholders if _holds(action, mark)] if written else []
    if not used:
        return action
    held = await _held(sandbox, written[0], redactor) if len(written) == 1 else {}
    for placeholder in used:
        spellings = held.get(placeholder, set())
        if len(spellings) != 1:
            raise _refusal(placeholder, spellings)
        # neutralised, for the command takes it for what was shown
        action = _replaced(action, placeholder, neutralise(next(iter(spellings))))
        if _holds(action, placeholder):
            raise _refusal(placeholder, set())
    return action


async def _held(sandbox: Sandbox, path: str, redactor: Redactor) -> dict[str, set[bytes]]:
    try:
        content, _ = await whole_file(sandbox, path, most_bytes=LARGEST_BYTES)
    except (ActionError, OperationError):
        return {}
    return redactor.spelt_in(content)


def _holds(action: Action, placeholder: str) -> bool:
    values = action.request().arguments.values()
    return any(
        placeholder.encode() in restore(str(value).encode("utf-8", "surrogateescape")) for value in values
    )


def _replaced(action: Action, placeholder: str, secret: str) -> Action:
    body = action.body
    if body is not None:
        body = body.replace(placeholder.encode(), secret.encode("utf-8", "surrogateescape"))
    parameters = {
        name: value.replace(placeholder, secret) if isinstance(value, str) else value
        for name, value in action.parameters.items()
    }
    return replace(action, body=body, parameters=parameters)


def _refusal(placeholder: str, spellings: set[bytes]) -> ActionError:
    why = "spells in several ways" if spellings else "does not hold"
    return ActionError(
        "secret",
        f"`{placeholder}` only stands for a secret, which the file {why}: it would be lost there",
        hint="change what is around it with `files patch`, `--old` and `--new`" if spellings else "",
    )
