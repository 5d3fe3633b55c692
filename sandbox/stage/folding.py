"""Ask a matcher about a path in every spelling that some filesystem takes for the same name."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.stage.layout import PathMatcher


def matched(matcher: PathMatcher, path: str) -> bool:
    """Tell whether `path`, or what a case-blind or normalising filesystem would take it for, matches.

    `.Git/hooks/x` runs as `.git/hooks/x` on a Mac or on a folder with casefold; so does one with an invisible
    character in it on HFS+ (CVE-2014-9390).
    """
    if matcher.matches(path):
        return True
    folded = fold(path)
    return folded != path and matcher.matches(folded)


def fold(path: str) -> str:
    """Return `path` in lower case, compatibility-normalised, without invisible characters."""
    if path.isascii():
        return path.lower()
    visible = "".join(c for c in path if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", visible).casefold()
