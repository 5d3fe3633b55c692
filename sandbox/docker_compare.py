"""Compare what inspect shows with what a container was asked to be. Pure.

Comparison is closed: whatever inspect shows and the request does not name must be empty. A flag that a future
engine adds, or that somebody slipped in, is a difference until this page knows it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from sandbox.docker_request import create_request
from sandbox.engine import Evidence
from sandbox.spec import BindMount, ContainerSpec, DriverMount, VolumeMount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox.docker_request import Json

# What engines fill in by themselves, and the only values that are as good as empty.
_NEUTRAL: Final[Mapping[str, tuple[Json, ...]]] = {
    "HostConfig.ConsoleSize": ([0, 0],),
    "HostConfig.Isolation": ("", "default"),
    "HostConfig.UTSMode": ("", "private"),
}
# Facts that no flag of ours decides and that attestation does not need.
_LEFT_OUT: Final = frozenset({"HostConfig.ContainerIDFile"})
# What an image's own wishes leave in a container's Config, without any force of their own: ports are
# published by HostConfig, volumes made of its mounts (both compared), and nothing is built from a container.
_OF_THE_IMAGE: Final = frozenset({"ArgsEscaped", "ExposedPorts", "OnBuild", "Shell", "Volumes"})

_encode: Final = json.JSONEncoder(sort_keys=True).encode
"""One encoder for all: each launch shows more than a hundred values."""


def compare(spec: ContainerSpec, inspected: Mapping[str, Json]) -> tuple[Evidence, ...]:
    """Compare what inspect shows with what the spec asks for, key by key.

    Args:
        spec: What was asked for.
        inspected: The reply of `GET /containers/{id}/json`.

    Returns:
        One piece of evidence for each key, in a stable order; `holds` is False for each difference.
    """
    return tuple(_evidence(spec, inspected))


def _evidence(spec: ContainerSpec, inspected: Mapping[str, Json]) -> Iterator[Evidence]:
    request = create_request(spec)
    yield _same("image", spec.image, inspected.get("Image"))
    yield _same("name", f"/{spec.name}", inspected.get("Name"))
    yield _same("driver.apparmor", "confined or absent", _apparmor(inspected.get("AppArmorProfile")))
    config = _mapping(inspected.get("Config"))
    for key in sorted(({*request, *config} - _OF_THE_IMAGE) - {"HostConfig"}):
        match key:
            case "Labels":
                yield _labels(request[key], config.get(key))
            case "Env":
                yield _environment(spec, config.get(key))
            case "Healthcheck":
                # The engine mixes in the image's intervals, which mean nothing beside NONE.
                yield _same("Config.Healthcheck", ["NONE"], _mapping(config.get(key)).get("Test"))
            case _:
                yield _same(f"Config.{key}", _absent(request.get(key)), _absent(config.get(key)))
    yield from _host_config(_mapping(request["HostConfig"]), _mapping(inspected.get("HostConfig")))
    yield from _mount_points(spec, inspected.get("Mounts"))
    yield from _networks(inspected.get("NetworkSettings"))
    yield _same("exec ids", [], _absent(inspected.get("ExecIDs")) or [])


def _host_config(expected: Mapping[str, Json], observed: Mapping[str, Json]) -> Iterator[Evidence]:
    for key in sorted({*expected, *observed}):
        check = f"HostConfig.{key}"
        if check in _LEFT_OUT:
            continue
        wanted, found = expected.get(key), observed.get(key)
        if key == "Mounts":
            wanted, found = _normal_mounts(wanted), _normal_mounts(found)
        if key == "SecurityOpt":
            wanted, found = _normal_security(wanted), _normal_security(found)
        if key not in expected and found in _NEUTRAL.get(check, ()):
            found = None
        yield _same(check, _absent(wanted), _absent(found))


def _same(check: str, expected: Json, observed: Json) -> Evidence:
    holds = expected == observed
    shown = _text(expected)
    alike = holds and type(expected) is type(observed)
    return Evidence(
        check=check,
        expected=shown,
        observed=shown if alike else _text(observed),
        source="engine",
        holds=holds,
    )


def _absent(value: Json) -> Json:
    """Treat the engine's many ways to write "nothing" as one."""
    return None if value in (None, "", 0, False, [], {}) else value


def _text(value: Json) -> str:
    text = value if isinstance(value, str) else _encode(value)
    return text if len(text) <= 300 else f"{text[:280]}… ({len(text)} characters)"


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _apparmor(value: Json) -> str:
    return "unconfined" if value == "unconfined" else "confined or absent"


def _labels(expected: Json, observed: Json) -> Evidence:
    ours = {key: value for key, value in _mapping(observed).items() if key.startswith("io.pairlock.")}
    return _same("Config.Labels", expected, dict(ours))


def _environment(spec: ContainerSpec, observed: Json) -> Evidence:
    """Hold the environment to what was set; a name alone is one that the image set and that is gone."""
    found = [str(entry) for entry in observed] if isinstance(observed, list) else []
    values = sorted(entry for entry in found if "=" in entry and not entry.startswith("PATH="))
    wanted = sorted(entry for entry in spec.environment if "=" in entry and not entry.startswith("PATH="))
    return _same("Config.Env", list(wanted), list(values))


def _normal_mounts(value: Json) -> Json:
    """Order the mounts and drop empty members, which engines write differently."""
    mounts = value if isinstance(value, list) else []
    cleaned = [_without_empty(mount) for mount in mounts]
    return sorted(cleaned, key=lambda mount: json.dumps(mount, sort_keys=True))


def _without_empty(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    cleaned = {key: _without_empty(member) for key, member in value.items()}
    return {key: member for key, member in cleaned.items() if _absent(member) is not None}


def _normal_security(value: Json) -> Json:
    """Compare the seccomp profile as JSON, not as text."""
    options = [str(option) for option in value] if isinstance(value, list) else []
    normal: list[Json] = []
    for option in sorted(options):
        name, _, text = option.partition("=")
        normal.append(f"seccomp={_canonical(text)}" if name == "seccomp" else option)
    return normal


def _canonical(text: str) -> str:
    try:
        return _encode(json.loads(text))
    except ValueError:
        return text


def _mount_points(spec: ContainerSpec, observed: Json) -> Iterator[Evidence]:
    """Compare the mounts that were really made, target by target, with those asked for."""
    points = [_mapping(point) for point in observed] if isinstance(observed, list) else []
    found = {str(point.get("Destination")): point for point in points if point.get("Type") != "tmpfs"}
    wanted = {mount.target: mount for mount in spec.mounts}
    targets: list[Json] = [*sorted(wanted)]
    yield _same("mount targets", targets, [*sorted(found)])
    for target, mount in sorted(wanted.items()):
        point = found.get(target, {})
        writable = isinstance(mount, DriverMount) or not mount.read_only
        yield _same(f"mount {target} writable", writable, bool(point.get("RW")))
        match mount:
            case VolumeMount():
                yield _same(f"mount {target} name", mount.name, point.get("Name"))
            case BindMount():
                yield _same(f"mount {target} source", mount.source, point.get("Source"))
            case DriverMount():
                yield _same(f"mount {target} driver", "local", point.get("Driver"))


def _networks(observed: Json) -> Iterator[Evidence]:
    settings = _mapping(observed)
    names = sorted(_mapping(settings.get("Networks")))
    yield _same("networks", "none", "none" if set(names) <= {"none"} else ", ".join(names))
    yield _same("published ports", None, _absent(settings.get("Ports")))
