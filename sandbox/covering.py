"""Decide what becomes of the paths that an image declares as volumes: covered, ours anyway, or refused. Pure.

The engine makes a writable, executable and unbounded mount of each that nothing else is mounted on.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from sandbox.errors import ImageRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_VOLUMES: Final = 32
OF_THE_KERNEL: Final = ("/dev", "/proc", "/sys")
_HINT: Final = "build the image without that VOLUME line"


def volumes_to_cover(declared: Iterable[str], ours: Iterable[str]) -> tuple[str, ...]:
    """Return the paths to cover, sorted.

    Args:
        declared: What the image says; hostile data.
        ours: Where mounts of the sandbox lie; a volume declared at exactly such a place is never made.

    Raises:
        ImageRefusedError: When a path lies around or inside another mount, so that covering one would change
            what is seen of the other, or is no path.
    """
    places = frozenset(ours)
    paths = sorted({_normal(path) for path in declared})
    if len(paths) > MOST_VOLUMES:
        raise ImageRefusedError(f"the image declares {len(paths)} volumes, expected at most {MOST_VOLUMES}")
    left = tuple(path for path in paths if path not in places)
    for path in left:
        for other in (*sorted(places), *OF_THE_KERNEL, *left):
            if path == "/" or _clash(path, other):
                raise ImageRefusedError(
                    f"the image declares `{path}` as a volume, which clashes with `{other}`", hint=_HINT
                )
    return left


def _normal(path: str) -> str:
    if not path.startswith("/") or not path.isprintable():
        raise ImageRefusedError(f"the image declares {path!a} as a volume, expected a path", hint=_HINT)
    return "/" + posixpath.normpath(path).lstrip("/")


def _clash(path: str, other: str) -> bool:
    if path == other:
        return path in OF_THE_KERNEL
    return path.startswith(f"{other}/") or other.startswith(f"{path}/")
