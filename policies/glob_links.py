"""Say what globs mean behind symlinks: what a path that a glob covers leads to is covered, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from policies.globs import LONGEST_PATTERN, Glob, folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MOST_GLOBS: Final = 1000
"""How many globs are found behind symlinks; where there are more, everything is covered."""
EVERYTHING: Final = Glob("**/*")


def pattern_of(path: str) -> str:
    """Write a path as a glob that means it; what a glob cannot hold is any one character."""
    seen = path if path.isascii() else folded(path)
    text = "".join("?" if each in "[]{}\\*" or not each.isprintable() else each for each in seen)
    return f"?{text[1:]}" if text.startswith(("!", "~")) else text


def behind(glob: Glob, link: str, places: Iterable[str]) -> Iterator[Glob]:
    """Yield globs that mean at places what a glob means at and below a symlink that leads there.

    Args:
        glob: The glob.
        link: Where the symlink is, relative to the workspace.
        places: Where it leads, relative to the workspace; empty for the workspace itself.
    """
    if lefts := glob.left_at(link):
        for place in places:
            for left in lefts:
                yield _at(place, left)


def _at(place: str, left: tuple[str, ...]) -> Glob:
    names = [*filter(None, [pattern_of(place) if place else ""]), *left]
    while len("/".join(names)) > LONGEST_PATTERN - 3:
        names = "/".join(names).split("/")[:-1]  # what lies above means more
    if set(names) <= {"**"}:
        return EVERYTHING
    # One name alone would be meant at any depth.
    text = "/".join(names)
    return Glob(text if "/" in text else f"{text}/**")


def reaching(globs: Iterable[Glob]) -> tuple[Glob, ...]:
    """Return globs, and those of every folder above what they mean: where a symlink could lead to it."""
    return tuple({each.text: each for glob in globs for each in (glob, *glob.above())}.values())


def all_behind(
    globs: Iterable[Glob], links: Callable[[tuple[Glob, ...]], Iterable[tuple[str, Iterable[str]]]]
) -> tuple[Glob, ...]:
    """Return what globs mean behind symlinks, through any number of them.

    Args:
        globs: The globs.
        links: Returns the symlinks at, below or above what some globs mean, each with every place that it
            leads to.

    Returns:
        The globs that are found, without those that were given.
    """
    known = {glob.text for glob in globs}
    found: list[Glob] = []
    fresh = tuple(globs)
    while fresh:
        more: dict[str, Glob] = {}
        for link, places in links(fresh):
            there = tuple(places)
            for each in (each for glob in fresh for each in behind(glob, link, there)):
                more.setdefault(each.text, each)
            if len(found) + len(more) > MOST_GLOBS:
                return (EVERYTHING,)
        fresh = tuple(each for text, each in more.items() if text not in known)
        known.update(more)
        found += fresh
    return tuple(found)
