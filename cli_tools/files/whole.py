"""Fetch the whole of one file from the guest, for a command that sends it somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli_tools.errors import ActionError
from cli_tools.files import answer

if TYPE_CHECKING:
    from sandbox.session import Sandbox


async def whole_file(sandbox: Sandbox, path: str, *, most_bytes: int) -> tuple[bytes, str]:
    """Return a file's bytes and their digest in hex.

    Args:
        sandbox: Where it lies.
        path: Relative to the workspace.
        most_bytes: The largest that is fetched.

    Raises:
        ActionError: When it is larger.
        OperationError: When it cannot be read.
    """
    reply = await sandbox.call("files.read", {**answer.named(path), "limit_bytes": most_bytes})
    total = answer.number(reply.result, "total_bytes")
    if total != len(reply.body):
        raise ActionError("too-large", f"the file has {total} bytes, at most {most_bytes} are sent")
    return reply.body, answer.text(reply.result, "sha256")
