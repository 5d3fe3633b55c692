"""Name how a model's server can fail, and read what it said. Pure: no socket, no SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from agent_runner.errors import BackendError

Kind = Literal[
    "capability", "refused", "overloaded", "unreachable", "timeout", "broken", "too-large", "credential"
]
Want = Literal["reasoning", "alternation"]
MAXIMUM_SAID_CHARACTERS: Final = 300
_MOST_BODY_BYTES: Final = 65536
CUT_MARK: Final = "…"
"""Ends what was cut: the beginning of a key may stand before it, which `Key` then hides as well."""
# 529 is what Anthropic, and Dynamo after it, answer when overloaded; 408, 409 and 425 ask for another try.
_AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_WRONG_REQUESTS: Final = frozenset(
    {"invalid_request_error", "authentication_error", "permission_error", "not_found_error"}
    | {"request_too_large", "billing_error"}
)
_RETRIED: Final = frozenset({"overloaded", "unreachable", "timeout", "broken"})
_HINTS: Final = {
    401: "the server does not accept the key: see `key` of this model in the configuration",
    403: "the key does not give this model: see `key` and `model` in the configuration",
    404: "the server has no such model or path: see `model` and `base_url` in the configuration",
}
_TOO_LONG: Final = re.compile(
    r"context[ _](?:length|size|window|limit)|(?:prompt|input) is too long|prompt exceeds max length"
    r"|maximum (?:sequence|prompt|(?:allowed )?input) length|maximum number of tokens allowed"
    r"|exceeded model token limit|`inputs` tokens|max_(?:seq_len|model_len|num_tokens)|request too large for",
    re.IGNORECASE,
)
"""How servers say that a conversation is longer than their model takes in: OpenAI, Dynamo, vLLM and SGLang
(`context length`), llama.cpp (`context size`), Anthropic (`prompt is too long`, `context limit`), TensorRT
(`max_…`, `maximum sequence length`), xAI, Gemini, Kimi, GLM, Bedrock, TGI. The last one is a quota for each
minute, of OpenAI's or Groq's, that is smaller than this one request."""
_WANTED: Final[dict[Want, re.Pattern[str]]] = {
    "reasoning": re.compile(
        r"reasoning_content.*\b(?:must be|missing|required)\b|\b(?:missing|requires?)\b.*reasoning_content",
        re.IGNORECASE,
    ),
    "alternation": re.compile(r"roles must alternate|unexpected role '?\w+'? after role", re.IGNORECASE),
}
"""What a refusal asks for: DeepSeek and Kimi for what the model thought, Mistral's templates for a reply
before each message of the user's."""
_WANTING_STATUSES: Final = frozenset({400, 422, 500})
_OVERLOADED: Final = {"overloaded_error": 529, "rate_limit_error": 429}
"""How Anthropic says within a stream, which has its status already, what it would have answered."""
_NOT_NOW: Final = frozenset({429, 503, 529})
_UNPAID: Final = re.compile(r"insufficient_quota|billing_(?:error|hard_limit_reached|not_active)")
"""How providers say, with 429, that an account may spend no more: no other try is paid for, either."""
_UNPAID_HINT: Final = "the account may spend no more: see its billing at the provider"
_TOO_LONG_STATUSES: Final = frozenset({400, 413, 422, 500})
_LARGER_THAN_ANY_QUOTA: Final = "request too large for"
_TOO_LONG_HINT: Final = (
    "the conversation is longer than the model takes in: see `context` of this model in the configuration"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How one attempt failed."""

    kind: Kind
    status: int = 0
    """The HTTP status; 0 when there was none."""
    retry_after_seconds: float | None = None
    """How long the server asked to wait; None when it did not."""
    told: bool = False
    """Whether some of the reply was passed on before it failed."""
    too_long: bool = False
    """Whether the conversation is longer than the model takes in."""
    wants: Want | None = None
    """What the server asks to be sent as well; None for nothing that is known."""

    @property
    def worth_another_try(self) -> bool:
        """Say whether the same request may succeed later."""
        return self.kind in _RETRIED and not self.told


class ModelServerError(BackendError):
    """Raised when a model's server gave no reply.

    Args:
        message: One line, without the key.
        failure: The facts.
        hint: What the reader can do.
    """

    def __init__(self, message: str, *, failure: Failure, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.failure = failure


def status_error(
    where: str, status: int, body: object, *, retry_after_seconds: float | None = None
) -> ModelServerError:
    """Return the error for an answer that is not 200."""
    words = said(body)
    # llama.cpp and TensorRT-LLM say it with 500, too: no other try is shorter.
    too_long = _is_too_long(body, words) and (
        status in _TOO_LONG_STATUSES or (status == 429 and _LARGER_THAN_ANY_QUOTA in words.lower())
    )
    unpaid = status == 429 and _is_unpaid(body, words)
    wants = next((want for want, asked in _WANTED.items() if asked.search(words)), None)
    wants = wants if status in _WANTING_STATUSES else None
    again = (status in _AGAIN or status >= 500) and not (too_long or unpaid or wants)
    failure = Failure(
        kind="overloaded" if again else "refused",
        status=status,
        retry_after_seconds=retry_after_seconds,
        too_long=too_long,
        wants=wants,
    )
    message = f"{where} answered {status}" + (f": {words}" if words else "")
    hint = _TOO_LONG_HINT if too_long else _UNPAID_HINT if unpaid else _HINTS.get(status, "")
    return ModelServerError(message, failure=failure, hint=hint)


def _is_too_long(body: object, words: str) -> bool:
    """Say whether it is told, by the words or by the code: Groq has OpenAI's code and other words."""
    return bool(_TOO_LONG.search(f"{_innermost(body).get('code')} {words}"))


def _is_unpaid(body: object, words: str) -> bool:
    facts = _innermost(body)
    return bool(_UNPAID.search(f"{facts.get('code')} {facts.get('type')} {words}"))


def stream_error(where: str, body: object) -> ModelServerError:
    """Return the error for an error chunk: asked again, unless it says that the request itself is wrong.

    A conversation that is too long may be told so, too, with whatever code a server has for its own failures.
    """
    facts = _innermost(body)
    code = str(facts.get("code", facts.get("status_code", "")))
    status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else 0
    status = status or _OVERLOADED.get(str(facts.get("type")), 0)
    is_request = 400 <= status < 500 and status not in _AGAIN
    words = said(body)
    too_long = (not status or status in _TOO_LONG_STATUSES) and _is_too_long(body, words)
    unpaid = _is_unpaid(body, words)
    wrong = is_request or too_long or unpaid or (not status and str(facts.get("type")) in _WRONG_REQUESTS)
    kind: Kind = "refused" if wrong else "overloaded" if status in _NOT_NOW else "broken"
    return ModelServerError(
        f"{where} failed within its reply: {words}",
        failure=Failure(kind=kind, status=status, too_long=too_long),
        hint=_TOO_LONG_HINT if too_long else _UNPAID_HINT if unpaid else "",
    )


def _innermost(body: object) -> Mapping[str, object]:
    inner = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(inner, Mapping):
        return inner
    return body if isinstance(body, Mapping) else {}


def said(body: object) -> str:
    """Return what a server says went wrong, on one bounded line, from any of the shapes that are in use.

    `{"error": {"message"}}` (OpenAI, Anthropic), `{"error": "…"}` (Ollama), `{"message", "type", "code"}`
    (Dynamo), `{"object": "error", "message"}` (vLLM), `{"detail": …}` (FastAPI), text, HTML.
    """
    return one_line(_words(body, depth=0))


def one_line(text: str) -> str:
    """Return text on one line of at most 300 characters; what was cut ends with `CUT_MARK`."""
    text = text.strip()
    begun = text[: 8 * MAXIMUM_SAID_CHARACTERS]
    flat = " ".join(begun.split())
    if len(flat) > MAXIMUM_SAID_CHARACTERS or len(begun) < len(text):
        return flat[: MAXIMUM_SAID_CHARACTERS - 1] + CUT_MARK
    return flat


def _words(body: object, *, depth: int) -> str:
    if isinstance(body, bytes):
        cut = CUT_MARK if len(body) > _MOST_BODY_BYTES else ""
        body = body[:_MOST_BODY_BYTES].decode("utf-8", "replace") + cut
    if isinstance(body, str):
        return _decoded(body, depth=depth)
    if depth < 4 and isinstance(body, Mapping):
        found = [body[key] for key in ("error", "message", "detail", "msg", "errors") if body.get(key)]
        inner = body.get("metadata")
        raw = inner.get("raw") if isinstance(inner, Mapping) else None
        told = [found[0], raw] if found and raw else found[:1]  # OpenRouter has a provider's own words there
        return ": ".join(_words(each, depth=depth + 1) for each in told) if told else str(dict(body))
    if depth < 4 and isinstance(body, Sequence):
        return "; ".join(_words(part, depth=depth + 1) for part in body[:3])
    return "" if body is None else str(body)


def _decoded(text: str, *, depth: int) -> str:
    """Return text, or what it says if it is JSON: one server's message is often another's body."""
    start = text.lstrip()[:1]
    if depth < 4 and start in {"{", "["}:
        try:
            return _words(json.loads(text), depth=depth + 1)
        except (ValueError, RecursionError):
            return text
    return "an HTML page" if start == "<" else text


def is_error_chunk(chunk: Mapping[str, object]) -> bool:
    """Say whether a piece of a stream is an error in one of its shapes: an error chunk is a failure."""
    if chunk.get("error"):
        return True
    if chunk.get("object") == "error" or chunk.get("type") == "error":
        return True
    return not chunk.get("choices") and "message" in chunk and ("code" in chunk or "type" in chunk)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return the seconds that a server asks to wait, None when it does not say.

    `retry-after-ms` is what several gateways send beside RFC 9110's `Retry-After`, a number or a date.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    seconds = _number(given)
    if seconds is not None or not given:
        return seconds
    try:
        until = parsedate_to_datetime(given)
    except (ValueError, OverflowError):  # the latter for a second, or a zone, of thirty digits
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
