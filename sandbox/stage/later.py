"""Say why a path may run on the user's machine later; the list itself is data of `policies`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

from policies.package_data import default_globs, default_paths


class LaterLabels(Protocol):
    """Says why a path may run on the user's machine later."""

    def label(self, path: str) -> str:
        """Return the reason; an empty text for a path that nothing runs."""
        ...


@dataclass(frozen=True, slots=True)
class DefaultLater:
    """The default lists of what is protected and what is marked, whatever a policy protects itself."""

    def label(self, path: str) -> str:
        """Return why `path` may run later; an empty text when nothing in the lists fits."""
        found = default_globs("protect").find(path) or default_globs("mark").find(path)
        return _reasons()[found.text] if found else ""


@cache
def _reasons() -> dict[str, str]:
    listed = (*default_paths("mark"), *default_paths("protect"))
    return {item.glob.text: item.reason for item in listed}
