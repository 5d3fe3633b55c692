"""Refuse an image in which something stands where sandboxes mount, or that asks for what cannot be undone.

A mount at a symbolic link is made where the link leads: `/rt -> /etc` would put the runtime over the image's
`/etc`, `/workspace -> /proc` the workspace over the kernel's files (tried). Attestation would find it;
this says why, before anything is started.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from sandbox.covering import MOST_VOLUMES
from sandbox.errors import ImageRefusedError
from sandbox.images.engine import PathKind
from sandbox.spec import MESSAGE_QUEUES, RUNTIME, SCRATCH, SHARED_MEMORY, WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.images.engine import ImageDetails, ImageEngine

MOUNTED: Final = (
    "/", RUNTIME, WORKSPACE, SCRATCH, "/dev", SHARED_MEMORY, MESSAGE_QUEUES, "/dev/pts", "/etc", "/proc",
    "/sys",
)  # fmt: skip
"""Where sandboxes and engines mount: nothing, or a folder."""
OPENED: Final = ("/etc/passwd", "/etc/group")
"""What an engine opens before it starts a container, as root and on the machine. A device would be the
machine's, and at a pipe it waits for ever: nobody can inspect the container then (tried)."""
LABELS: Final = "io.pairlock."
MOST_VARIABLES: Final = 512
MOST_VARIABLE_BYTES: Final = 64 * 1024
MOST_VOLUME_CHARACTERS: Final = 4096
"""Of all volumes' paths: each folder on the way is looked at by a request of its own."""
_GO_NAMES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


async def require_sound(engine: ImageEngine, details: ImageDetails, *, architecture: str) -> None:
    """Refuse an image that no sandbox can stand on.

    Args:
        engine: Where it is.
        details: What the engine says of it.
        architecture: The engine's machine, `x86_64` or `aarch64`.

    Raises:
        ImageRefusedError: When it is for another machine, sets too much, has a link or a file where a folder
            of the sandbox is to be, or a device or a pipe where the engine looks for a file.
    """
    _require_ordinary(details, architecture)
    places = _places(details.volumes)
    kinds = await engine.path_kinds(details.image_id, places, followed=OPENED)
    require_folders({place: kinds[place] for place in places})
    _require_files({path: kinds[path] for path in OPENED})


def require_folders(kinds: Mapping[str, PathKind]) -> None:
    """Refuse an image that has anything but a folder, or nothing, at a place of ours.

    Args:
        kinds: What it has there.

    Raises:
        ImageRefusedError: When it has.
    """
    for path, kind in kinds.items():
        if kind not in (PathKind.FOLDER, PathKind.ABSENT):
            raise ImageRefusedError(
                f"the image has {kind} at `{path}`, where a folder of the sandbox is mounted",
                hint=f"build the image with a folder at `{path}`, or with nothing there",
            )


def _require_files(kinds: Mapping[str, PathKind]) -> None:
    for path, kind in kinds.items():
        if kind not in (PathKind.FILE, PathKind.ABSENT):
            raise ImageRefusedError(
                f"the image has {kind} at `{path}`, which the engine opens when a container starts",
                hint=f"build the image with a plain file at `{path}`, or with nothing there",
            )


def _require_ordinary(details: ImageDetails, architecture: str) -> None:
    wanted = _GO_NAMES.get(architecture, architecture)
    if details.operating_system not in ("", "linux") or details.architecture not in ("", wanted):
        raise ImageRefusedError(
            f"the image is for `{details.operating_system}/{details.architecture}`, "
            f"expected `linux/{wanted}`",
            hint="pull or build it for this engine's machine",
        )
    ours = [name for name in details.labels if name.startswith(LABELS)]
    if ours:
        raise ImageRefusedError(
            f"the image has the label `{ours[0]!a}`, by which pairlock knows its own containers",
            hint="build the image without that LABEL line",
        )
    size = sum(len(entry) for entry in details.environment)
    if len(details.environment) > MOST_VARIABLES or size > MOST_VARIABLE_BYTES:
        raise ImageRefusedError(
            f"the image sets {len(details.environment)} variables of {size} bytes in all, "
            f"expected at most {MOST_VARIABLES} of {MOST_VARIABLE_BYTES}",
            hint="build the image with fewer ENV lines",
        )
    length = sum(map(len, details.volumes))
    if len(details.volumes) > MOST_VOLUMES or length > MOST_VOLUME_CHARACTERS:
        raise ImageRefusedError(
            f"the image declares {len(details.volumes)} volumes of {length} characters in all, "
            f"expected at most {MOST_VOLUMES} of {MOST_VOLUME_CHARACTERS}",
            hint="build the image with fewer VOLUME lines",
        )


def _places(volumes: tuple[str, ...]) -> tuple[str, ...]:
    """Return our places, and each declared volume with the folders above it: those are mounted on as well."""
    above = [
        str(path) for volume in volumes for path in (PurePosixPath(volume), *PurePosixPath(volume).parents)
    ]
    return tuple(dict.fromkeys((*MOUNTED, *sorted(path for path in above if path.startswith("/")))))
