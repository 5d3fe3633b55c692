"""Check an event against the schema's own rules: attributes, types, enumerations, constraints, profiles.

What the schema says is in ``ocsf/schema-1.8.0.json``; this is how it is read. An attribute is spelled as its
type, or the object that it holds, with ``required`` and ``array`` where it is, and the numbers it may be.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "ocsf" / "schema-1.8.0.json").read_text("utf-8"))
HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


def problems(event: Mapping[str, Any]) -> list[str]:
    """Return what of an event breaks a rule of its class; nothing when it keeps them all."""
    kind = SCHEMA["classes"].get(str(event.get("class_uid")))
    if kind is None:
        return [f"class_uid: {event.get('class_uid')}"]
    profiles = event.get("metadata", {}).get("profiles", [])
    unknown = [f"metadata.profiles: {name}" for name in profiles if name not in SCHEMA["profiles"]]
    added = [SCHEMA["profiles"][name] for name in profiles if name in SCHEMA["profiles"]]
    attributes = SCHEMA["base"] | kind["attributes"]
    for profile in added:
        attributes |= {name: rule for name, rule in profile.items() if name not in attributes}
    whole = {"attributes": attributes, "at_least_one": kind.get("at_least_one", ())}
    return [*unknown, *_classified(event, kind), *_object("", event, whole)]


def _classified(event: Mapping[str, Any], kind: Mapping[str, Any]) -> Iterator[str]:
    activity, class_uid = event.get("activity_id"), event["class_uid"]
    if activity not in kind["activities"]:
        yield f"activity_id: {activity}"
    elif event.get("type_uid") != class_uid * 100 + activity:
        yield f"type_uid: {event.get('type_uid')}"
    if event.get("category_uid") != class_uid // 1000:
        yield f"category_uid: {event.get('category_uid')}"
    if event.get("metadata", {}).get("version") != SCHEMA["version"]:
        yield "metadata.version"


def _object(place: str, value: object, rules: Mapping[str, Any]) -> Iterator[str]:
    """Yield what breaks a rule of an object; one without attributes may hold anything."""
    if not isinstance(value, Mapping):
        yield f"{place or 'event'}: no object"
        return
    attributes = rules.get("attributes")
    if attributes is None:
        return
    for name, rule in attributes.items():
        if "required" in rule.split() and name not in value:
            yield f"{place}{name}: missing"
    for name, held in value.items():
        if name not in attributes:
            yield f"{place}{name}: unknown"
        else:
            yield from _attribute(f"{place}{name}", held, attributes[name].split())
            yield from _named(place, name, value, attributes)
    if (some := rules.get("at_least_one")) and not value.keys() & set(some):
        yield f"{place or 'event'}: none of {', '.join(some)}"


def _named(place: str, name: str, value: Mapping[str, Any], attributes: Mapping[str, str]) -> Iterator[str]:
    """Yield an identifier of `99`, which is `Other`, whose own name is not said beside it."""
    sibling = "activity_name" if name == "activity_id" else name.removesuffix("_id")
    if name.endswith("_id") and value[name] == 99 and sibling in attributes and not value.get(sibling):
        yield f"{place}{sibling}: missing beside 99"


def _attribute(place: str, value: object, rule: list[str]) -> Iterator[str]:
    kind, *words = rule
    allowed = {int(word) for word in words if word.isdecimal()}
    if "array" in words:
        if not isinstance(value, list):
            yield f"{place}: no array"
            return
        for number, item in enumerate(value):
            yield from _attribute(f"{place}[{number}]", item, [kind])
    elif kind in SCHEMA["objects"]:
        yield from _object(f"{place}.", value, SCHEMA["objects"][kind])
    elif not TYPES[kind](value) or (allowed and value not in allowed):
        yield f"{place}: {value!r}"


def _is_whole(value: object) -> bool:
    return type(value) is int


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_address(value: object) -> bool:
    try:
        return bool(ipaddress.ip_address(str(value)))
    except ValueError:
        return False


def _is_port(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= 65535


def _is_hostname(value: object) -> bool:
    return isinstance(value, str) and HOSTNAME.fullmatch(value) is not None


TYPES: dict[str, Callable[[object], bool]] = {
    "boolean_t": lambda value: isinstance(value, bool),
    "file_hash_t": _is_text,
    "file_name_t": _is_text,
    "file_path_t": _is_text,
    "hostname_t": _is_hostname,
    "integer_t": _is_whole,
    "ip_t": _is_address,
    "long_t": _is_whole,
    "port_t": _is_port,
    "process_name_t": _is_text,
    "string_t": _is_text,
    "timestamp_t": _is_whole,
    "username_t": _is_text,
}
