"""Exported spans are what OpenTelemetry's own messages take, and tell of a session what its ledger tells."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from audit.event import ModelAnswered, ModelAsked, ProcessEnded, ProcessStarted
from audit.export import View, viewed
from audit.fields import Reason
from audit.otlp import otlp
from audit.reader import SessionReader
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder, Samples

HOSTILE = "a\x1b[2J\ud800\u202eb"
IDS = ("traceId", "spanId", "parentSpanId")


def spans_of(lines: Iterator[bytes]) -> list[Span]:
    """Return the spans of some lines, read by the protocol's own messages; JSON has ids in hex."""
    found = []
    for line in lines:
        fields = json.loads(line)
        (resource,) = fields["resourceSpans"]
        (scope,) = resource["scopeSpans"]
        for span in scope["spans"]:
            span |= {key: base64.b64encode(bytes.fromhex(span[key])).decode() for key in IDS if key in span}
        found += ParseDict(fields, TracesData()).resource_spans[0].scope_spans[0].spans
    return found


def attributes(span: Span) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@pytest.fixture
async def spans(recorder: Recorder, state: Path, samples: Samples) -> list[Span]:
    """Return the spans of a session: a model's call, an action done, one denied, one never finished."""
    async with recorder.journal() as journal:
        await journal.record(samples.opened(journal.commit("task")))
        messages = journal.commit("messages")
        asked = {"turn": 1, "backend": "openai", "model": "m"}
        await journal.record(ModelAsked(**asked, messages=messages, message_count=2))
        await journal.record(
            ModelAnswered(
                **asked,
                text=None,
                tool_calls=(),
                input_tokens=100,
                output_tokens=7,
                cached_tokens=90,
                duration_ms=5,
            )
        )
        await journal.record(samples.intended(1, text=HOSTILE))
        await journal.record(samples.finished(1))
        denied = {"verdict": "denied", "reasons": (Reason(code="command", message=HOSTILE),)}
        await journal.record(samples.intended(2).model_copy(update=denied))
        await journal.record(samples.intended(3))
        await journal.close(samples.closed())
    return spans_of(viewed(state, SESSION, View.OTLP, version="0.1.0"))


def test_each_span_is_one_of_the_protocol_and_hangs_on_the_sessions_own(spans: list[Span]) -> None:
    *parts, whole = spans

    assert [span.name for span in spans] == [
        "chat m",
        "execute_tool files read",
        "execute_tool files read",
        "execute_tool files read",
        "invoke_agent pairlock",
    ]
    assert {len(span.trace_id) for span in spans} == {16}
    assert {span.trace_id for span in spans} == {whole.trace_id}
    assert {span.parent_span_id for span in parts} == {whole.span_id}
    assert (len({span.span_id for span in spans}), whole.parent_span_id) == (5, b"")
    assert all(0 < span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)


def test_spans_tell_what_the_ledger_tells(spans: list[Span]) -> None:
    chat, done, denied, unfinished, whole = spans

    assert attributes(chat) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": SESSION,
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 90,
        "pairlock.turn": 1,
    }
    assert (chat.kind, done.kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL)
    assert attributes(done)["pairlock.command_line"] == "files read 'a\x1b[2J\\ud800\u202eb'"
    assert [attributes(one).get("error.type") for one in (done, denied, unfinished)] == [
        None,
        "denied",
        "unknown",
    ]
    codes = [one.status.code for one in (done, denied, whole)]
    assert codes == [Status.STATUS_CODE_OK, Status.STATUS_CODE_ERROR, Status.STATUS_CODE_OK]
    assert attributes(whole)["pairlock.grant"] == "files"


OK, ERROR = Status.STATUS_CODE_OK, Status.STATUS_CODE_ERROR


@pytest.mark.parametrize(("outcome", "told"), [("ok", (OK, None)), ("timed_out", (ERROR, "timed_out"))])
async def test_a_program_in_the_background_is_a_span_on_the_action_that_started_it(
    recorder: Recorder, state: Path, samples: Samples, outcome: str, told: tuple[int, str | None]
) -> None:
    action, other = f"{SESSION}/1", f"{SESSION}/2"
    ended = {"outcome": outcome, "exit_code": 3, "output_bytes": 5}
    async with recorder.journal() as journal:
        await journal.record(samples.intended(1))
        await journal.record(ProcessStarted(action=action, argv=("make",), folder="."))
        await journal.record(samples.finished(1))
        await journal.record(ProcessEnded(action=action, duration_ms=7, **ended))
        await journal.record(ProcessEnded(action=other, duration_ms=2**53 - 1, **ended))
        await journal.close(samples.closed())

    started, process, stray, whole = spans_of(viewed(state, SESSION, View.OTLP, version="0.1.0"))

    assert (started.name, process.name, stray.name) == ("execute_tool files read", "process", "process")
    assert (process.parent_span_id, stray.parent_span_id) == (started.span_id, whole.span_id)
    assert process.end_time_unix_nano - process.start_time_unix_nano == 7_000_000
    assert stray.start_time_unix_nano < 1000  # no program has run for longer than there is time
    assert (process.status.code, attributes(process).get("error.type")) == told
    assert attributes(process) | {"error.type": None} == {
        "gen_ai.conversation.id": SESSION,
        "pairlock.action": action,
        "pairlock.outcome": outcome,
        "process.exit.code": 3,
        "pairlock.output_bytes": 5,
        "error.type": None,
    }


async def test_a_broken_ledger_makes_no_good_span(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=100)
    attacker.change_session(state, attacker.edit, recomputed=False)

    *_, whole = spans_of(otlp(SESSION, SessionReader(state, SESSION).entries(), version="1"))

    assert whole.status.code == Status.STATUS_CODE_ERROR
    assert attributes(whole)["error.type"] == "broken_ledger"
