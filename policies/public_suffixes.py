"""Ask the Public Suffix List, which a library carries; nothing is fetched, and it is read when asked."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


def spans_owners(name: str) -> bool:
    """Tell whether names below one can belong to different owners.

    Args:
        name: A canonical host.

    Returns:
        True for a top-level name, a public suffix (private registries such as `github.io` included) and a
            name below which a public suffix lies, such as `amazonaws.com`.
    """
    entries, suffixes = _below(name.rpartition(".")[2])
    return any(entry.endswith(f".{name}") for entry in entries) or suffixes.is_public(name)


@lru_cache(maxsize=16)
def _below(top: str) -> tuple[tuple[str, ...], PublicSuffixList]:
    """Return the list's entries below one top-level name: all together take longer to read than a policy."""
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - only a wildcard or a check pays for it

    text = resources.files("publicsuffixlist").joinpath("public_suffix_list.dat").read_text(encoding="utf-8")
    try:
        shown = top.encode().decode("idna")
    except UnicodeError:
        shown = top  # it is no name at all; the list holds none that is written so
    found: list[str] = re.findall(rf"^(?:[^/\s]+\.)?{re.escape(shown)}$", text, re.MULTILINE)
    entries = tuple(entry if entry.isascii() else _in_ascii(entry) for entry in found)
    return entries, PublicSuffixList(entries)


def _in_ascii(entry: str) -> str:
    labels = entry.split(".")
    return ".".join(label if label.isascii() else label.encode("idna").decode() for label in labels)
