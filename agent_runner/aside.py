"""Read aside of the loop, in a thread that nobody waits for when the loop ends: it only reads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what some work comes to, done in a thread of its own.

    `asyncio.to_thread` will not do: the loop's own threads are waited for at its end. Reading the ledger of a
    long session takes a minute, and opening a pipe as long as nobody writes: Ctrl-C would seem to do nothing.

    Args:
        work: What only reads, so that it may be left in the middle.
        args: What it is called with.
        kwargs: The same, by name.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            done.set_exception(error)

    threading.Thread(target=run, name="reading-aside", daemon=True).start()
    return await asyncio.wrap_future(done)
