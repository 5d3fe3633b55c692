"""Interrupt what a worker does after some seconds, from inside: what was found until then is the answer.

It works wherever Python runs, regular expressions included. Where it does not, PID 1 kills the worker.
"""

from __future__ import annotations


class TimeUp(Exception):  # noqa: N818 (it is not an error: what was found until then is the answer)
    """Raised by the timer, once."""


class Timer:
    """Raises `TimeUp` in what goes on after so many seconds; tries again and again until it may.

    INVARIANT: it never raises while `holding`: half a frame on the wire would end the worker.

    Args:
        seconds: how long what goes on may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed = False
        self.holding = False

    def start(self) -> None:
        """Begin to count."""
        import signal  # noqa: PLC0415 (a part of the guest's start; only few operations need it)

        self._armed = True
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, 0.05)

    def stop(self) -> None:
        """Never raise again."""
        self._armed = False
        import signal  # noqa: PLC0415 (the same)

        signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _ring(self, _number: int, _frame: object) -> None:
        if self._armed and not self.holding:
            self._armed = False
            raise TimeUp
