"""Carry connections between the container's programs and the link. A process of its own, without the link.

PID 1 keeps the listening sockets and forks this process before work begins; its clients are the agent's
programs, hostile all of them. It copies bytes and reads none: what they mean is for the host to find out.
What a client does not take stays within the stream's credit; what the host does not take stays in the client.
"""

from __future__ import annotations

import _socket
import errno
import os
import time
from struct import pack

from . import frames, worker
from .frames import ProtocolError
from .objects import encode_object
from .watch import READ, WRITE, Watch
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from .frames import Frame

LINGER_SECONDS = 30.0  # how long a client may leave unread what came before the host's last word
_READ_BYTES = 64 * 1024
_CREDIT_STEP_BYTES = frames.CONNECTION_CREDIT_BYTES // 4
_ACCEPTED_AT_ONCE = 16
_REST_SECONDS = 0.1
_TICK_SECONDS = 1.0
_CONNECT = encode_object({"op": frames.CONNECT})
_COMMAND = encode_object({"op": frames.COMMAND})
_RESET = pack("ii", 1, 0)  # struct linger: on, no time


def live(wire: _socket.socket, doors: list[_socket.socket], first: int) -> NoReturn:
    """Carry connections until PID 1 is gone; never returns.

    Args:
        wire: this process's end of its socket to PID 1.
        doors: the listening sockets.
        first: the number of its first stream; even.
    """
    try:
        worker.settle(wire.fileno(), *(door.fileno() for door in doors))
        wire.setblocking(False)  # noqa: FBT003 (C, positional)
        carrier = Carrier(Wire(wire.fileno(), wire.fileno()), doors, first)
        while True:
            carrier.turn()
    except EOFError:
        os._exit(0)
    except (OSError, ProtocolError, MemoryError) as error:
        os.write(2, f"pairlock guest: the proxy failed: {error}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(1)


class Client:
    """One connection that was accepted."""

    def __init__(self, number: int, door: _socket.socket) -> None:
        self.number = number
        self.socket: _socket.socket | None = door
        self.waiting = bytearray()  # for the client; one buffer, however small the pieces were
        self.may_send = frames.CONNECTION_CREDIT_BYTES
        self.may_receive = frames.CONNECTION_CREDIT_BYTES
        self.owed = 0
        self.client_ended = False
        self.host_ended = False
        self.shut = False
        self.answered_at: float | None = None


class Carrier:
    """All connections.

    Args:
        wire: to PID 1.
        doors: the listening sockets.
        first: the number of the first stream.
    """

    def __init__(self, wire: Wire, doors: list[_socket.socket], first: int) -> None:
        self._wire = wire
        self._doors = doors
        self._next = first
        self._watch = Watch()
        self._clients: dict[int, Client] = {}
        self._rests_until = 0.0
        self._starved = False

    def turn(self) -> None:
        """Wait for something to happen and do what it asks for."""
        self._watch_doors()
        self._watch.want(
            self._wire.source,
            READ | (WRITE if self._wire.queued_bytes else 0),
            lambda _: self._wire_ready(),
        )
        self._watch.wait(_TICK_SECONDS if time.monotonic() >= self._rests_until else _REST_SECONDS)
        self._wire.flush()
        if self._starved and self._wire.has_room:
            self._starved = False
            for client in self._clients.values():
                self._attend(client)
        self._enforce(time.monotonic())

    def _watch_doors(self) -> None:
        has_room = len(self._clients) < frames.MAX_CONNECTIONS and self._wire.has_room
        interest = READ if has_room and time.monotonic() >= self._rests_until else 0
        for door in self._doors:
            self._watch.want(door.fileno(), interest, self._accepting(door))

    def _accepting(self, door: _socket.socket) -> Callable[[int], None]:
        return lambda _: self._accept(door)

    def _accept(self, door: _socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self._clients) >= frames.MAX_CONNECTIONS:
                return
            try:
                descriptor, _ = door._accept()  # type: ignore[attr-defined]  # noqa: SLF001 (C; typeshed lacks it)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._rests_until = time.monotonic() + _REST_SECONDS
                return
            accepted = _socket.socket(fileno=descriptor)
            accepted.setblocking(False)  # noqa: FBT003 (C, positional)
            client = Client(self._next, accepted)
            self._next += 2
            self._clients[client.number] = client
            self._wire.send(
                frames.OPEN, client.number, _COMMAND if door.family == _socket.AF_UNIX else _CONNECT
            )
            self._attend(client)

    # ---- the client

    def _attend(self, client: Client) -> None:
        if client.socket is None:
            return
        interest = (READ if self._may_read(client) else 0) | (WRITE if client.waiting else 0)
        self._watch.want(
            client.socket.fileno(), interest, lambda happened: self._client_ready(client, happened)
        )

    def _may_read(self, client: Client) -> bool:
        if client.client_ended:
            return False
        if (
            client.answered_at is not None
        ):  # what still comes is dropped: a reset could take our last bytes away
            return not client.waiting
        self._starved = self._starved or not self._wire.has_room
        return client.may_send > 0 and self._wire.has_room

    def _client_ready(self, client: Client, happened: int) -> None:
        if client.waiting and happened & ~READ:
            self._pour(client)
        if happened & ~WRITE:
            self._draw(client)
        self._attend(client)

    def _draw(self, client: Client) -> None:
        """Read once from the client, as much as the host will take."""
        if client.socket is None or not self._may_read(client):
            return
        most = _READ_BYTES if client.answered_at is not None else min(client.may_send, _READ_BYTES)
        try:
            data = client.socket.recv(most)
        except BlockingIOError:
            return
        except OSError:
            self._reset(client)
            return
        if client.answered_at is not None:
            if not data:
                self._forget(client)
        elif data:
            client.may_send -= len(data)
            self._wire.send(frames.BODY, client.number, data)
        else:
            client.client_ended = True
            self._wire.send(frames.END, client.number)

    def _pour(self, client: Client) -> None:
        """Write what the client takes now, and give the host credit for it."""
        if client.socket is None:
            return
        try:
            while client.waiting:
                count = client.socket.send(client.waiting[:_READ_BYTES])
                del client.waiting[:count]
                client.owed += count
        except BlockingIOError:
            pass
        except OSError:
            self._reset(client)
            return
        self._give_credit(client)
        if not client.waiting:
            self._finish(client)

    def _give_credit(self, client: Client) -> None:
        if client.owed >= _CREDIT_STEP_BYTES and not client.host_ended and client.answered_at is None:
            self._wire.send(frames.CREDIT, client.number, client.owed.to_bytes(4, "big"))
            client.may_receive += client.owed
            client.owed = 0

    def _finish(self, client: Client) -> None:
        """Pass on the host's end, and its last word, when everything before them was taken."""
        answered = client.answered_at is not None
        if client.socket is None or (answered and client.client_ended):
            if answered:
                self._forget(client)
        elif (answered or client.host_ended) and not client.shut:
            client.shut = True
            try:
                client.socket.shutdown(_socket.SHUT_WR)
            except OSError:
                self._reset(client)

    def _reset(self, client: Client) -> None:
        """Drop a client that has gone; the stream ends when the host has answered."""
        self._close(client)
        if client.answered_at is not None:
            self._clients.pop(client.number, None)
        else:
            self._wire.send(frames.CANCEL, client.number)

    def _forget(self, client: Client) -> None:
        self._close(client)
        self._clients.pop(client.number, None)

    def _close(self, client: Client) -> None:
        client.waiting.clear()
        if client.socket is not None:
            self._watch.forget(client.socket.fileno())
            client.socket.close()
            client.socket = None

    def _enforce(self, now: float) -> None:
        """Reset clients that do not read what is left for them."""
        for client in list(self._clients.values()):
            if client.answered_at is not None and now >= client.answered_at + LINGER_SECONDS:
                self._abort(client)

    def _abort(self, client: Client) -> None:
        if client.socket is not None:
            client.socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
        self._forget(client)

    # ---- the host

    def _wire_ready(self) -> None:
        for frame in self._wire.receive():
            client = self._clients.get(frame.stream)
            if client is None:
                raise ProtocolError(f"a frame for stream `{frame.stream}`, which is not open")
            self._take(client, frame)
            self._attend(client)

    def _take(self, client: Client, frame: Frame) -> None:
        if client.answered_at is not None:
            raise ProtocolError("a frame after the answer")
        match frame.kind:
            case frames.BODY:
                self._take_body(client, frame.payload)
            case frames.CREDIT:
                client.may_send += frames.credit_of(frame)
            case frames.END:
                client.host_ended = True
                if not client.waiting:
                    self._finish(client)
            case frames.RESULT:
                client.answered_at = time.monotonic()
                if not client.waiting:
                    self._finish(client)
            case frames.FAIL:
                self._abort(client)
            case _:
                raise ProtocolError(f"{frames.NAMES[frame.kind]} is never sent by the host on such a stream")

    def _take_body(self, client: Client, data: bytes) -> None:
        if client.host_ended or len(data) > client.may_receive:
            raise ProtocolError(f"`{len(data)}` bytes; credit was for {client.may_receive}")
        client.may_receive -= len(data)
        if client.socket is None:
            return  # cancelled: the host's answer is on its way
        client.waiting += data
        self._pour(client)
