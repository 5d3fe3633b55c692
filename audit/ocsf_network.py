"""What crossed the egress gate, as events of the Open Cybersecurity Schema Framework."""

import ipaddress
import re
from collections.abc import Mapping

from audit.escape import escape_line
from audit.ocsf_event import OTHER, Event, count, set_class, set_verdict, text

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
_NETWORK, _HTTP = (4001, 4), (4002, 4)
_OPEN, _CLOSE, _REFUSE = 1, 2, 5
_OUTBOUND = 2
_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_LARGEST_PORT = 65535


def set_connection(event: Event, body: Mapping[str, object], *, opened: bool) -> None:
    """Tell of a connection that was asked for, or of one that has ended."""
    activity = _CLOSE if not opened else _REFUSE if body.get("verdict") == "denied" else _OPEN
    set_class(event, _NETWORK, activity)
    uid = text(body.get("connection"))
    event["connection_info"] = {"uid": uid, "direction_id": _OUTBOUND, "protocol_name": "tcp"}
    event["dst_endpoint"] = _endpoint(body, uid)
    if not opened:
        sent, received = body.get("sent_bytes"), body.get("received_bytes")
        event["traffic"] = {"bytes_out": count(sent), "bytes_in": count(received)}
        event["duration"] = count(body.get("duration_ms"))
    set_verdict(event, body)


def _endpoint(body: Mapping[str, object], uid: str) -> Event:
    """Return where a connection led, as far as its entry says so: the address dialled stands at its end."""
    port, address = count(body.get("port")), text(body.get("address"))
    host = _host(text(body.get("host")))
    told = {**host, "port": port if 0 < port <= _LARGEST_PORT else 0, "uid": uid}
    if _is_address(address):
        told["ip"] = address
    return {name: value for name, value in told.items() if value} or {"name": "unknown"}


def _host(host: str) -> Event:
    """Return a host as the schema knows one: an address, a hostname, or else what somebody called it."""
    if _is_address(host):
        return {"ip": host}
    return {"hostname" if _HOSTNAME.fullmatch(host) else "name": escape_line(host)}


def _is_address(told: str) -> bool:
    try:
        ipaddress.ip_address(told)
    except ValueError:
        return False
    return True


def set_request(event: Event, body: Mapping[str, object]) -> None:
    """Tell of a request within a connection."""
    method = text(body.get("method")).upper()
    set_class(event, _HTTP, _METHODS.get(method, OTHER))
    event["activity_name"] = method or "unknown"
    endpoint = _endpoint(body, text(body.get("connection")))
    url: Event = {name: endpoint[name] for name in ("hostname", "port") if name in endpoint}
    url["path"] = text(body.get("path"))
    event |= {
        "http_request": {"http_method": method, "url": url},
        "dst_endpoint": endpoint,
    }
    if status := count(body.get("status")):
        event["http_response"] = {"code": status}
    set_verdict(event, body)
