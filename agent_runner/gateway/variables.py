"""Tell agents where a model's APIs are, by the variables that they read. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox.guest.doors import PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

MAIN: Final = "main"
SMALL: Final = "small"
ORIGIN: Final = f"http://127.0.0.1:{PORT}"
NO_KEY: Final = "the-key-is-on-the-host"
"""What SDKs want to have; the gateway looks at no key."""
_OPENAI_URLS: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
_KEYS: Final = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
_MODELS: Final = (
    "OPENAI_MODEL",
    "ANTHROPIC_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
)
_SMALL_MODELS: Final = ("ANTHROPIC_DEFAULT_HAIKU_MODEL", "ANTHROPIC_SMALL_FAST_MODEL")
_QUIET: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    "CLAUDE_CODE_EXTRA_BODY": '{"betas": null}',  # takes the place of the betas that no switch turns off
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
"""What keeps agents from servers and fields that are not there; each is refused anyway."""


def model_environment(at_terminal: bool) -> Mapping[str, str]:  # noqa: FBT001 - the one thing that differs
    """Return the variables.

    Args:
        at_terminal: Whether the command has a terminal, on which it may draw.
    """
    return {
        **dict.fromkeys(_OPENAI_URLS, f"{ORIGIN}/v1"),
        "ANTHROPIC_BASE_URL": ORIGIN,
        **dict.fromkeys(_KEYS, NO_KEY),
        **dict.fromkeys(_MODELS, MAIN),
        **dict.fromkeys(_SMALL_MODELS, SMALL),
        **_QUIET,
        **({"TERM": "xterm-256color"} if at_terminal else {}),
    }
