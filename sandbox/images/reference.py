"""Read the name of an image: registry, repository, tag and digest; pure.

The grammar is that of the distribution project's `reference` package, as far as policies may write it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sandbox.images.errors import ImageNameError

OURS: Final = "pairlock"
"""Images of this name are made on the machine; no registry is ever asked for one."""
_DEFAULT: Final = frozenset({"docker.io", "index.docker.io"})
"""Registries that the engine takes away from a name: `docker.io/pairlock/x` is `pairlock/x` to it."""
_ID: Final = re.compile(r"(sha256:)?[0-9a-f]{64}")
_PART: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"(?:(?P<registry>localhost(?::[0-9]{{1,5}})?|[a-z0-9.-]+(?:\.[a-z0-9.-]+|:[0-9]{{1,5}}))/)?"
    rf"(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a policy calls an image."""

    text: str
    """As written."""
    registry: str
    """Host and port; empty for the engine's own default, also where that was written."""
    repository: str
    """The name in the registry; empty for an image that is named by its id."""
    tag: str
    """`latest` where neither tag nor digest was written; empty beside a digest or an id."""
    digest: str
    """`sha256:…`, of the manifest in a registry; empty for a name that may move."""
    image_id: str
    """`sha256:…`, of the image itself, where nothing else was written."""

    @property
    def moves(self) -> bool:
        """Whether the name may stand for another image tomorrow."""
        return not (self.digest or self.image_id)

    @property
    def ours(self) -> bool:
        """Whether pairlock makes images of this name itself."""
        return not self.registry and self.repository.removeprefix("library/").split("/")[0] == OURS

    @property
    def fetchable(self) -> bool:
        """Whether a registry may be asked for it."""
        return bool(self.repository) and not self.ours

    @property
    def name(self) -> str:
        """The name without tag and digest."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    @property
    def version(self) -> str:
        """The digest, or else the tag: what a registry is asked for beside the name."""
        return self.digest or self.tag


def parse_reference(text: str) -> Reference:
    """Read an image's name.

    Raises:
        ImageNameError: When it is none.
    """
    if _ID.fullmatch(text):
        return Reference(
            text=text,
            registry="",
            repository="",
            tag="",
            digest="",
            image_id=f"sha256:{text.removeprefix('sha256:')}",
        )
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ImageNameError(text)
    digest = match["digest"] or ""
    registry = match["registry"] or ""
    return Reference(
        text=text,
        registry="" if registry in _DEFAULT else registry,
        repository=match["repository"],
        tag="" if digest else match["tag"] or "latest",
        digest=digest,
        image_id="",
    )
