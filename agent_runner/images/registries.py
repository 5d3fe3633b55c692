"""Find the registries that a build may reach: the operator's own, else the public ones. Never the project's.

A lock file or a requirements file may name a registry too: the repository's wish, which has no say here.
"""

from __future__ import annotations

import configparser
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from agent_runner.errors import InvalidInputError
from sandbox.egress.addresses import HostNetworks, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Resolve = Callable[[str], tuple[str, ...]]

Kind = Literal["pip", "npm", "go", "cargo"]
KINDS: Final[tuple[Kind, ...]] = ("pip", "npm", "go", "cargo")

PUBLIC: Final[Mapping[Kind, str]] = {
    "pip": "https://pypi.org/simple",
    "go": "https://proxy.golang.org",
    "cargo": "https://index.crates.io/",
}
"""Where a kind's programs go by themselves; npm is asked, for it says."""
_ASKING_SECONDS: Final = 60.0
_BESIDE: Final[Mapping[str, tuple[str, ...]]] = {
    "pypi.org": ("files.pythonhosted.org",),
    "proxy.golang.org": ("sum.golang.org", "storage.googleapis.com"),
    "index.crates.io": ("static.crates.io", "crates.io"),
}
"""Hosts to which a public registry itself sends its clients for the packages."""
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host and port that a build may reach."""

    name: str
    port: int
    address: str
    """What it resolves to, where that is no public address; empty otherwise. The person is shown it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Where one kind of packages comes from."""

    kind: Kind
    url: str
    source: str
    """Who named it, for people: `--index`, a variable, a file, or `public`."""


def registry(kind: Kind, given: Mapping[Kind, str], environment: Mapping[str, str] = os.environ) -> Registry:
    """Return the registry for one kind of packages.

    Args:
        kind: The kind.
        given: What the person named on the command line.
        environment: The operator's variables.

    Raises:
        InvalidInputError: When it is no URL that a build can use, or nobody says which one npm's is.
    """
    if kind in given:
        return _checked(Registry(kind=kind, url=given[kind], source="--index"))
    for found in _configured(kind, environment):
        return _checked(found)
    if kind == "npm":
        return _checked(Registry(kind="npm", url=_told_by_npm(environment), source="npm config"))
    return Registry(kind=kind, url=PUBLIC[kind], source="public")


def hosts(
    registries: tuple[Registry, ...], more: tuple[str, ...], *, resolve: Resolve | None = None
) -> tuple[Host, ...]:
    """Return every host that a build reaches: the registries', those that they send clients to, the person's.

    Args:
        registries: Where packages come from.
        more: `HOST` or `HOST:PORT`, as the person named them.
        resolve: Finds a host's addresses; None asks this machine's resolver.

    Raises:
        InvalidInputError: When one of the person's is none.
    """
    found: dict[tuple[str, int], None] = {}
    for entry in registries:
        parts = urlsplit(entry.url)
        name = parts.hostname or ""
        found[name, parts.port or _PORTS[parts.scheme]] = None
        for beside in _BESIDE.get(name, ()):
            found[beside, 443] = None
    for text in more:
        found[_host_and_port(text)] = None
    find = resolve or _resolved
    return tuple(Host(name=name, port=port, address=_odd(find(name))) for name, port in found)


def _configured(kind: Kind, environment: Mapping[str, str]) -> list[Registry]:
    match kind:
        case "pip":
            return _pip(environment)
        case "npm":
            return _npm(environment)
        case "go":
            proxy = environment.get("GOPROXY", "").replace("|", ",").split(",")[0].strip()
            used = proxy not in ("", "direct", "off")
            return [Registry(kind="go", url=proxy, source="GOPROXY")] if used else []
        case "cargo":
            return []


def _pip(environment: Mapping[str, str]) -> list[Registry]:
    """Read what pip reads, in its order: the variable, then the files of user, environment and machine."""
    if url := environment.get("PIP_INDEX_URL"):
        return [Registry(kind="pip", url=url, source="PIP_INDEX_URL")]
    home = Path(environment.get("HOME") or "/nonexistent")
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    named = environment.get("PIP_CONFIG_FILE", "")
    files = [
        *([Path(named)] if named else []),
        Path(sys.prefix) / "pip.conf",
        config / "pip" / "pip.conf",
        home / ".pip" / "pip.conf",
        Path("/etc/pip.conf"),
    ]
    for path in files:
        parser = configparser.RawConfigParser()
        with suppress(OSError, configparser.Error, UnicodeDecodeError):
            parser.read_string(path.read_text("utf-8"))
        for section in ("install", "global"):
            if url := parser.get(section, "index-url", fallback=""):
                return [Registry(kind="pip", url=url.strip(), source=str(path))]
    return []


def _npm(environment: Mapping[str, str]) -> list[Registry]:
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if url := environment.get(name):
            return [Registry(kind="npm", url=url, source=name)]
    home = Path(environment.get("HOME") or "/nonexistent")
    for path in (home / ".npmrc", Path("/usr/etc/npmrc"), Path("/etc/npmrc")):
        text = ""
        with suppress(OSError, UnicodeDecodeError):
            text = path.read_text("utf-8")
        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "registry" and value.strip():
                return [Registry(kind="npm", url=value.strip().strip("'\""), source=str(path))]
    return []


def _told_by_npm(environment: Mapping[str, str]) -> str:
    """Return what this machine's npm uses by itself, asked where no project's `.npmrc` lies."""
    npm = shutil.which("npm", path=environment.get("PATH"))
    if npm is not None:
        asked = [npm, "config", "get", "registry", "--no-update-notifier"]
        with suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                asked,
                cwd="/",
                env=environment,
                capture_output=True,
                text=True,
                check=True,
                timeout=_ASKING_SECONDS,
            ).stdout.strip()
    raise InvalidInputError(
        "no npm on this machine says which registry is to be used", hint="name it with `--index npm=URL`"
    )


def _checked(found: Registry) -> Registry:
    try:
        parts = urlsplit(found.url)
        usable = parts.scheme in _PORTS and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInputError(
            f"the registry `{_shown(found.url)}` of {found.source} is no http or https address",
            hint="name another with `--index`",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInputError(
            f"the registry of {found.source} has a name or a password in its address, "
            "which would enter the container",
            hint=f"name one without with `--index {found.kind}=URL`",
        )
    return found


def _shown(url: str) -> str:
    """Return an address without what may be a secret in it."""
    return url.rpartition("@")[2][:100]


def _host_and_port(text: str) -> tuple[str, int]:
    name, _, port = text.partition(":")
    if not name or not all(c.isascii() and (c.isalnum() or c in ".-") for c in name):
        raise InvalidInputError(f"`{text}` is no host, expected `HOST` or `HOST:PORT`")
    if not port:
        return name.lower(), 443
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidInputError(f"`{text}` has no port from 1 to 65535")
    return name.lower(), int(port)


def _resolved(name: str) -> tuple[str, ...]:
    """Ask this machine's resolver; what it cannot resolve is left to the gate, which refuses for itself."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(str(answer[4][0]).partition("%")[0] for answer in answers)


def _odd(addresses: tuple[str, ...]) -> str:
    """Return the first address that is not a public one, as in many companies; empty when all are."""
    for text in addresses:
        address = ipaddress.ip_address(text)
        if kind := kind_of(address, HostNetworks()):
            return f"{address}, {kind}"
    return ""
