"""A session as OpenTelemetry spans, in OTLP's JSON lines: a view, never the storage form.

One span for the session (`invoke_agent`), for each action (`execute_tool`) and model call (`chat`), by the
semantic conventions for generative AI 1.41, which are still in development, and one for each program that an
action left in the background (`process`), which ends after its action's span was written. Each line is one
`TracesData` object, as the OTLP file exporter writes it. Ids are hashes of the ledger's own, so that two
exports agree.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from audit.chain import Entry
from audit.hostile import unmark
from audit.jsonlines import json_line
from audit.reader import BrokenEntry
from audit.summary import spelled_argv

_INTERNAL, _CLIENT = 1, 3
_UNSET, _OK, _ERROR = 0, 1, 2
_MOST_PENDING = 1024
_NO_ERROR = frozenset({"ok", "done"})
Json = dict[str, object]
Attributes = dict[str, str | int | bool | None]


@dataclass(slots=True, kw_only=True)
class _Span:
    """A span that has begun."""

    number: int
    name: str
    kind: int
    start: int
    mono_us: int
    attributes: Attributes = field(default_factory=dict)
    parent: int | None = None


def otlp(session_id: str, entries: Iterable[Entry | BrokenEntry], *, version: str) -> Iterator[bytes]:
    """Yield a line for each span when it has ended, the session's own last.

    Args:
        session_id: The session's id.
        entries: Its entries, verified while they are read.
        version: The version of pairlock that exports.
    """
    spans = _Spans(session_id)
    for entry in entries:
        for span in spans.take(entry):
            yield _line(span, session_id, version)
    for span in spans.rest():
        yield _line(span, session_id, version)


class _Spans:
    """What has begun and not ended; at most so much that a log of beginnings alone fills no memory."""

    def __init__(self, session_id: str) -> None:
        self._session = session_id
        self._trace = sha256(f"pairlock/session/{session_id}".encode()).hexdigest()[:32]
        self._root = _Span(number=0, name="invoke_agent pairlock", kind=_INTERNAL, start=0, mono_us=0)
        self._status: Json = {"code": _UNSET}
        self._actions: dict[str, _Span] = {}
        self._started: dict[str, int] = {}
        """Actions that have started a program, and the numbers of their spans."""
        self._asked: _Span | None = None
        self._last = (0, 0)

    def take(self, entry: Entry | BrokenEntry) -> Iterator[Json]:
        if isinstance(entry, BrokenEntry):
            self._status = {"code": _ERROR, "message": f"entry {entry.seq} does not hold"}
            self._root.attributes["error.type"] = "broken_ledger"
            return
        self._last = (_nanoseconds(entry.at), entry.mono_us)
        if not self._root.start:
            self._root.start, self._root.mono_us = self._last
        found = unmark(entry.body)
        body: Mapping[str, object] = found if isinstance(found, Mapping) else {}
        match entry.type:
            case "session.opened":
                self._opened(body)
            case "session.closed":
                self._closed(body)
            case "action.intended":
                yield from self._intended(entry, body)
            case "action.finished":
                yield from self._finished(entry, body)
            case "process.started" | "process.ended":
                yield from self._process(entry, body)
            case "model.asked":
                self._asked = self._span(entry, f"chat {_text(body, 'model')}", _CLIENT)
            case "model.answered" | "model.failed":
                yield self._answered(entry, body)

    def rest(self) -> Iterator[Json]:
        for span in [*self._actions.values(), *([self._asked] if self._asked else [])]:
            yield self._ended(span, {"code": _ERROR, "message": "no end is recorded"}, "unknown")
        yield self._ended(self._root, self._status, "")

    def _span(self, entry: Entry, name: str, kind: int) -> _Span:
        start = _nanoseconds(entry.at)
        return _Span(number=entry.seq + 1, name=name, kind=kind, start=start, mono_us=entry.mono_us, parent=0)

    def _opened(self, body: Mapping[str, object]) -> None:
        self._root.attributes |= {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "pairlock",
            "gen_ai.agent.id": self._session,
            "gen_ai.conversation.id": self._session,
            "gen_ai.provider.name": _text(body, "backend"),
            "gen_ai.request.model": _text(body, "model"),
            "pairlock.grant": _text(body, "grant"),
            "pairlock.policy.digest": _text(body, "policy_digest"),
            "pairlock.headless": body.get("headless") is True,
        }

    def _closed(self, body: Mapping[str, object]) -> None:
        status, totals = _text(body, "status"), body.get("totals")
        if isinstance(totals, Mapping):
            self._root.attributes |= {
                "gen_ai.usage.input_tokens": _number(totals, "input_tokens"),
                "gen_ai.usage.output_tokens": _number(totals, "output_tokens"),
                "gen_ai.usage.cache_read.input_tokens": _number(totals, "cached_tokens"),
                "pairlock.sent_bytes": _number(totals, "sent_bytes"),
                "pairlock.received_bytes": _number(totals, "received_bytes"),
            }
        if status in _NO_ERROR:
            self._status = {"code": _OK}
        else:
            self._root.attributes["error.type"] = status
            self._status = {"code": _ERROR, "message": _text(body, "reason")}

    def _intended(self, entry: Entry, body: Mapping[str, object]) -> Iterator[Json]:
        command, verdict = _text(body, "command"), _text(body, "verdict")
        span = self._span(entry, f"execute_tool {command}".rstrip(), _INTERNAL)
        span.attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.conversation.id": self._session,
            "gen_ai.tool.name": command.replace(" ", "_"),
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": _text(body, "call") or None,
            "pairlock.action": _text(body, "action"),
            "pairlock.command_line": spelled_argv(body.get("argv", ())),
            "pairlock.verdict": verdict,
            "pairlock.rule": _rule(body),
        }
        if verdict == "denied":
            yield self._ended(span, {"code": _ERROR, "message": _why(body)}, "denied")
            return
        if len(self._actions) >= _MOST_PENDING:
            oldest = self._actions.pop(next(iter(self._actions)))
            yield self._ended(oldest, {"code": _ERROR, "message": "no end is recorded"}, "unknown")
        self._actions[_text(body, "action")] = span

    def _finished(self, entry: Entry, body: Mapping[str, object]) -> Iterator[Json]:
        span = self._actions.pop(_text(body, "action"), None)
        if span is None:
            return
        outcome = _text(body, "outcome")
        span.attributes |= {
            "pairlock.outcome": outcome,
            "process.exit.code": _number(body, "exit_code"),
            "pairlock.output_bytes": _number(body, "output_bytes"),
        }
        self._last = (_nanoseconds(entry.at), entry.mono_us)
        good = outcome in _NO_ERROR
        status: Json = {"code": _OK} if good else {"code": _ERROR, "message": _text(body, "detail")}
        yield self._ended(span, status, "" if good else outcome)

    def _process(self, entry: Entry, body: Mapping[str, object]) -> Iterator[Json]:
        action = _text(body, "action")
        if entry.type == "process.ended":
            yield self._process_ended(entry, body)
        elif action in self._actions:
            self._started[action] = self._actions[action].number
            if len(self._started) > _MOST_PENDING:
                del self._started[next(iter(self._started))]

    def _process_ended(self, entry: Entry, body: Mapping[str, object]) -> Json:
        """Return the span of a program in the background, on its action's where that is known."""
        action, outcome = _text(body, "action"), _text(body, "outcome")
        span = self._span(entry, "process", _INTERNAL)
        length_us = min(max(0, _number(body, "duration_ms") or 0) * 1000, span.start // 1000)
        span.start, span.mono_us = span.start - length_us * 1000, entry.mono_us - length_us
        span.parent = self._started.pop(action, 0)
        span.attributes = {
            "gen_ai.conversation.id": self._session,
            "pairlock.action": action,
            "pairlock.outcome": outcome,
            "process.exit.code": _number(body, "exit_code"),
            "pairlock.output_bytes": _number(body, "output_bytes"),
        }
        good = outcome in _NO_ERROR
        status: Json = {"code": _OK} if good else {"code": _ERROR, "message": _text(body, "detail")}
        return self._ended(span, status, "" if good else outcome)

    def _answered(self, entry: Entry, body: Mapping[str, object]) -> Json:
        model = _text(body, "model")
        span, self._asked = self._asked or self._span(entry, f"chat {model}", _CLIENT), None
        failed = entry.type == "model.failed"
        span.attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.conversation.id": self._session,
            "gen_ai.provider.name": _text(body, "backend"),
            "gen_ai.request.model": model,
            "gen_ai.usage.input_tokens": _number(body, "input_tokens"),
            "gen_ai.usage.output_tokens": _number(body, "output_tokens"),
            "gen_ai.usage.cache_read.input_tokens": _number(body, "cached_tokens"),
            "pairlock.turn": _number(body, "turn"),
        }
        status: Json = {"code": _ERROR, "message": _text(body, "error")} if failed else {"code": _OK}
        return self._ended(span, status, "model_failed" if failed else "")

    def _ended(self, span: _Span, status: Json, error: str) -> Json:
        """Return a finished span. Its length is of the monotonic clock, unless a new writer came between."""
        at, mono_us = self._last
        length = (mono_us - span.mono_us) * 1000
        wall = at - span.start
        attributes = span.attributes | ({"error.type": error} if error else {})
        made: Json = {
            "traceId": self._trace,
            "spanId": self._span_id(span.number),
            "name": span.name,
            "kind": span.kind,
            "startTimeUnixNano": str(span.start),
            "endTimeUnixNano": str(span.start + (length if length >= 0 else max(0, wall))),
            "attributes": [_attribute(key, value) for key, value in attributes.items() if value is not None],
            "status": status,
        }
        return made | ({} if span.parent is None else {"parentSpanId": self._span_id(span.parent)})

    def _span_id(self, number: int) -> str:
        return sha256(f"pairlock/session/{self._session}/{number}".encode()).hexdigest()[:16]


def _line(span: Json, session_id: str, version: str) -> bytes:
    resource: Attributes = {
        "service.name": "pairlock",
        "service.version": version or "0",
        "service.instance.id": session_id,
    }
    scope = {"name": "pairlock.ledger", "version": version or "0"}
    whole = {
        "resourceSpans": [
            {
                "resource": {"attributes": [_attribute(key, value) for key, value in resource.items()]},
                "scopeSpans": [{"scope": scope, "spans": [span]}],
            }
        ]
    }
    return json_line(whole)


def _attribute(key: str, value: str | int | bool | None) -> Json:  # noqa: FBT001 - one of the kinds of value
    if isinstance(value, bool):
        return {"key": key, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    return {"key": key, "value": {"stringValue": value}}


def _text(body: Mapping[str, object], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _number(body: Mapping[str, object], key: str) -> int | None:
    value = body.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _first_reason(body: Mapping[str, object]) -> Mapping[str, object]:
    reasons = body.get("reasons")
    first = reasons[0] if isinstance(reasons, tuple) and reasons else None
    return first if isinstance(first, Mapping) else {}


def _why(body: Mapping[str, object]) -> str:
    return _text(_first_reason(body), "message")


def _rule(body: Mapping[str, object]) -> str | None:
    rule = _first_reason(body).get("rule")
    if not isinstance(rule, Mapping):
        return None
    return f"{_text(rule, 'origin')}:{rule.get('line')}:{rule.get('column')}"


def _nanoseconds(at: str) -> int:
    """Return a time as the ledger spells it in nanoseconds since 1970; 0 for what is none."""
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return 0
    seconds = int(moment.replace(microsecond=0, tzinfo=moment.tzinfo or UTC).timestamp())
    return max(0, seconds * 1_000_000_000 + moment.microsecond * 1000)
