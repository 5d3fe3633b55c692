"""Ask the Public Suffix List, which a library carries; nothing is fetched, and it is read when asked."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources


def spans_owners(name: str) -> bool:
    """Tell whether names below one can belong to different owners.

    Args:
        name: A canonical host.

    Returns:
        True for a top-level name, a public suffix (private registries such as `github.io` included) and a
            name below which a public suffix lies, such as `amazonaws.com`.
    """
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - only a wildcard or a check pays for it

    entries = _entries(name.rpartition(".")[2])
    if any(entry.rpartition("*.")[2].endswith(f".{name}") for entry in entries):
        return True
    return PublicSuffixList(entries).is_public(name)


@lru_cache(maxsize=16)
def _entries(top: str) -> tuple[str, ...]:
    """Return the list's entries below one top-level name: all together take longer to read than a policy."""
    text = resources.files("publicsuffixlist").joinpath("public_suffix_list.dat").read_text(encoding="utf-8")
    shown = top.encode().decode("idna") if top.startswith("xn--") else top
    found: list[str] = re.findall(rf"^(?:[^/\s]+\.)?{re.escape(shown)}$", text, re.MULTILINE)
    return tuple(entry if entry.isascii() else _in_ascii(entry) for entry in found)


def _in_ascii(entry: str) -> str:
    labels = entry.split(".")
    return ".".join(label if label.isascii() else label.encode("idna").decode() for label in labels)
