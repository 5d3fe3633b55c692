"""The one meaning of a glob over workspace paths, for policies and the stage. URL paths are in `urls`.

A pattern and a path are compared in a folded form: Unicode NFC, case folded, invisible characters dropped,
so that `.ENV`, an NFD name and a name with a zero-width joiner are what they look like; a name of invisible
characters alone stays a name. `*` is any run of characters within one name (a leading dot included), `?` is
one character, `**` as a whole name is any number of names, also none. A pattern with a `/` inside is anchored
at the workspace's root; one without matches at any depth. A slash at the end says nothing. What matches a
folder matches everything beneath it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from policies.errors import BadValueError, RuleAt
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST_PATTERN: Final = 512
LONGEST_PATH: Final = 4096
WORKSPACE: Final = "/workspace"
_REFUSED: Final = frozenset("[]{}\\")


def folded(text: str) -> str:
    """Fold a name or path to the form in which names are compared.

    Args:
        text: A name, path or pattern.

    Returns:
        NFC, case folded, without format characters; a name of nothing else keeps them.
    """
    if text.isascii():
        return text.casefold()
    return "/".join(map(_folded_name, text.split("/")))


def _folded_name(name: str) -> str:
    if name.isascii():
        return name.casefold()
    # A name must not vanish: `a//b` has a part that no `*` and no `**` covers, and what is below it is meant.
    visible = "".join(character for character in name if unicodedata.category(character) != "Cf") or name
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", visible).casefold())


def canonical_path(path: str) -> str:
    """Bring a path that an agent wrote into the one form that rules are matched against.

    Args:
        path: Relative to the workspace, or below `/workspace`.

    Returns:
        The path without `.`, doubled or trailing slashes; `.` for the workspace itself.

    Raises:
        BadValueError: When it is empty, too long, absolute elsewhere, climbs with `..` or holds a NUL.
    """
    if not path or len(path) > LONGEST_PATH or "\0" in path:
        raise BadValueError(f"{quoted(path)} is not a path", hint=f"1 to {LONGEST_PATH} characters, no NUL")
    inside = path
    if path.startswith("/"):
        if path != WORKSPACE and not path.startswith(WORKSPACE + "/"):
            raise BadValueError(f"{quoted(path)} is outside the workspace", hint="use a relative path")
        inside = path.removeprefix(WORKSPACE)
    names = [name for name in inside.split("/") if name not in {"", "."}]
    if ".." in names:
        raise BadValueError(
            f"{quoted(path)} climbs with `..`", hint="name the path from the workspace's root"
        )
    return "/".join(names) or "."


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled pattern over workspace paths.

    Attributes:
        text: The pattern as written.
        at: Where it was written; does not count when two are compared.
        expression: The same as a regular expression over folded paths, linear in the path's length.
    """

    text: str
    at: RuleAt | None = field(default=None, compare=False)
    expression: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Compile the pattern, so that there is none without its meaning."""
        object.__setattr__(self, "expression", _expression(self.text))

    @classmethod
    def parse(cls, text: str, *, at: RuleAt | None = None) -> Glob:
        """Compile a pattern.

        Args:
            text: The pattern.
            at: Where it was written.

        Returns:
            The compiled pattern.

        Raises:
            BadValueError: When it has no meaning here.
        """
        return cls(text, at)

    def matches(self, path: str) -> bool:
        """Tell whether a path, or a folder above it, is meant.

        Args:
            path: A canonical path, relative to the workspace's root.

        Returns:
            True when the pattern covers it.
        """
        return _compiled(self.expression).match(folded(path)) is not None

    def left_at(self, path: str) -> tuple[tuple[str, ...], ...]:
        """Say what below a path is meant because of the names in that path.

        Args:
            path: A canonical path, relative to the workspace's root.

        Returns:
            What is left of the pattern, name by name; empty names where it covers the path itself.
        """
        if self.matches(path):
            return ((),)
        whole = _anchored(self.text)
        if whole[:-1] in {(), ("**",)}:
            return ()
        left = {whole}
        for name in folded(path).split("/"):
            left = {rest for names in left for rest in _left_after(names, name)}
        if whole[0] == "**":
            left.discard(whole)  # meant anywhere, whatever the path is called
        return tuple(sorted(left))

    def above(self) -> tuple[Glob, ...]:
        """Return the patterns of the folders above what this one means, as far as it names them."""
        whole = _anchored(self.text)
        return tuple(
            Glob("/".join(whole[:end]) + ("/**" if end == 1 else ""))
            for end in range(1, len(whole))
            if whole[end - 1] != "**"
        )


class GlobSet:
    """Several patterns, asked at once: whole names in a set, patterns of names and the rest together."""

    __slots__ = ("_named", "_names", "_rooted", "globs")

    def __init__(self, globs: Iterable[Glob]) -> None:
        self.globs = tuple(globs)
        split = [(glob, _names(glob.text)) for glob in self.globs]
        single = [names[0] for _, names in split if len(names) == 1]
        self._names = frozenset(name for name in single if not _is_wild(name))
        self._named = _any_of(_segment(name) for name in single if _is_wild(name))
        self._rooted = _any_of(glob.expression for glob, names in split if len(names) > 1)

    def find(self, path: str) -> Glob | None:
        """Find the first pattern that covers a path.

        Args:
            path: A canonical path, relative to the workspace's root.

        Returns:
            The pattern, or None.
        """
        name = folded(path)
        if not self._covers(name):
            return None
        return next((glob for glob in self.globs if _compiled(glob.expression).match(name)), None)

    def _covers(self, path: str) -> bool:
        names = path.split("/")
        if not self._names.isdisjoint(names):
            return True
        if self._named is not None and any(map(self._named.fullmatch, names)):
            return True
        return self._rooted is not None and self._rooted.match(path) is not None


def _anchored(text: str) -> tuple[str, ...]:
    """Return a pattern's names from the root, without a last `**`, which says nothing."""
    names = _names(text)
    names = names if len(names) > 1 else ["**", *names]
    while names[-1] == "**":
        names.pop()
    return tuple(names)


def _left_after(names: tuple[str, ...], name: str) -> Iterator[tuple[str, ...]]:
    if not names:
        yield names
    elif names[0] == "**":
        yield names
        yield from _left_after(names[1:], name)
    elif _compiled(_segment(names[0])).fullmatch(name):
        yield names[1:]


def _is_wild(name: str) -> bool:
    return "*" in name or "?" in name


def _any_of(expressions: Iterable[str]) -> re.Pattern[str] | None:
    together = "|".join(expressions)
    return _compiled(together) if together else None


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.DOTALL)


@lru_cache(maxsize=4096)
def _expression(text: str) -> str:
    names = _names(text)
    anchored = len(names) > 1
    chunks = _chunks(names if anchored else ["**", names[0]])
    leading = chunks[0]
    # The very end: `$` would stand before a last newline too, and `.env\n` is another file than `.env`.
    parts = ["/".join(_segment(name) for name in leading) + r"(?=/|\Z)" if leading else ""]
    for chunk in chunks[1:]:
        if not chunk:
            continue  # a trailing `**`: what is beneath is covered anyway
        body = "/".join(_segment(name) for name in chunk)
        opening = "/" if parts[-1] else ""
        # Atomic: the leftmost place is as good as any later one, so nothing is ever tried twice.
        parts.append(rf"{opening}(?>(?:[^/]+/)*?{body}(?=/|\Z))")
    return "".join(parts)


def _chunks(names: list[str]) -> list[list[str]]:
    chunks: list[list[str]] = [[]]
    for name in names:
        if name == "**":
            if len(chunks) == 1 or chunks[-1]:
                chunks.append([])
        else:
            chunks[-1].append(name)
    return chunks


def _names(text: str) -> list[str]:
    trimmed = unicodedata.normalize("NFC", text).rstrip("/") if isinstance(text, str) else ""
    _refuse_nonsense(text, trimmed)
    names = trimmed.split("/")
    if any(name in {"", ".", ".."} for name in names):
        raise BadValueError(
            f"glob {quoted(text)} has an empty, `.` or `..` name", hint="write it from the workspace's root"
        )
    if any("**" in name and name != "**" for name in names):
        raise BadValueError(f"glob {quoted(text)} has `**` inside a name", hint="`**` stands between slashes")
    if set(names) == {"**"}:
        raise BadValueError(f"glob {quoted(text)} means every path", hint="`**/*` says it in writing")
    return [folded(name) for name in names]


def _refuse_nonsense(text: str, trimmed: str) -> None:
    if not trimmed or len(text) > LONGEST_PATTERN:
        raise BadValueError(f"{quoted(text)} is not a glob", hint=f"1 to {LONGEST_PATTERN} characters")
    if trimmed.startswith(("/", "!", "~")):
        raise BadValueError(
            f"glob {quoted(text)} begins with `{trimmed[0]}`",
            hint="globs are relative to the workspace's root",
        )
    if refused := sorted(_REFUSED & set(trimmed)):
        raise BadValueError(
            f"glob {quoted(text)} has `{refused[0]}`",
            hint="only `*`, `?` and `**` are special; use `?` instead",
        )
    if any(unicodedata.category(character) in {"Cc", "Cf"} for character in trimmed):
        raise BadValueError(f"glob {quoted(text)} has an invisible character", hint="use `?` for it")


def _segment(name: str) -> str:
    pieces = [_literal(piece) for piece in re.split(r"\*+", name)]
    if len(pieces) == 1:
        return pieces[0] if name else "[^/]*"
    middle = "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:-1] if piece)
    one = "(?=[^/])" if not "".join(pieces) else ""
    return f"{one}{pieces[0]}{middle}[^/]*{pieces[-1]}"


def _literal(piece: str) -> str:
    return "".join("[^/]" if character == "?" else re.escape(character) for character in piece)
