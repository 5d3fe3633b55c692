"""What every event of the Open Cybersecurity Schema Framework has: class, metadata, what was decided."""

from collections.abc import Mapping
from datetime import datetime

from audit.summary import reasons

VERSION = "1.8.0"
OTHER = 99
INFORMATIONAL, LOW, MEDIUM, CRITICAL = 1, 2, 3, 5
SUCCESS, FAILURE = 1, 2
_ALLOWED, _DENIED = 1, 2

Event = dict[str, object]


def metadata(session_id: str, uid: str, version: str) -> Event:
    """Return where an event comes from.

    Args:
        session_id: The session's id.
        uid: What the event is called, within the session.
        version: The version of pairlock that exports.
    """
    return {
        "version": VERSION,
        "uid": f"{session_id}/{uid}",
        "correlation_uid": session_id,
        "product": {"name": "pairlock", "vendor_name": "pairlock", "version": version or "0"},
        "log_name": "ledger",
    }


def set_class(event: Event, kind: tuple[int, int], activity: int) -> None:
    """Say of which class an event is: `kind` is its `class_uid` and `category_uid`."""
    class_uid, category_uid = kind
    event |= {
        "class_uid": class_uid,
        "category_uid": category_uid,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
    }


def set_verdict(event: Event, body: Mapping[str, object]) -> None:
    """Say what was decided, in the attributes of the `security_control` profile."""
    verdict = body.get("verdict")
    if verdict is None:
        return
    told = event["metadata"]
    if isinstance(told, dict):
        told["profiles"] = ["security_control"]
    decided = {
        "denied": {"action_id": _DENIED, "disposition_id": 2, "status_id": FAILURE, "severity_id": LOW},
        "allowed": {"action_id": _ALLOWED, "disposition_id": 1, "status_id": SUCCESS},
    }
    event |= decided.get(text(verdict), {"action_id": 0, "disposition_id": 0})
    event["status_detail"] = "; ".join([text(verdict), *reasons(body)])


def milliseconds(at: str) -> int:
    """Return a time as the ledger spells it in milliseconds since 1970; 0 for what is none."""
    try:
        return int(datetime.fromisoformat(at).timestamp() * 1000)
    except ValueError:
        return 0


def mapping(value: object) -> Mapping[str, object]:
    """Return the fields of a body; none where it has no fields."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str:
    """Return a text; an empty one where it is none."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int:
    """Return a whole number; 0 where it is none."""
    return value if type(value) is int else 0
