"""Find the one folder of a mailbox that is meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cli_tools import said
from cli_tools.errors import ActionError

if TYPE_CHECKING:
    from cli_tools.mail.client import Mailbox

WELL_KNOWN: Final = frozenset({"inbox", "archive", "drafts", "sentitems", "deleteditems", "junkemail"})
"""Names that every mailbox knows: https://learn.microsoft.com/graph/api/resources/mailfolder."""
_ID = re.compile(r"[A-Za-z0-9_=-]{20,512}")


async def folder_id(box: Mailbox, folder: str) -> str:
    """Return the id of a folder, or a well-known name as it is.

    Args:
        box: The mailbox.
        folder: A well-known name, a folder's name in full, or its id.

    Raises:
        ActionError: When there is no such folder, or there are two.
    """
    if folder.lower() in WELL_KNOWN:
        return folder.lower()
    listed = box.pages("mailFolders", {"$select": "id,displayName"})
    ids = {said.text(each, "id") for each in [item async for item in listed] if _is(each, folder)}
    if len(ids) > 1:
        raise ActionError("refused", f"two folders are called `{said.shown(folder)}`", hint="give its id")
    for found in ids:
        if _ID.fullmatch(found):
            return found
    known = ", ".join(sorted(WELL_KNOWN))
    raise ActionError(
        "refused", f"the mailbox has no folder `{said.shown(folder)}`", hint=f"or one of {known}"
    )


def _is(each: said.Object, folder: str) -> bool:
    return folder in (said.text(each, "displayName"), said.text(each, "id"))
