"""Bound how often a caller may ask."""

from collections import deque


class Limit:
    """At most `most` calls in any `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self.calls: deque[float] = deque()

    def take(self, now: float) -> bool:
        """Say whether a call may be made now, and count it."""
        while self.calls and self.calls[0] <= now - self.seconds:
            self.calls.popleft()
        if len(self.calls) >= self.most:
            return False
        self.calls.append(now)
        return True
