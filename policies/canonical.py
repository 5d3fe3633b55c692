"""Write a policy down in one way only: the same meaning gives the same bytes, and can be read again."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

from policies.capability import in_order
from policies.grant import Grant
from policies.leaves import Programs
from policies.units import Bytes, Count, Seconds
from policies.wording import is_unseen

if TYPE_CHECKING:
    from ruamel.yaml.nodes import ScalarNode

    from policies.policy import Policy

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]
_TALK = frozenset({"name", "description", "extends", "expect"})
_ORDERED = frozenset({"grant", "expect"})


def plain(value: object) -> Plain:  # noqa: PLR0911 - one line for each kind of value
    """Turn a policy or a part of one into plain values.

    Args:
        value: A block, a leaf, a list or a mapping.

    Returns:
        The same as YAML or JSON would hold it: absent settings left out, lists sorted: order
            says nothing.
    """
    match value:
        case BaseModel():
            return _fields(value)
        case Grant():
            return [*in_order(value.capabilities)]
        case Programs():
            return "any" if value.any_program else [*sorted(value.names)]
        case Bytes() | Seconds():
            return value.text
        case Count():
            return int(value)
        case Mapping():
            return {str(key): plain(item) for key, item in sorted(value.items())}
        case tuple() | list():
            return _sorted([plain(item) for item in value])
        case float():
            return int(value) if value.is_integer() else value
        case str() | int() | None:
            return value
        case _:
            return str(value.text)  # type: ignore[attr-defined]  # every other leaf is a pattern with its text


def _fields(block: BaseModel) -> dict[str, Plain]:
    items = ((name, getattr(block, name)) for name in type(block).model_fields)
    return {name: plain(item) for name, item in items if item is not None}


def _sorted(items: list[Plain]) -> list[Plain]:
    unique = {json.dumps(item, sort_keys=True): item for item in items}
    return [unique[key] for key in sorted(unique)]


def canonical_bytes(policy: Policy) -> bytes:
    """Write what a policy means as canonical JSON.

    Args:
        policy: A resolved policy.

    Returns:
        JSON with sorted keys and no spaces; name, description and expectations left out.
    """
    meaning = {name: item for name, item in _fields(policy).items() if name not in _TALK}
    return json.dumps(meaning, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest_of(policy: Policy) -> str:
    """Hash what a policy means.

    Args:
        policy: A resolved policy.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(canonical_bytes(policy)).hexdigest()


def canonical_text(policy: Policy) -> str:
    """Write a resolved policy as YAML for people.

    Args:
        policy: A resolved policy.

    Returns:
        Text that parses to an equal policy.
    """
    fields = {
        name: item
        for name, item in _fields(policy).items()
        if name not in {"extends", "expect"} and item not in ([], {})
    }
    text = _as_yaml(fields, with_letters=True)
    # What a reviewer cannot see is refused when it stands in a file, and read when it is escaped.
    unseen = any(is_unseen(character) for character in text.replace("\n", ""))
    return _as_yaml(fields, with_letters=False) if unseen else text


def _as_yaml(fields: dict[str, Plain], *, with_letters: bool) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415 - only who writes a policy pays for the emitter
    from ruamel.yaml.representer import SafeRepresenter  # noqa: PLC0415 - likewise

    class Representer(SafeRepresenter):
        def represent_str(self, data: str) -> ScalarNode:
            # In `[?a]` and `[: a]` the library's own scanner takes the first character for a mark of its own.
            style = None if data[:1].isalnum() else "'"
            return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Representer.add_representer(str, Representer.represent_str)
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = Representer
    yaml.allow_unicode = with_letters
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # the library's types say None only
    yaml.width = 100
    out = io.StringIO()
    yaml.dump(fields, out)
    return out.getvalue()
