"""A session's entries as events of the Open Cybersecurity Schema Framework, version 1.8.0, for a SIEM.

What has no place in an event's class is kept under `unmapped`, so that nothing is lost. Source: the schema's
class files (events/ and objects/ of ocsf-schema), whose required attributes and enumerations the tests hold.
"""

from collections.abc import Iterable, Iterator, Mapping

from audit.chain import Entry
from audit.hostile import unmark
from audit.ocsf_event import (
    CRITICAL,
    FAILURE,
    INFORMATIONAL,
    MEDIUM,
    OTHER,
    SUCCESS,
    Event,
    count,
    mapping,
    metadata,
    milliseconds,
    set_class,
    set_verdict,
    text,
)
from audit.ocsf_network import set_connection, set_request
from audit.reader import BrokenEntry
from audit.summary import spelled_argv, summary

# class_uid, category_uid
_FILE, _PROCESS, _FINDING, _AUTHORIZE = (1001, 1), (1007, 1), (2004, 2), (3003, 3)
_LIFECYCLE, _API = (6002, 6), (6003, 6)
_LAUNCH, _TERMINATE = 1, 2
_FILE_ACTIVITIES = {"created": 1, "read": 2, "changed": 3, "removed": 4, "moved": 5}
_REGULAR, _FOLDER = 1, 2
_SHA256 = 3


def ocsf(session_id: str, entries: Iterable[Entry | BrokenEntry], *, version: str) -> Iterator[Event]:
    """Yield an event for each entry, and one for each file that an action used.

    Args:
        session_id: The session's id.
        entries: Its entries, verified while they are read.
        version: The version of pairlock that exports.
    """
    workspace: str | None = None
    for entry in entries:
        if isinstance(entry, BrokenEntry):
            yield _broken(session_id, entry, version)
            continue
        body = mapping(unmark(entry.body))
        if entry.type == "session.opened":
            workspace = text(body.get("workspace")) or None
        event = _common(session_id, entry, version)
        _classify(event, entry, body)
        event["unmapped"] = {
            "pairlock": {"leaf": entry.leaf.hex(), "type": entry.type, "v": entry.version, "body": entry.body}
        }
        yield event
        yield from _files(session_id, entry, body, workspace, version)


def _common(session_id: str, entry: Entry, version: str, *, file: int | None = None) -> Event:
    """Return what every event of an entry has; `file` is the number of the file that it is about."""
    uid = str(entry.seq) if file is None else f"{entry.seq}/file/{file}"
    return {
        "time": milliseconds(entry.at),
        "message": summary(entry) or entry.type,
        "severity_id": INFORMATIONAL,
        "metadata": metadata(session_id, uid, version) | {"sequence": entry.seq},
    }


def _classify(event: Event, entry: Entry, body: Mapping[str, object]) -> None:
    match entry.type:
        case "action.intended" | "process.started":
            _process(event, body)
        case "process.ended":
            _process_end(event, body)
        case "egress.opened" | "egress.closed":
            set_connection(event, body, opened=entry.type == "egress.opened")
        case "egress.requested":
            set_request(event, body)
        case "model.asked" | "model.answered" | "model.failed":
            _model_call(event, entry, body)
        case "session.opened" | "approval.answered":
            _authorize(event, entry, body)
        case "limit.hit":
            _finding(event, entry, "a limit was reached")
        case "session.recovered":
            _finding(event, entry, "the writer died and another took over")
        case _:
            _lifecycle(event, entry)


def _process(event: Event, body: Mapping[str, object]) -> None:
    set_class(event, _PROCESS, _LAUNCH)
    argv = body.get("argv", ())
    first = text(argv[0]) if isinstance(argv, tuple) and argv else ""
    event |= {
        "process": {
            "name": first or "unknown",
            "cmd_line": spelled_argv(argv),
            "uid": text(body.get("action")),
        },
        "actor": {"app_name": "agent"},
        "device": _device(),
    }
    set_verdict(event, body)


def _process_end(event: Event, body: Mapping[str, object]) -> None:
    """Tell how a program in the background ended; the action that is named says which it was."""
    set_class(event, _PROCESS, _TERMINATE)
    outcome = text(body.get("outcome"))
    event |= {
        "process": {"name": "unknown", "uid": text(body.get("action"))},
        "actor": {"app_name": "agent"},
        "device": _device(),
        "duration": count(body.get("duration_ms")),
        "status_id": SUCCESS if outcome == "ok" else FAILURE,
        "status_detail": outcome,
    }


def _model_call(event: Event, entry: Entry, body: Mapping[str, object]) -> None:
    set_class(event, _API, OTHER)
    failed = entry.type == "model.failed"
    service = {"name": text(body.get("backend"))}
    event |= {
        "activity_name": entry.type,
        "actor": {"app_name": "pairlock"},
        "api": {"operation": text(body.get("model")), "service": service},
        "src_endpoint": {"name": "pairlock"},
        "status_id": FAILURE if failed else SUCCESS,
    }


def _authorize(event: Event, entry: Entry, body: Mapping[str, object]) -> None:
    if entry.type == "session.opened":
        set_class(event, _AUTHORIZE, 1)
        event |= {"user": {"name": "agent"}, "privileges": [text(body.get("grant"))]}
        return
    set_class(event, _AUTHORIZE, OTHER)
    event |= {
        "activity_name": entry.type,
        "user": {"name": "agent"},
        "privileges": [text(body.get("action"))],
        "status_id": SUCCESS if body.get("answer") == "approved" else FAILURE,
        "status_detail": f"{text(body.get('answer'))} by {text(body.get('by'))}",
    }


def _finding(event: Event, entry: Entry, title: str) -> None:
    set_class(event, _FINDING, 1)
    uid = f"{entry.type}/{entry.seq}"
    event |= {"severity_id": MEDIUM, "is_alert": True, "finding_info": {"title": title, "uid": uid}}


def _lifecycle(event: Event, entry: Entry) -> None:
    activity = {"sandbox.created": 3, "sandbox.closed": 4}.get(entry.type, OTHER)
    set_class(event, _LIFECYCLE, activity)
    if activity == OTHER:
        event["activity_name"] = entry.type
    event["app"] = {"name": "pairlock", "vendor_name": "pairlock"}


def _files(
    session_id: str, entry: Entry, body: Mapping[str, object], workspace: str | None, version: str
) -> Iterator[Event]:
    uses = body.get("files")
    for number, use in enumerate(uses if isinstance(uses, tuple) else ()):
        fields = mapping(use)
        path, access = text(fields.get("path")), text(fields.get("access"))
        event = _common(session_id, entry, version, file=number)
        set_class(event, _FILE, _FILE_ACTIVITIES.get(access, OTHER))
        kind = _FOLDER if access == "listed" else _REGULAR
        file: Event = {"name": path.rsplit("/", 1)[-1] or path, "path": path, "type_id": kind}
        digest = text(fields.get("sha256"))
        if digest:
            file["hashes"] = [{"algorithm_id": _SHA256, "value": digest}]
        event |= {
            "activity_name": access or "unknown",
            "message": f"{access} {path}",
            "file": file,
            "actor": {"app_name": "agent"},
            "device": _device(),
            "unmapped": {"pairlock": {"file": number, "workspace": workspace, "action": body.get("action")}},
        }
        yield event


def _broken(session_id: str, entry: BrokenEntry, version: str) -> Event:
    event: Event = {
        "time": 0,
        "message": entry.why,
        "severity_id": CRITICAL,
        "metadata": metadata(session_id, f"{entry.seq}/broken", version),
    }
    set_class(event, _FINDING, 1)
    uid = f"{session_id}/{entry.seq}"
    event["finding_info"] = {"title": "an entry of the ledger does not hold", "uid": uid}
    event["unmapped"] = {"pairlock": {"seq": entry.seq}}
    return event


def _device() -> Event:
    return {"type_id": OTHER, "type": "container", "name": "sandbox"}
