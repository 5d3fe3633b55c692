"""A session's entries as events of the Open Cybersecurity Schema Framework, version 1.8.0, for a SIEM.

What has no place in an event's class is kept under `unmapped`, so that nothing is lost. Source: the schema's
class files (events/ and objects/ of ocsf-schema), whose required attributes and enumerations the tests hold.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from audit.chain import Entry
from audit.escape import escape_line
from audit.hostile import unmark
from audit.reader import BrokenEntry
from audit.summary import spelled_argv, summary

VERSION = "1.8.0"
_OTHER = 99
# class_uid, category_uid
_FILE, _PROCESS, _FINDING, _AUTHORIZE = (1001, 1), (1007, 1), (2004, 2), (3003, 3)
_NETWORK, _HTTP, _LIFECYCLE, _API = (4001, 4), (4002, 4), (6002, 6), (6003, 6)
_INFORMATIONAL, _LOW, _MEDIUM, _CRITICAL = 1, 2, 3, 5
_SUCCESS, _FAILURE = 1, 2
_LAUNCH, _TERMINATE = 1, 2
_ALLOWED, _DENIED = 1, 2
_METHODS = {
    "CONNECT": 1,
    "DELETE": 2,
    "GET": 3,
    "HEAD": 4,
    "OPTIONS": 5,
    "POST": 6,
    "PUT": 7,
    "TRACE": 8,
    "PATCH": 9,
}
_FILE_ACTIVITIES = {"created": 1, "read": 2, "changed": 3, "removed": 4, "moved": 5}
_REGULAR, _FOLDER = 1, 2
_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_LARGEST_PORT = 65535

Event = dict[str, object]


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
        body = _mapping(unmark(entry.body))
        if entry.type == "session.opened":
            workspace = _text(body.get("workspace")) or None
        event = _common(session_id, entry, version)
        _classify(event, entry, body)
        event["unmapped"] = {
            "pairlock": {"leaf": entry.leaf.hex(), "type": entry.type, "v": entry.version, "body": entry.body}
        }
        yield event
        yield from _files(session_id, entry, body, workspace, version)


def _common(session_id: str, entry: Entry, version: str) -> Event:
    return {
        "time": _milliseconds(entry.at),
        "message": summary(entry) or entry.type,
        "severity_id": _INFORMATIONAL,
        "metadata": {
            "version": VERSION,
            "uid": f"{session_id}/{entry.seq}",
            "sequence": entry.seq,
            "correlation_uid": session_id,
            "product": {"name": "pairlock", "vendor_name": "pairlock", "version": version or "0"},
            "log_name": "ledger",
        },
    }


def _classify(event: Event, entry: Entry, body: Mapping[str, object]) -> None:
    match entry.type:
        case "action.intended" | "process.started":
            _process(event, body)
        case "process.ended":
            _process_end(event, body)
        case "egress.opened" | "egress.closed":
            _connection(event, entry, body)
        case "egress.requested":
            _request(event, body)
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


def _set_class(event: Event, kind: tuple[int, int], activity: int) -> None:
    class_uid, category_uid = kind
    event |= {
        "class_uid": class_uid,
        "category_uid": category_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
    }


def _process(event: Event, body: Mapping[str, object]) -> None:
    _set_class(event, _PROCESS, _LAUNCH)
    argv = body.get("argv", ())
    first = _text(argv[0]) if isinstance(argv, tuple) and argv else ""
    event |= {
        "process": {
            "name": first or "unknown",
            "cmd_line": spelled_argv(argv),
            "uid": _text(body.get("action")),
        },
        "actor": {"app_name": "agent"},
        "device": _device(),
    }
    _verdict(event, body)


def _process_end(event: Event, body: Mapping[str, object]) -> None:
    """Tell how a program in the background ended; the action that is named says which it was."""
    _set_class(event, _PROCESS, _TERMINATE)
    outcome = _text(body.get("outcome"))
    event |= {
        "process": {"name": "unknown", "uid": _text(body.get("action"))},
        "actor": {"app_name": "agent"},
        "device": _device(),
        "duration": _count(body.get("duration_ms")),
        "status_id": _SUCCESS if outcome == "ok" else _FAILURE,
        "status_detail": outcome,
    }


def _verdict(event: Event, body: Mapping[str, object]) -> None:
    """Say what was decided, in the attributes of the `security_control` profile."""
    verdict = body.get("verdict")
    if verdict is None:
        return
    metadata = event["metadata"]
    if isinstance(metadata, dict):
        metadata["profiles"] = ["security_control"]
    decided = {
        "denied": {"action_id": _DENIED, "disposition_id": 2, "status_id": _FAILURE, "severity_id": _LOW},
        "allowed": {"action_id": _ALLOWED, "disposition_id": 1, "status_id": _SUCCESS},
    }
    event |= decided.get(_text(verdict), {"action_id": 0, "disposition_id": 0})
    event["status_detail"] = _text(verdict)


def _connection(event: Event, entry: Entry, body: Mapping[str, object]) -> None:
    opened = entry.type == "egress.opened"
    activity = 2 if not opened else 5 if body.get("verdict") == "denied" else 1
    _set_class(event, _NETWORK, activity)
    uid = _text(body.get("connection"))
    event["connection_info"] = {"uid": uid, "direction_id": 2, "protocol_name": "tcp"}
    event["dst_endpoint"] = _endpoint(body, uid)
    if not opened:
        sent, received = body.get("sent_bytes"), body.get("received_bytes")
        event["traffic"] = {"bytes_out": _count(sent), "bytes_in": _count(received)}
        event["duration"] = _count(body.get("duration_ms"))
    _verdict(event, body)


def _endpoint(body: Mapping[str, object], uid: str) -> Event:
    """Return where a connection led, as far as its entry says so: the address dialled stands at its end."""
    port, address = _count(body.get("port")), _text(body.get("address"))
    host = _host(_text(body.get("host")))
    told = {**host, "port": port if 0 < port <= _LARGEST_PORT else 0, "uid": uid}
    if _is_address(address):
        told["ip"] = address
    return {name: value for name, value in told.items() if value} or {"name": "unknown"}


def _host(host: str) -> Event:
    """Return a host as the schema knows one: an address, a hostname, or else what somebody called it."""
    if _is_address(host):
        return {"ip": host}
    return {"hostname" if _HOSTNAME.fullmatch(host) else "name": escape_line(host)}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _request(event: Event, body: Mapping[str, object]) -> None:
    method = _text(body.get("method")).upper()
    _set_class(event, _HTTP, _METHODS.get(method, _OTHER))
    event["activity_name"] = method or "unknown"
    event |= {
        "http_request": {"http_method": method, "url": {"path": _text(body.get("path"))}},
        "dst_endpoint": _endpoint(body, _text(body.get("connection"))),
    }
    if status := _count(body.get("status")):
        event["http_response"] = {"code": status}
    _verdict(event, body)


def _model_call(event: Event, entry: Entry, body: Mapping[str, object]) -> None:
    _set_class(event, _API, _OTHER)
    failed = entry.type == "model.failed"
    service = {"name": _text(body.get("backend"))}
    event |= {
        "activity_name": entry.type,
        "actor": {"app_name": "pairlock"},
        "api": {"operation": _text(body.get("model")), "service": service},
        "src_endpoint": {"name": "pairlock"},
        "status_id": _FAILURE if failed else _SUCCESS,
    }


def _authorize(event: Event, entry: Entry, body: Mapping[str, object]) -> None:
    if entry.type == "session.opened":
        _set_class(event, _AUTHORIZE, 1)
        event |= {"user": {"name": "agent"}, "privileges": [_text(body.get("grant"))]}
        return
    _set_class(event, _AUTHORIZE, _OTHER)
    event |= {
        "activity_name": entry.type,
        "user": {"name": "agent"},
        "privileges": [_text(body.get("action"))],
        "status_id": _SUCCESS if body.get("answer") == "approved" else _FAILURE,
        "status_detail": f"{_text(body.get('answer'))} by {_text(body.get('by'))}",
    }


def _finding(event: Event, entry: Entry, title: str) -> None:
    _set_class(event, _FINDING, 1)
    uid = f"{entry.type}/{entry.seq}"
    event |= {"severity_id": _MEDIUM, "is_alert": True, "finding_info": {"title": title, "uid": uid}}


def _lifecycle(event: Event, entry: Entry) -> None:
    activity = {"sandbox.created": 3, "sandbox.closed": 4}.get(entry.type, _OTHER)
    _set_class(event, _LIFECYCLE, activity)
    if activity == _OTHER:
        event["activity_name"] = entry.type
    event["app"] = {"name": "pairlock", "vendor_name": "pairlock"}


def _files(
    session_id: str, entry: Entry, body: Mapping[str, object], workspace: str | None, version: str
) -> Iterator[Event]:
    uses = body.get("files")
    for number, use in enumerate(uses if isinstance(uses, tuple) else ()):
        fields = _mapping(use)
        path, access = _text(fields.get("path")), _text(fields.get("access"))
        event = _common(session_id, entry, version)
        _set_class(event, _FILE, _FILE_ACTIVITIES.get(access, _OTHER))
        kind = _FOLDER if access == "listed" else _REGULAR
        file: Event = {"name": path.rsplit("/", 1)[-1] or path, "path": path, "type_id": kind}
        digest = _text(fields.get("sha256"))
        if digest:
            file["hashes"] = [{"algorithm_id": 3, "value": digest}]
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
        "severity_id": _CRITICAL,
        "metadata": {
            "version": VERSION,
            "uid": f"{session_id}/{entry.seq}/broken",
            "product": {"name": "pairlock", "vendor_name": "pairlock", "version": version or "0"},
        },
    }
    _set_class(event, _FINDING, 1)
    uid = f"{session_id}/{entry.seq}"
    event["finding_info"] = {"title": "an entry of the ledger does not hold", "uid": uid}
    event["unmapped"] = {"pairlock": {"seq": entry.seq}}
    return event


def _device() -> Event:
    return {"type_id": _OTHER, "type": "container", "name": "sandbox"}


def _milliseconds(at: str) -> int:
    try:
        return int(datetime.fromisoformat(at).timestamp() * 1000)
    except ValueError:
        return 0


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if type(value) is int else 0
