"""Write docs/policy-reference.md from the models, so that it cannot say anything else than they do."""

from __future__ import annotations

import json
import sys
from importlib import resources
from typing import TYPE_CHECKING

from policies.package_data import default_paths
from policies.schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from policies.canonical import Plain
    from policies.package_data import Section
    from policies.schema import Document


def reference() -> str:
    """Write the reference.

    Returns:
        Markdown.
    """
    intro = resources.files("policies").joinpath("data", "reference.md").read_text(encoding="utf-8")
    lines = [
        *_document("policy", "The policy file"),
        *_document("ceiling", "The operator's ceiling"),
        *_defaults("hide", "Hidden by default"),
        *_defaults("visible", "Visible all the same"),
        *_defaults("protect", "Protected by default"),
        *_defaults("removable", "Protected, and removed all the same"),
        *_defaults("mark", "Marked in a review"),
    ]
    return intro + "\n".join(lines) + "\n"


def _document(document: Document, title: str) -> Iterator[str]:
    schema = json_schema(document)
    yield f"## {title}"
    yield ""
    yield from _table(schema)
    definitions = schema.get("$defs")
    if not isinstance(definitions, dict):
        return
    for name, block in definitions.items():
        if isinstance(block, dict):
            yield f"### {name}"
            yield ""
            yield str(block.get("description", ""))
            yield ""
            yield from _table(block)


def _table(block: Mapping[str, Plain]) -> Iterator[str]:
    properties = block.get("properties")
    yield "| key | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in properties.items() if isinstance(properties, dict) else ():
        if isinstance(field, dict):
            cells = (
                f"`{name}`",
                _shape(field),
                _default(field, name, block),
                str(field.get("description", "")),
            )
            yield f"| {' | '.join(cells)} |"
    yield ""


def _default(field: Mapping[str, Plain], name: str, block: Mapping[str, Plain]) -> str:
    required = block.get("required")
    if isinstance(required, list) and name in required:
        return "required"
    value = field.get("default")
    if value is None:
        return "absent"
    if isinstance(value, dict):
        return "as in the block" if value else "empty"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _shape(field: Mapping[str, Plain]) -> str:  # noqa: PLR0911 - one line for each shape of a schema
    match field:
        case {"const": constant}:
            return f"`{constant}`"
        case {"enum": list(words)}:
            return ", ".join(f"`{word}`" for word in words)
        case {"$ref": str(target)}:
            name = target.rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        case {"anyOf": list(choices)}:
            shapes = [
                _shape(choice)
                for choice in choices
                if isinstance(choice, dict) and choice.get("type") != "null"
            ]
            return " or ".join(shapes)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_shape(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"names, each with a {_shape(values)}"
        case {"type": "string", "pattern": str(pattern)} if "iB" in pattern:
            return "size"
        case {"type": "string", "pattern": str(pattern)} if "smhd" in pattern:
            return "duration"
        case {"type": kind}:
            return {"string": "text", "integer": "number", "boolean": "true or false"}.get(
                str(kind), str(kind)
            )
        case _:
            return ""


def _defaults(section: Section, title: str) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| glob | why |"
    yield "| --- | --- |"
    for item in default_paths(section):
        yield f"| `{item.glob.text}` | {item.reason} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(reference())
