"""What is told of the conversation with a model."""

from typing import Literal

from audit.fields import Commitment, Count, Event, Text, ToolCall


class MessageAdded(Event):
    """A message that entered the conversation and is neither a model's answer nor an action's outcome."""

    kind = "message.added"
    role: Literal["system", "user", "tool"]
    content: Commitment
    call: Text = ""
    """The model's id of the call that it answers; empty where it answers none."""


class ModelAsked(Event):
    """A request to a model."""

    kind = "model.asked"
    turn: Count
    backend: Text
    model: Text
    messages: Commitment
    message_count: Count
    attempt: Count = 1
    """Counted from 1."""


class ModelAnswered(Event):
    """An answer of a model."""

    kind = "model.answered"
    turn: Count
    backend: Text
    model: Text
    text: Commitment | None
    tool_calls: tuple[ToolCall, ...]
    input_tokens: Count
    """Cached ones included."""
    output_tokens: Count
    cached_tokens: Count
    """By the server's own count; 0 when it does not say."""
    duration_ms: Count
    first_token_ms: Count | None = None
    stop: Text = ""
    """Why the model stopped, in the backend's word."""
    cost_micros: Count = 0
    """Millionths of a US dollar."""
    raw: Commitment | None = None
    """What else the backend must be given back for the next turn."""


class ModelFailed(Event):
    """A request that brought no answer."""

    kind = "model.failed"
    turn: Count
    backend: Text
    model: Text
    error: Text
    attempt: Count
    duration_ms: Count
    will_retry: bool
