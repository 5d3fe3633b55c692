"""Plan an image: what it is made of, what the session that makes it may reach. Nothing is built here."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.ceiling import read_ceiling
from agent_runner.errors import InvalidInputError
from agent_runner.images import registries
from agent_runner.images.manifests import digest_of, find_manifests
from policies.ceiling import under_ceiling
from policies.source import parse_policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agent_runner.images.agents import Agent
    from agent_runner.images.manifests import Manifest
    from agent_runner.images.registries import Host, Kind, Registry
    from policies.policy import Policy

ORIGIN: Final = "image build"
PLACE_DIGITS: Final = 12
"""Of the hash of a project's folder, in the name of its image."""
_NAME: Final = re.compile(r"[^a-z0-9]+")
_OWN_TOOLS: Final = frozenset({"pip", "npm"})
"""Kinds of packages that an image made of this machine's programs can install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a person says of where packages come from."""

    index: Mapping[Kind, str]
    """Registries that stand in place of the configured ones."""
    hosts: tuple[str, ...]
    """Further hosts, `HOST` or `HOST:PORT`."""
    base: str
    """The image to stand on; empty for one of this machine's own programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a person is shown before anything is sent or built."""

    name: str
    """Of the image to be, with its tag."""
    source: str
    """The folder or the agent that it is for."""
    folder: Path | None
    """The folder that the manifests were read from; None for an agent, whose list is pairlock's own."""
    manifests: tuple[Manifest, ...]
    registries: tuple[Registry, ...]
    hosts: tuple[Host, ...]
    base: str
    """The image to stand on; empty for one of this machine's own programs."""
    locked: bool
    """Whether every package's version is held by a lock file."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of packages, in order."""
        return tuple(found.kind for found in self.registries)

    @property
    def digest(self) -> str:
        """SHA-256 over everything that is given to the session, in hexadecimal."""
        return digest_of(self.manifests)

    @property
    def made_of(self) -> str:
        """What the image is made of, for people."""
        return ", ".join(manifest.name for manifest in self.manifests)


def plan_project(folder: Path, sources: Sources) -> Plan:
    """Plan the image of a project.

    Raises:
        InvalidInputError: When it has no manifests, or what it needs cannot be had.
    """
    return _plan(image_name(folder), folder.resolve(), find_manifests(folder), sources)


def image_name(folder: Path) -> str:
    """Return what the image of a project is called, with its tag.

    The folder's name is for people; the hash of its place is what keeps two folders of one name apart, so
    that an image of a cloned `app` never takes the name of that of one's own.
    """
    place = folder.resolve()
    name = _NAME.sub("-", place.name.lower()).strip("-") or "project"
    digits = hashlib.sha256(os.fsencode(place)).hexdigest()[:PLACE_DIGITS]
    return f"pairlock/for-{name[:60].rstrip('-')}-{digits}:latest"


def plan_agent(agent: Agent, sources: Sources) -> Plan:
    """Plan the image of a known agent.

    Raises:
        InvalidInputError: When what it needs cannot be had.
    """
    name = f"pairlock/agent-{agent.name}:latest"
    return _plan(name, agent.title, (agent.manifest(),), sources)


def _plan(name: str, source: Path | str, manifests: tuple[Manifest, ...], sources: Sources) -> Plan:
    kinds = tuple(dict.fromkeys(manifest.kind for manifest in manifests))
    unknown = sorted(set(sources.index) - set(kinds))
    if unknown:
        raise InvalidInputError(f"`--index {unknown[0]}=…` names a kind of package that is not among them")
    missing = sorted(set(kinds) - _OWN_TOOLS)
    if missing and not sources.base:
        raise InvalidInputError(
            f"packages for {', '.join(missing)} need an image that has its tools",
            hint="name one with `--base`, for instance `--base golang:1.24`",
        )
    folder = None if isinstance(source, str) else source
    found = tuple(registries.registry(kind, sources.index) for kind in kinds)
    return Plan(
        name=name,
        source=str(source),
        folder=folder,
        manifests=manifests,
        registries=found,
        hosts=registries.hosts(found, sources.hosts),
        base=sources.base,
        locked=folder is not None,
    )


def policy_of(plan: Plan, *, base: str) -> Policy:
    """Return the policy of the session that builds: network and exec, the registries, `run`, nothing else.

    Args:
        plan: What is built.
        base: The image that it stands on, by id or by the name that a person gave.

    Raises:
        policies.errors.PolicyError: When the operator's ceiling does not let such a session be.
    """
    rules = [
        {"host": host.name, "ports": [host.port], "methods": ["GET", "HEAD"], "private": bool(host.address)}
        for host in plan.hosts
    ]
    written = {
        "version": 1,
        "name": "image-build",
        "description": "Install packages from registries, to make an image of them.",
        "grant": ["network", "exec"],
        "exec": {"image": base, "contents": "public", "programs": "any"},
        "network": {
            "allow": rules,
            "limits": {"sent_bytes": "64MiB", "received_bytes": "16GiB", "requests": 50_000},
        },
        "commands": {"allow": ["run"]},
        "isolation": {"memory": "2GiB", "processes": 512, "scratch": "6GiB"},
        "budget": {"turns": 50, "wall_time": "2h"},
    }
    policy = parse_policy(json.dumps(written), origin=ORIGIN)  # JSON is YAML
    ceiling = read_ceiling()
    return policy if ceiling is None else under_ceiling(policy, ceiling)
