"""Read the format that an agent wants of a reply, from a closed schema: JSON, by a schema of its own or any.

It changes what a model says and nothing that its server does; a grammar or another kind of format is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_runner.backends.reply_format import NAMELESS, ReplyFormat
from agent_runner.gateway import schema
from agent_runner.gateway.asked import RefusedRequestError, capability

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED: Final = frozenset({"name", "description", "schema", "strict"})
_TYPE: Final = frozenset({"type"})


def chat_format(value: object) -> ReplyFormat | None:
    """Return the `response_format` of chat completions; None for text.

    Raises:
        RefusedRequestError: When it is anything else than text or JSON.
    """
    given = schema.fields(value, "response_format", taken=_TYPE | {"json_schema"}, left=frozenset())
    if given.get("type") == "json_schema":
        inner = given.get("json_schema")
        return _by_schema(schema.fields(inner, "json_schema", taken=_NAMED, left=frozenset()))
    return _without_schema(schema.fields(value, "response_format", taken=_TYPE, left=frozenset()))


def responses_format(value: object) -> ReplyFormat | None:
    """Return the `text.format` of responses; None for text.

    Raises:
        RefusedRequestError: When it is anything else than text or JSON.
    """
    given = schema.fields(value, "text.format", taken=_TYPE | _NAMED, left=frozenset())
    if given.get("type") == "json_schema":
        return _by_schema(given)
    return _without_schema(schema.fields(value, "text.format", taken=_TYPE, left=frozenset()))


def messages_format(value: object) -> ReplyFormat:
    """Return the `output_config.format` of messages.

    Raises:
        RefusedRequestError: When it is anything else than JSON by a schema.
    """
    given = schema.fields(value, "output_config.format", taken=_TYPE | {"schema"}, left=frozenset())
    if given.get("type") != "json_schema":
        raise _unknown(given)
    return _by_schema({**given, "name": NAMELESS})


def _without_schema(given: Mapping[str, object]) -> ReplyFormat | None:
    if given.get("type") == "text":
        return None
    if given.get("type") == "json_object":
        return ReplyFormat()
    raise _unknown(given)


def _by_schema(given: Mapping[str, object]) -> ReplyFormat:
    wanted = given.get("schema")
    if wanted is None:
        raise RefusedRequestError("a format of type `json_schema` has no schema")
    described = schema.described(given.get("name"), given.get("description"), wanted, what="format")
    strict = given.get("strict", False)
    if not isinstance(strict, bool):
        raise RefusedRequestError("the `strict` of a format is neither true nor false")
    return ReplyFormat(described=described, strict=strict)


def _unknown(given: Mapping[str, object]) -> RefusedRequestError:
    return capability(f"a format of type `{str(given.get('type'))[:80]}`")
