"""Poll descriptors, each with what to call when something happens to it."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class Watch:
    """A set of descriptors."""

    def __init__(self) -> None:
        self._poller = select.epoll()
        self._watched: dict[int, tuple[int, Callable[[int], None]]] = {}

    def want(self, descriptor: int, interest: int, call: Callable[[int], None]) -> None:
        """Wait for `interest` (0: nothing, and hang-ups are not reported either) on `descriptor`."""
        before = self._watched[descriptor][0] if descriptor in self._watched else 0
        self._watched[descriptor] = (interest, call)
        if before == interest:
            return
        if interest == 0:
            self._poller.unregister(descriptor)
        elif before == 0:
            self._poller.register(descriptor, interest)
        else:
            self._poller.modify(descriptor, interest)

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor, before it is closed."""
        interest, _ = self._watched.pop(descriptor, (0, None))
        if interest:
            self._poller.unregister(descriptor)

    def wait(self, seconds: float) -> int:
        """Wait for something to happen, and call who asked for it; return how many things did."""
        events = self._poller.poll(max(0.0, seconds))
        for descriptor, happened in events:
            watched = self._watched.get(descriptor)  # an earlier call of this round may have closed it
            if watched is not None and watched[0]:
                watched[1](happened)
        return len(events)
