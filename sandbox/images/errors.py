"""Name what can go wrong while an image is fetched, looked at or made; nothing here does either."""

from __future__ import annotations

from sandbox.errors import SandboxError


class ImageNameError(SandboxError):
    """Raised when a text is not the name of an image.

    Args:
        name: The text.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"`{name[:80]}` is not the name of an image",
            hint="as in `pairlock/starter`, `registry.example/name:tag` or `name@sha256:…`",
        )
        self.name = name


class ImagePullError(SandboxError):
    """Raised when a registry did not give an image.

    Args:
        name: The image.
        why: What the engine says of it.
        hint: What the reader can do about it.
    """

    def __init__(self, name: str, why: str, *, hint: str) -> None:
        super().__init__(f"image `{name}` could not be pulled: {why}", hint=hint)
        self.name = name
        self.why = why


class BuildTreeError(SandboxError):
    """Raised when what a build session hands out is not a tree that an image may be made of.

    Args:
        why: The rule that it breaks.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"what was built cannot become an image: {why}")
        self.why = why
