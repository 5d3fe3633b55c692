"""JSON Schemas of the files, for editors; looser than the parser, which also knows grammars and sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic.json_schema import GenerateJsonSchema

from policies.canonical import plain
from policies.ceiling import Ceiling
from policies.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from policies.canonical import Plain

Document = Literal["policy", "ceiling"]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(document: Document) -> Mapping[str, Plain]:
    """Make the schema of a file.

    Args:
        document: Which file.

    Returns:
        A JSON Schema of draft 2020-12, as plain values.
    """
    return schema_of(_models()[document], title=f"pairlock {document}")


def schema_of(model: type[BaseModel], *, title: str) -> Mapping[str, Plain]:
    """Make the schema of a file that is a model.

    Args:
        model: What the file has to be.
        title: What the schema calls it.

    Returns:
        A JSON Schema of draft 2020-12, as plain values.
    """
    schema = model.model_json_schema(mode="validation", schema_generator=_Generator)
    return {
        "$schema": _DIALECT,
        **{key: _tidied(item) for key, item in schema.items()},
        "title": title,
    }


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: object) -> Plain:
        """Write a default as a file would hold it."""
        return plain(dft)


def _models() -> dict[Document, type[BaseModel]]:
    return {"policy": Policy, "ceiling": Ceiling}


def _tidied(value: Plain) -> Plain:
    match value:
        case dict():
            return {
                key: _tidied(item)
                for key, item in value.items()
                if not (key == "title" and isinstance(item, str))
            }
        case list():
            return [_tidied(item) for item in value]
        case _:
            return value
