"""Make text of what a tool of a configured MCP server answers; what is no text is described."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mcp.types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from cli_tools.command import Outcome

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock, TextResourceContents


def outcome_of(result: CallToolResult) -> Outcome:
    """Return a tool's answer as a command's outcome; an answer in values alone is their JSON."""
    parts = [_shown(part) for part in result.content]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return Outcome(exit_code=1 if result.is_error else 0, output="\n".join(parts).encode("utf-8", "replace"))


def _shown(part: ContentBlock) -> str:
    match part:
        case TextContent():
            return part.text
        case ImageContent() | AudioContent():
            return _described(part.type, part.mime_type, part.data)
        case ResourceLink():
            return f"(a link to `{part.name}`, which is not followed: {part.uri})"
        case EmbeddedResource():
            return _held(part.resource)


def _held(resource: TextResourceContents | BlobResourceContents) -> str:
    if isinstance(resource, BlobResourceContents):
        return _described(resource.uri, resource.mime_type or "", resource.blob)
    return f"({resource.uri})\n{resource.text}"


def _described(name: str, kind: str, base64: str) -> str:
    size = len(base64.rstrip("=")) * 3 // 4
    return f"({name} that is not text: {f'{kind}, ' if kind else ''}{size} bytes)"
