"""Stage what an agent does, and apply it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.stage.apply import apply_changes
from sandbox.stage.changes import compute_changes
from sandbox.stage.opened import open_stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Yard

    from sandbox.stage.apply import ApplyResult


def staged(yard: Yard, act: Callable[[Path], object], *hide: str, uid: int | None = None) -> None:
    with yard.mounted(yard.plan(*hide, uid=uid)) as inside:
        act(inside)


def apply(
    yard: Yard,
    *,
    chosen: tuple[str, ...] | None = None,
    protect: tuple[str, ...] = (),
    hide: tuple[str, ...] = (),
    include: tuple[str, ...] = (),
) -> ApplyResult:
    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=yard.patterns(*protect), hide=yard.patterns(*hide))
        return apply_changes(
            stage,
            found.changes,
            chosen=None if chosen is None else yard.patterns(*chosen),
            include=yard.patterns(*include),
        )


def reasons(result: ApplyResult) -> dict[str, str]:
    return {item.path: item.code.value for item in result.not_applied}


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
