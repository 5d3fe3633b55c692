"""Carry messages between the gate and its process: two lengths, a JSON head, raw bytes. Both are strict."""

import asyncio
from struct import Struct
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sandbox.egress.credentials import Credential
from sandbox.egress.errors import DenialCode, EgressError, FailureCode
from sandbox.egress.events import Closed, Decided, Spent
from sandbox.egress.rules import Crossed, RuleSet
from sandbox.limits import MIB

T = TypeVar("T")
_LENGTHS: Final = Struct(">II")
HEAD_BYTES: Final = 1 * MIB
BLOB_BYTES: Final = 33 * MIB
LONGEST_NAME: Final = 256
"""Characters of a credential's name; a policy gives it at most 64."""
LONGEST_QUERY: Final = 64 * 1024
"""Characters; so long may the head be that it came in."""
LONGEST_ACTION: Final = 128
"""Bytes that go with a connection's descriptor: the action that it belongs to."""
Pairs = tuple[tuple[str, str], ...]


class WireError(EgressError):
    """Raised when the other side of the pipe does not speak as it should; it is of no use any more."""


class Message(BaseModel):
    """One message; `id` ties an answer to its question."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Start(Message):
    """The first message to the process: everything that it knows."""

    kind: Literal["start"] = "start"
    rules: RuleSet
    authorities: str
    """Further ones for servers, PEM; empty for none."""
    proxy: bool
    """Whether connections from the container are served."""
    crossed: tuple[Crossed, ...] = ()
    """What counts in the budgets already."""
    numbered: int = 0
    """The last number that a connection has already."""


class FetchAsked(Message):
    """Make a request; the blob is its body."""

    kind: Literal["fetch"] = "fetch"
    id: int
    method: str
    url: str
    headers: Pairs
    action: str
    body_bytes: int
    render: bool


class Stop(Message):
    """End every connection, tell their ends, and then end."""

    kind: Literal["stop"] = "stop"


class Cancelled(Message):
    """Nobody waits for that request any more."""

    kind: Literal["cancelled"] = "cancelled"
    id: int


class Elsewhere(Message):
    """So much has crossed another gate with which this one has a budget in common."""

    kind: Literal["elsewhere"] = "elsewhere"
    crossed: Crossed


class Noted(Message):
    """An event was written down, or could not be."""

    kind: Literal["noted"] = "noted"
    id: int
    durable: bool


class SecretGiven(Message):
    """One credential; None when there is none of that name."""

    kind: Literal["secret"] = "secret"
    id: int
    credential: Credential | None


class ApprovalGiven(Message):
    """What a person said."""

    kind: Literal["approval"] = "approval"
    id: int
    why_not: str
    """Empty when it was approved."""


class Ready(Message):
    """The process has locked itself down and waits for requests."""

    kind: Literal["ready"] = "ready"
    ca_certificate: str


class Happened(Message):
    """Write this down, and say when it is durable."""

    kind: Literal["happened"] = "happened"
    id: int
    event: Decided | Closed | Spent


class SecretWanted(Message):
    """Hand out one credential."""

    kind: Literal["wanted"] = "wanted"
    id: int
    name: Annotated[str, Field(max_length=LONGEST_NAME)]


class ApprovalWanted(Message):
    """Ask a person."""

    kind: Literal["ask"] = "ask"
    id: int
    event: Decided
    query: Annotated[str, Field(max_length=LONGEST_QUERY)]
    """For the person's eyes; it is not written down."""


class Answered(Message):
    """An answer from outside; the blob is its body."""

    kind: Literal["answered"] = "answered"
    id: int
    status: int
    reason: str
    headers: Pairs
    truncated: bool
    bytes_sent: int
    bytes_received: int
    address: str
    rule: str
    url: str


class Refused(Message):
    """The rules said no."""

    kind: Literal["refused"] = "refused"
    id: int
    code: DenialCode
    message: str
    hint: str
    rule: str


class Failed(Message):
    """The world outside did not answer."""

    kind: Literal["failed"] = "failed"
    id: int
    code: FailureCode
    message: str
    hint: str


ToChild = Start | Stop | Elsewhere | FetchAsked | Cancelled | Noted | SecretGiven | ApprovalGiven
ToParent = Ready | Happened | SecretWanted | ApprovalWanted | Answered | Refused | Failed
_TO_CHILD: Final[TypeAdapter[ToChild]] = TypeAdapter(Annotated[ToChild, Field(discriminator="kind")])
_TO_PARENT: Final[TypeAdapter[ToParent]] = TypeAdapter(Annotated[ToParent, Field(discriminator="kind")])


def encoded(message: BaseModel, blob: bytes = b"") -> bytes:
    """Return the bytes of a message."""
    head = message.model_dump_json().encode()
    return _LENGTHS.pack(len(head), len(blob)) + head + blob


async def received(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """Return the head and the blob of the next message; None when the other side has closed.

    Raises:
        WireError: When it is too long or cut off.
    """
    try:
        head_bytes, blob_bytes = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        if head_bytes > HEAD_BYTES or blob_bytes > BLOB_BYTES:
            raise WireError(f"a message of `{head_bytes}` and `{blob_bytes}` bytes is too long")
        return await reader.readexactly(head_bytes), await reader.readexactly(blob_bytes)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        if isinstance(error, asyncio.IncompleteReadError) and error.partial:
            raise WireError("a message was cut off") from error
        return None


def read_as(kind: TypeAdapter[T], head: bytes, *, what: str) -> T:
    """Read JSON that has crossed as one of a closed set of forms.

    Args:
        kind: The forms.
        head: What crossed.
        what: What was expected, for the message.

    Raises:
        WireError: When it is none of them.
    """
    try:
        return kind.validate_json(head)
    except ValidationError as error:
        raise WireError(f"not {what}: {error.error_count()} faults") from error


def to_child(head: bytes) -> ToChild:
    """Read a message as the process does.

    Raises:
        WireError: When it is none.
    """
    return read_as(_TO_CHILD, head, what="a message for the egress process")


def to_parent(head: bytes) -> ToParent:
    """Read a message as the gate does.

    Raises:
        WireError: When it is none.
    """
    return read_as(_TO_PARENT, head, what="a message from the egress process")
