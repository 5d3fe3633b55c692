"""Ask a Docker engine about images: look, fetch, lay a tree over one. The client is handed in."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final

import docker.errors
import requests

from sandbox.errors import EngineRefusedError
from sandbox.images.engine import ImageDetails, PathKind
from sandbox.images.errors import ImagePullError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sandbox.runtime.engine import Progress

NEVER_STARTED: Final = "/never-started"
NOT_FOUND: Final = 404
LAYER_SECONDS: Final = 1800
"""Laying a tree of some gigabytes over an image takes longer than what an engine is asked otherwise."""
_STAT_HEADER: Final = "X-Docker-Container-Path-Stat"
_WHY_CHARACTERS: Final = 300
_STEP: Final = re.compile(r"Step ([0-9]+)/([0-9]+) ")
_TELLING: Final = ("Pulling fs layer", "Pull complete", "Already exists")
_ABSENT: Final = ("manifest unknown", "not found", "repository does not exist", "access denied", "no such")


def details(found: Mapping[str, Any]) -> ImageDetails:
    """Read the engine's answer about one image."""
    config = found.get("Config") or {}
    return ImageDetails(
        image_id=str(found["Id"]),
        names=tuple(sorted(str(name) for name in found.get("RepoTags") or ())),
        repository_digests=tuple(sorted(str(name) for name in found.get("RepoDigests") or ())),
        size_bytes=int(found.get("Size") or 0),
        created=str(found.get("Created") or ""),
        architecture=str(found.get("Architecture") or ""),
        operating_system=str(found.get("Os") or ""),
        layers=len((found.get("RootFS") or {}).get("Layers") or ()),
        environment=tuple(str(entry) for entry in config.get("Env") or ()),
        volumes=tuple(sorted(str(path) for path in config.get("Volumes") or {})),
        labels=tuple(sorted(str(name) for name in config.get("Labels") or {})),
    )


def pull(client: docker.APIClient, name: str, version: str, *, progress: Progress) -> None:
    """Fetch an image, and tell of each layer.

    Raises:
        ImagePullError: When the registry does not give it.
    """
    full = f"{name}@{version}" if version.startswith("sha256:") else f"{name}:{version}"
    known: dict[str, bool] = {}
    progress(f"pulling {full}", done=0, total=0)
    for line in client.pull(name, tag=version, stream=True, decode=True):
        if "error" in line:
            raise pull_error(full, str(line["error"]))
        if line.get("id") and str(line.get("status", "")).startswith(_TELLING):
            known[str(line["id"])] = line["status"] != _TELLING[0]
            progress(f"pulling {full}: {sum(known.values())} of {len(known)} layers", done=0, total=0)


def pull_error(name: str, text: str) -> ImagePullError:
    """Say why an image was not given, and what to do about it."""
    why = " ".join(text.split())[:_WHY_CHARACTERS]
    if any(word in why.lower() for word in _ABSENT):
        hint = f"look at its name; where it is private, log in: `docker login`, then `docker pull {name}`"
    else:
        hint = f"see to it that the registry answers, then `docker pull {name}`"
    return ImagePullError(name, why, hint=hint)


def path_kinds(
    client: docker.APIClient, image: str, paths: Sequence[str], *, followed: Sequence[str] = (), name: str
) -> Mapping[str, PathKind]:
    """Return what an image has at each path.

    Args:
        client: The SDK's.
        image: Its id.
        paths: Absolute; looked at themselves.
        followed: Absolute; of a link, what is looked at is where it leads.
        name: Of the container that this takes.
    """
    container = _never_started(client, image, name)
    try:
        there = {path: kind_in(client, container, path) for path in paths}
        return there | {path: kind_in(client, container, path, follows=True) for path in followed}
    finally:
        client.remove_container(container, v=True, force=True)


def layered(  # noqa: PLR0913 - one commit has that many sides
    client: docker.APIClient, tar: Path, *, base: str, tag: str, labels: Mapping[str, str], name: str
) -> str:
    """Lay a tar file over an image and return the id of what came of it.

    The container that this takes is never started: nothing of the image or of the tree runs. It has no
    labels, for the new image would have them too.

    Args:
        client: The SDK's.
        tar: The tree.
        base: Id of the image below it.
        tag: Name of the image that is made.
        labels: Of the image that is made.
        name: Of the container.
    """
    repository, _, version = tag.rpartition(":")
    container = _never_started(client, base, name)
    try:
        with tar.open("rb") as stream:
            answer = client.put(
                f"{_address(client)}/containers/{container}/archive",
                params={"path": "/"},
                data=stream,
                timeout=LAYER_SECONDS,
            )
            _require_done(answer)
        made = client.post(
            f"{_address(client)}/commit",
            params={"container": container, "repo": repository, "tag": version},
            json={"Labels": dict(labels), "Entrypoint": [], "Cmd": []},
            timeout=LAYER_SECONDS,
        )
        _require_done(made)
        return str(made.json()["Id"])
    finally:
        client.remove_container(container, v=True, force=True)


def build(client: docker.APIClient, context: Path, *, tag: str, progress: Progress) -> str:
    """Build a Dockerfile in the engine's own builder, and return the image's id.

    # SAFETY: its steps run as root, with the engine's network, in containers that pairlock does not describe.

    Raises:
        EngineRefusedError: When a step fails, with the engine's words.
    """
    with context.open("rb") as stream:
        for line in client.build(
            fileobj=stream,
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            decode=True,
            timeout=LAYER_SECONDS,
        ):
            if "error" in line:
                why = " ".join(str(line["error"]).split())[:_WHY_CHARACTERS]
                raise EngineRefusedError(f"the Dockerfile was not built: {why}")
            if step := _STEP.match(str(line.get("stream", ""))):
                progress(f"step {step[1]} of {step[2]} of the Dockerfile", done=0, total=0)
    return str(client.inspect_image(tag)["Id"])


def _never_started(client: docker.APIClient, image: str, name: str) -> str:
    request = {
        "Image": image,
        "Entrypoint": [NEVER_STARTED],
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": "none", "CapDrop": ["ALL"]},
    }
    return str(client.create_container_from_config(request, name)["Id"])


def kind_in(client: docker.APIClient, container: str, path: str, *, follows: bool = False) -> PathKind:
    """Ask for the path's facts alone (`HEAD /containers/{id}/archive`), which the SDK has no method for.

    The engine tells of a link where it leads in the end, within the container.
    """
    answer = client.head(f"{_address(client)}/containers/{container}/archive", params={"path": path})
    if answer.status_code == NOT_FOUND:
        return PathKind.ABSENT
    _require_done(answer)
    told = json.loads(base64.b64decode(answer.headers[_STAT_HEADER]))
    kind = kind_of_mode(int(told["mode"]))
    return kind_in(client, container, str(told["linkTarget"])) if follows and kind is PathKind.LINK else kind


def _address(client: docker.APIClient) -> str:
    return f"{client.base_url}/v{client.api_version}"


def _require_done(answer: requests.Response) -> None:
    """Raise the SDK's own error for an answer that is none of success, as its methods do."""
    try:
        answer.raise_for_status()
    except requests.HTTPError as error:
        docker.errors.create_api_error_from_http_exception(error)


def kind_of_mode(mode: int) -> PathKind:
    """Return what Go's `os.FileMode` says of a file: its highest bits are not those of stat(2)."""
    folder, link = 1 << 31, 1 << 27
    device, pipe, socket, character, irregular = 1 << 26, 1 << 25, 1 << 24, 1 << 21, 1 << 19
    if mode & folder:
        return PathKind.FOLDER
    if mode & link:
        return PathKind.LINK
    special = mode & (device | pipe | socket | character | irregular)
    return PathKind.SPECIAL if special else PathKind.FILE
