"""Move a program's input and output between its pipes and its stream, within credit and bounds."""

from __future__ import annotations

import os

from . import frames
from .watch import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .stream import Stream
    from .watch import Watch
    from .wire import Wire

_READ_BYTES = 128 * 1024
_FEED_BYTES = 64 * 1024


class Pipes:
    """PID 1's ends of a program's pipes, and the bound on what may come out of them."""

    def __init__(self, output_bytes: int) -> None:
        self.left_bytes = output_bytes
        self.interest = -1
        """What the outputs are watched for; -1 before they are."""
        self.truncated_bytes = 0
        child_in, self.stdin = os.pipe2(os.O_CLOEXEC)
        self.stdout, child_out = os.pipe2(os.O_CLOEXEC)
        self.stderr, child_error = os.pipe2(os.O_CLOEXEC)
        for descriptor in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(descriptor, False)
        self.child_ends = [child_in, child_out, child_error]

    def outputs(self) -> list[tuple[int, int]]:
        """Return the descriptors that are still open, with the frame type of what comes out of them."""
        both = ((self.stdout, frames.BODY), (self.stderr, frames.ERRORS))
        return [(descriptor, kind) for descriptor, kind in both if descriptor >= 0]

    def keep(self, data: bytes) -> bytes:
        """Return what is within the bound, and count the rest."""
        kept = data[: self.left_bytes]
        self.left_bytes -= len(kept)
        self.truncated_bytes += len(data) - len(kept)
        return kept

    def close_output(self, descriptor: int) -> None:
        """Close one of the outputs."""
        os.close(descriptor)
        if descriptor == self.stdout:
            self.stdout = -1
        else:
            self.stderr = -1

    def close_input(self) -> None:
        """Close the program's stdin."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close_child_ends(self) -> None:
        """Close the ends that the program has got."""
        for descriptor in self.child_ends:
            os.close(descriptor)
        self.child_ends = []

    def close(self) -> None:
        """Close all that is open."""
        self.close_input()
        self.close_child_ends()
        for descriptor, _ in self.outputs():
            self.close_output(descriptor)


class Plumbing:
    """What all programs' pipes have in common.

    Args:
        link: to the host.
        watch: the loop's descriptors.
        touched: the streams on which something may move, and which the loop is to look at, by number.
    """

    def __init__(self, link: Wire, watch: Watch, touched: dict[int, Stream]) -> None:
        self._link = link
        self._watch = watch
        self._touched = touched

    def feed(self, stream: Stream, pipes: Pipes) -> None:
        """Write what the host sent to the program's stdin."""
        while not stream.inlet.is_empty and pipes.stdin >= 0:
            try:
                written = os.write(pipes.stdin, stream.inlet.peek()[:_FEED_BYTES])
            except BlockingIOError:
                self._watch.want(pipes.stdin, WRITE, lambda _: self._touch(stream))
                return
            except OSError:
                self.forget_input(pipes)  # the program does not read: what comes is dropped
                break
            stream.inlet.taken(written, self._link)
        if pipes.stdin >= 0:
            self._watch.want(pipes.stdin, 0, lambda _: None)
            if stream.inlet.ended:
                self.forget_input(pipes)
            return
        while not stream.inlet.is_empty:
            stream.inlet.taken(len(stream.inlet.peek()), self._link)

    def forget_input(self, pipes: Pipes) -> None:
        """Close the program's stdin."""
        if pipes.stdin >= 0:
            self._watch.forget(pipes.stdin)
            pipes.close_input()

    def watch_outputs(self, stream: Stream, pipes: Pipes) -> None:
        """Wait for output while there is room for it."""
        interest = READ if self._may_read(stream, pipes) else 0
        if interest == pipes.interest:
            return
        pipes.interest = interest
        for descriptor, kind in pipes.outputs():
            self._watch.want(descriptor, interest, self._reader(stream, pipes, descriptor, kind))

    def _may_read(self, stream: Stream, pipes: Pipes) -> bool:
        """Say whether the pipes may be read. Beyond the bound nothing is kept, so nothing waits."""
        unheld = stream.is_discarding or pipes.left_bytes == 0
        return unheld or (stream.outlet.is_empty and self._link.has_room)

    def _reader(self, stream: Stream, pipes: Pipes, descriptor: int, kind: int) -> Callable[[int], None]:
        def read(_happened: int) -> None:
            self._read_output(stream, pipes, descriptor, kind)
            self._touch(stream)

        return read

    def _touch(self, stream: Stream) -> None:
        self._touched[stream.number] = stream

    def _read_output(self, stream: Stream, pipes: Pipes, descriptor: int, kind: int) -> bool:
        """Read once; return whether there may be more now."""
        try:
            data = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._watch.forget(descriptor)
            pipes.close_output(descriptor)
            return False
        if not stream.is_discarding:
            stream.outlet.put(kind, pipes.keep(data))
            stream.outlet.pump(self._link)
        return True

    def is_dry(self, stream: Stream) -> bool:
        """Read what is left; say whether that was all. The processes are gone: what is empty stays empty."""
        if stream.pipes is None:
            return True
        for descriptor, kind in stream.pipes.outputs():
            while self._may_read(stream, stream.pipes):
                if not self._read_output(stream, stream.pipes, descriptor, kind):
                    break
            else:
                return False
        return True

    def remove(self, pipes: Pipes) -> None:
        """Stop watching, and close everything."""
        for descriptor, _ in pipes.outputs():
            self._watch.forget(descriptor)
        self.forget_input(pipes)
        pipes.close()
