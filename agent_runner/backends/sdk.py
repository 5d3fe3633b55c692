"""Import a model server's official SDK beside the loop: it takes a second, and ten on a busy machine."""

from __future__ import annotations

import asyncio
from importlib import import_module


async def sdk_imported(*modules: str) -> None:
    """Return when modules are imported, in a thread: a guest ends itself when nobody beats meanwhile.

    Args:
        modules: Each by its whole name; what the first question would import later belongs to them.
    """
    for name in modules:
        await asyncio.to_thread(import_module, name)
