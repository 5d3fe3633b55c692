"""Say in one line what an entry is about, whole: no command line and no reason is cut.

Nothing here is escaped: whoever prints it does that.
"""

from collections.abc import Callable, Mapping

from audit.chain import Entry
from audit.hostile import unmark
from audit.sandbox_event import STAGE_WORDS

Body = Mapping[str, object]


def summary(entry: Entry) -> str:
    """Return one line that says what the entry is about: the whole command line where there is one.

    Args:
        entry: An entry; one whose body was moved out is told by its size.
    """
    return told(entry.type, unmark(entry.body))


def told(kind: str, body: object) -> str:
    """Return one line on a body that may have been fetched from elsewhere.

    Args:
        kind: The entry's type.
        body: Its fields, marks turned back.
    """
    if not isinstance(body, Mapping):
        return ""
    moved = body.get("overflow")
    if body.keys() == {"overflow"} and isinstance(moved, Mapping):
        return f"a body of {moved.get('size')} bytes, kept apart"
    return _TOLD.get(kind, _any)(body)


def spelled_argv(argv: object) -> str:
    """Return a command line as one text, each argument quoted that needs it, nothing cut."""
    if not isinstance(argv, tuple | list):
        return ""
    return " ".join(_quoted(str(argument)) for argument in argv)


def reasons(body: object) -> list[str]:
    """Return why a decision came out as it did, a line for each reason: code, message, rule, hint."""
    found = body.get("reasons") if isinstance(body, Mapping) else None
    rows = found if isinstance(found, tuple | list) else ()
    return [_reason(reason) for reason in rows if isinstance(reason, Mapping)]


def _reason(reason: Body) -> str:
    rule, hint = reason.get("rule"), reason.get("hint")
    place = (
        f" ({rule.get('origin')}:{rule.get('line')}:{rule.get('column')})"
        if isinstance(rule, Mapping)
        else ""
    )
    return f"{reason.get('code')}: {reason.get('message')}{place}" + (f"; hint: {hint}" if hint else "")


def _quoted(argument: str) -> str:
    plain = argument and all(char.isalnum() or char in "-_./:=,@%+" for char in argument)
    return argument if plain else "'" + argument.replace("'", "'\\''") + "'"


def _action(body: Body) -> str:
    return spelled_argv(body.get("argv", ()))


def _finished(body: Body) -> str:
    code, detail = body.get("exit_code"), body.get("detail")
    parts = [str(body.get("outcome", ""))]
    parts += [f"exit code {code}"] if code is not None else []
    parts += [f"{body.get('duration_ms')} ms", *_files(body.get("files"))]
    return ", ".join(parts) + (f": {detail}" if detail else "")


def _files(uses: object) -> list[str]:
    rows = [use for use in uses if isinstance(use, Mapping)] if isinstance(uses, tuple | list) else []
    return [
        f"{use.get('access')} {use.get('path')}" + (f" to {use['moved_to']}" if use.get("moved_to") else "")
        for use in rows
    ]


def _size(body: Body, key: str) -> str:
    found = body.get(key)
    return f"{found.get('size')} bytes" if isinstance(found, Mapping) else "nothing"


def _model(body: Body) -> str:
    return f"{body.get('backend')} {body.get('model')}, turn {body.get('turn')}"


def _model_answered(body: Body) -> str:
    calls = body.get("tool_calls")
    count = len(calls) if isinstance(calls, tuple | list) else 0
    return (
        f"{_model(body)}, {count} call{'' if count == 1 else 's'}, {body.get('input_tokens')} tokens in "
        f"({body.get('cached_tokens')} cached), {body.get('output_tokens')} out, {body.get('duration_ms')} ms"
    )


def _attested(body: Body) -> str:
    evidence = body.get("evidence")
    rows = [row for row in evidence if isinstance(row, Mapping)] if isinstance(evidence, tuple | list) else []
    odd = [str(row.get("check")) for row in rows if row.get("expected") != row.get("observed")]
    return f"{body.get('verdict')}, {len(rows)} checks" + (
        f"; otherwise than expected: {', '.join(odd)}" if body.get("verdict") != "as granted" and odd else ""
    )


def _created(body: Body) -> str:
    strategy = body.get("stage_strategy")
    return _any({**body, "stage_strategy": STAGE_WORDS.get(str(strategy), strategy)})


def _crossed(body: Body) -> str:
    """Return what crossed the egress gate in all; nothing where nothing did."""
    totals = body.get("totals")
    told = totals if isinstance(totals, Mapping) else {}
    sent, received = told.get("sent_bytes"), told.get("received_bytes")
    return f"; {sent or 0} bytes sent, {received or 0} received" if sent or received else ""


def _any(body: Body) -> str:
    """Return every plain field of an entry, by name."""
    pairs = (
        f"{name}={value}"
        for name, value in body.items()
        if isinstance(value, str | int) and value != "" and name not in _UNTOLD
    )
    return " ".join(pairs)


_UNTOLD = frozenset({"vkey", "note", "session"})
_TOLD: dict[str, Callable[[Body], str]] = {
    "action.intended": _action,
    "process.started": _action,
    "action.finished": _finished,
    "process.ended": _finished,
    "action.output": lambda body: f"{body.get('stream')}, {_size(body, 'content')}",
    "approval.answered": lambda body: f"{body.get('answer')} by {body.get('by')} via {body.get('via')}",
    "egress.opened": lambda body: f"{body.get('scheme')}://{body.get('host')}:{body.get('port')}",
    "egress.requested": lambda body: (
        f"{body.get('method')} {body.get('path')}"
        + (f", status {body['status']}" if body.get("status") else "")
    ),
    "egress.closed": lambda body: (
        f"{body.get('connection')}, {body.get('sent_bytes')} bytes sent, "
        f"{body.get('received_bytes')} received: {body.get('why')}"
    ),
    "limit.hit": lambda body: (
        f"{body.get('limit')}: {body.get('observed')} of {body.get('bound')} {body.get('unit')}"
    ),
    "log.sealed": lambda body: f"epoch {body.get('epoch')}",
    "message.added": lambda body: f"{body.get('role')}, {_size(body, 'content')}",
    "model.asked": lambda body: f"{_model(body)}, {body.get('message_count')} messages",
    "model.answered": _model_answered,
    "model.failed": lambda body: f"{_model(body)}: {body.get('error')}",
    "sandbox.attested": _attested,
    "sandbox.created": _created,
    "session.closed": lambda body: f"{body.get('status')}: {body.get('reason')}{_crossed(body)}",
}
