"""Keep out of files what only stands for a secret: it would take the secret's place there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli_tools.errors import ActionError
from cli_tools.neutral import restore

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from cli_tools.action import Action


def refuse_placeholders(action: Action, placeholders: AbstractSet[str]) -> None:
    """Refuse to write a file of the workspace with what was shown in place of a secret.

    It is not turned into the secret again: whoever was shown what stands for one could then have the secret
    itself written into any file.

    Args:
        action: What is about to be done.
        placeholders: What stands for the session's secrets.

    Raises:
        ActionError: When one of its values holds such a placeholder.
    """
    if not placeholders:
        return
    request = action.request()
    if not any(use.access == "write" for use in request.paths):
        return
    given = [restore(str(value).encode("utf-8", "surrogateescape")) for value in request.arguments.values()]
    for placeholder in placeholders:
        if any(placeholder.encode() in value for value in given):
            raise ActionError(
                "secret",
                f"`{placeholder}` only stands for the secret, which would be lost in the file",
                hint="change what is around it with `files patch`, `--old` and `--new`",
            )
