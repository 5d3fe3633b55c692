"""Read the lists that ship with the package: usual places of secrets, what the host runs, shared hosts."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal

from policies.errors import RuleAt
from policies.globs import Glob, GlobSet

Section = Literal["hide", "visible", "protect", "removable", "mark"]


@dataclass(frozen=True, slots=True)
class Reasoned:
    """A glob of a default list.

    Attributes:
        glob: The pattern; its place names the list.
        reason: Why it is there, as a phrase.
    """

    glob: Glob
    reason: str


@dataclass(frozen=True, slots=True)
class HostLists:
    """What is known about hosts.

    Attributes:
        suffixes: Names under which each customer has a name of his own, beside the Public Suffix List's.
        private: Top-level names that are on no public network.
        told: Host pattern -> why a stranger learns what it is asked for.
        shared: Host pattern -> why what is sent there can end up with a stranger.
    """

    suffixes: frozenset[str]
    private: frozenset[str]
    told: tuple[tuple[str, str], ...]
    shared: tuple[tuple[str, str], ...]


def _read(name: str) -> str:
    return resources.files("policies").joinpath("data", name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _paths() -> dict[str, dict[str, str]]:
    return tomllib.loads(_read("paths.toml"))


@lru_cache(maxsize=5)
def default_paths(section: Section) -> tuple[Reasoned, ...]:
    """List the default globs of one kind, each with its reason.

    Args:
        section: Which list.

    Returns:
        The globs in the order of the data file.
    """
    return tuple(
        Reasoned(Glob.parse(text, at=RuleAt(f"defaults/{section}", number, 1)), reason)
        for number, (text, reason) in enumerate(_paths()[section].items(), 1)
    )


@lru_cache(maxsize=5)
def default_globs(section: Section) -> GlobSet:
    """Compile a default list.

    Args:
        section: Which list.

    Returns:
        The list, to be asked at once.
    """
    return GlobSet(item.glob for item in default_paths(section))


@lru_cache(maxsize=1)
def kept_globs() -> GlobSet:
    """Compile the default list of what is protected from being removed, too.

    Returns:
        What is protected, without what is removable.
    """
    removable = {item.glob.text for item in default_paths("removable")}
    return GlobSet(item.glob for item in default_paths("protect") if item.glob.text not in removable)


@lru_cache(maxsize=1)
def host_lists() -> HostLists:
    """Read what is known about hosts.

    Returns:
        The lists.
    """
    data = tomllib.loads(_read("hosts.toml"))
    return HostLists(
        suffixes=frozenset(data["suffixes"]),
        private=frozenset(data["private"]),
        told=tuple((item["host"], item["why"]) for item in data["shared"] if item.get("told")),
        shared=tuple((item["host"], item["why"]) for item in data["shared"]),
    )
