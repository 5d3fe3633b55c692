"""Remember one open stream, as the host sees it: what each side may still send, and what it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.guest import frames
from sandbox.guest.frames import ProtocolError
from sandbox.link_events import BodyReceived, CreditReceived, ErrorsReceived

if TYPE_CHECKING:
    from sandbox.guest.frames import Frame


class Side:
    """What is known of one open stream.

    Args:
        credit_bytes: what each side may send at first.
    """

    __slots__ = ("body_ended", "cancelled", "may_receive", "may_send", "sent_end")

    def __init__(self, credit_bytes: int = frames.INITIAL_CREDIT_BYTES) -> None:
        self.may_send = credit_bytes
        self.may_receive = credit_bytes
        self.sent_end = False
        self.body_ended = False
        self.cancelled = False

    def take_bytes(self, frame: Frame) -> BodyReceived | ErrorsReceived:
        """Count body bytes of the guest's.

        Raises:
            ProtocolError: when it had no credit for them.
        """
        if len(frame.payload) > self.may_receive:
            raise ProtocolError(
                f"stream `{frame.stream}` sent `{len(frame.payload)}` bytes; "
                f"credit was for {self.may_receive}"
            )
        self.may_receive -= len(frame.payload)
        kind = BodyReceived if frame.kind == frames.BODY else ErrorsReceived
        return kind(frame.stream, frame.payload)

    def take_credit(self, frame: Frame) -> CreditReceived:
        """Count credit that the guest gave.

        Raises:
            ProtocolError: when it adds up to more than a stream can ever use.
        """
        self.may_send += frames.credit_of(frame)
        if self.may_send > frames.MAX_STREAM:
            raise ProtocolError(
                f"stream `{frame.stream}` was given more than {frames.MAX_STREAM} bytes of credit"
            )
        return CreditReceived(frame.stream)
