"""Ask a person who is somewhere else: the question is posted to a URL, a signed answer fetched from another.

No port is opened. What is shown is exactly what will run, escaped; an answer counts only when it is signed by
the configured key, over this very question, whose number is used once. Time out is no.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from agent_runner.approvals import WAIT_SECONDS, Answer
from agent_runner.backends.key import KeyReference
from agent_runner.errors import RunnerError
from agent_runner.question import question_fields
from audit.escape import escape_line
from policies.leaves import DurationField
from policies.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from agent_runner.question import Question

VERSION: Final = 1
POLL_SECONDS: Final = 2.0
REQUEST_SECONDS: Final = 20.0
ANSWER_BYTES: Final = 16 * 1024
_CONTEXT: Final = b"pairlock approval 1\n"
"""Stands before what is signed, so that no signature over anything else is one over an answer."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _checked_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        secret = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    except ValueError:
        secret = False
    if not secret or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("expected a URL for approvals, as in `https://HOST/PATH`")
    return value.rstrip("/")


def _checked_key(value: str) -> str:
    try:
        raw = base64.b64decode(value, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ValueError("expected 32 bytes in base64: an Ed25519 public key")
    return value


class ConfiguredApprovals(BaseModel):
    """Where questions go, and whose answers count."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    ask: Annotated[str, AfterValidator(_checked_url)]
    """Each question is posted here."""
    answers: Annotated[str, AfterValidator(_checked_url)]
    """An answer is fetched from below here, by the question's number."""
    public_key: Annotated[str, AfterValidator(_checked_key)]
    """Of whoever may answer: Ed25519, raw, in base64."""
    key: KeyReference | None = None
    """A bearer token for both; it lets nobody answer."""
    wait: DurationField = Field(default=Seconds(int(WAIT_SECONDS)))
    """How long a question stands."""


class _Said(BaseModel):
    """What was signed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    number: str
    action: str
    digest: str
    verdict: Literal["approved", "denied"]
    by: Annotated[str, Field(min_length=1, max_length=200)]


class _Signed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    payload: Annotated[str, Field(max_length=ANSWER_BYTES)]
    signature: Annotated[str, Field(max_length=128)]


class ForgedAnswerError(Exception):
    """Raised when what was fetched is no answer to the question by whoever may give one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAsker:
    """Ask by a webhook; `approvals.Asker`."""

    configured: ConfiguredApprovals
    notice: Callable[[str], None] = field(default=lambda _: None)
    """Told, in one line, what is wrong with the server or with an answer."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def ask(self, question: Question) -> Answer:
        """Return the first answer that is one; none in time is no."""
        number = secrets.token_hex(32)
        try:
            async with asyncio.timeout(float(self.configured.wait)):
                return await self._answered(question, number)
        except TimeoutError:
            return Answer(verdict="timed_out", by="nobody", via="clock")

    async def _answered(self, question: Question, number: str) -> Answer:
        import httpx2  # noqa: PLC0415 - only who configured a webhook pays for it

        try:
            headers = {"Accept-Encoding": "identity", **await _authorised(self.configured.key)}
        except RunnerError as error:
            self.notice(f"approval by webhook: {error.message}")
            await asyncio.Event().wait()  # until the time is over: somebody else may answer
            raise
        asked, told = False, ""
        timeout = httpx2.Timeout(REQUEST_SECONDS)
        async with httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as client:
            while True:
                try:
                    if not asked:
                        await self._post(client, question, number)
                        asked = True
                    found = await self._fetched(client, number)
                    if found is not None:
                        return require_answer(found, question, number, self.configured.public_key)
                except (httpx2.HTTPError, httpx2.InvalidURL, ForgedAnswerError) as error:
                    why = escape_line(f"approval by webhook: {error or type(error).__name__}", width=200)
                    if why != told:
                        self.notice(why)
                    told = why
                await self.sleep(POLL_SECONDS)

    async def _post(self, client: httpx2.AsyncClient, question: Question, number: str) -> None:
        shown = question_shown(question, number, float(self.configured.wait))
        async with client.stream("POST", self.configured.ask, json=shown) as answer:
            answer.raise_for_status()  # its body says nothing that counts, and may have no end

    async def _fetched(self, client: httpx2.AsyncClient, number: str) -> bytes | None:
        """Return what lies where the answer has to be; None while nothing does."""
        async with client.stream("GET", f"{self.configured.answers}/{number}") as answer:
            if answer.status_code in (204, 404):
                return None
            answer.raise_for_status()
            if encoding := answer.headers.get("Content-Encoding"):
                raise ForgedAnswerError(f"an answer in `{encoding}`, expected it as it is")
            body = b""
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > ANSWER_BYTES:
                    raise ForgedAnswerError(f"an answer of more than {ANSWER_BYTES} bytes")
            return body


def question_shown(question: Question, number: str, wait_seconds: float) -> dict[str, Any]:
    """Return a question as it is posted: everything that will run, escaped, nothing cut."""
    expires = datetime.now(UTC) + timedelta(seconds=wait_seconds)
    return {
        "version": VERSION,
        "number": number,
        **question_fields(question),
        "expires": expires.isoformat(timespec="seconds"),
    }


def require_answer(found: bytes, question: Question, number: str, public_key: str) -> Answer:
    """Return what a person said.

    Raises:
        ForgedAnswerError: When it is not signed by the key, or answers something else.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - heavy; only a webhook needs it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - the same

    try:
        signed = _Signed.model_validate_json(found)
        payload = base64.b64decode(signed.payload, validate=True)
        signature = base64.b64decode(signed.signature, validate=True)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))
        key.verify(signature, _CONTEXT + payload)
        said = _Said.model_validate_json(payload)
    except (ValidationError, ValueError) as error:
        raise ForgedAnswerError("an answer that has not the form of one") from error
    except InvalidSignature as error:
        raise ForgedAnswerError("an answer whose signature is not that of `public_key`") from error
    if (said.number, said.action, said.digest) != (number, question.action, question.digest):
        raise ForgedAnswerError("an answer to another question")
    return Answer(verdict=said.verdict, by=escape_line(said.by), via="webhook")


def signed_answer(
    shown: dict[str, Any], verdict: Literal["approved", "denied"], *, by: str, key: Ed25519PrivateKey
) -> bytes:
    """Return the answer to a question, for whoever serves the answers.

    Args:
        shown: The question, as it was posted.
        verdict: What the person said.
        by: Who it was.
        key: The private half of the configured key.
    """
    said = {name: shown[name] for name in ("version", "number", "action", "digest")}
    payload = json.dumps({**said, "verdict": verdict, "by": by}).encode()
    signature = key.sign(_CONTEXT + payload)
    told = {"payload": base64.b64encode(payload), "signature": base64.b64encode(signature)}
    return json.dumps({name: value.decode() for name, value in told.items()}).encode()


async def _authorised(reference: KeyReference | None) -> dict[str, str]:
    if reference is None:
        return {}
    from agent_runner.backends.key import fetch_key  # noqa: PLC0415 - only a webhook with a key needs it

    key = await fetch_key(reference)
    return {"Authorization": f"Bearer {key.value}"}
