"""A symlink is judged as what it leads to, through every other on its way, the user's and the agent's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.stage.changes import Concern, compute_changes
from sandbox.stage.opened import open_stage
from tests.sandbox.stage.applying import apply, names, reasons, staged

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Yard

LINKS = {
    "straight": (".git/hooks", {"protected"}),
    "through": ("git/hooks", {"protected"}),
    "twice": ("other/hooks", {"protected"}),
    "sub/up": ("../git/config", {"protected"}),
    "secret": ("env", {"hidden"}),
    "outside": ("etc/passwd", {"leads-out"}),
    "own-chain": ("own", {"protected"}),
    "own": ("./.git/config", {"protected"}),
    "loop": ("pool", set()),
    "pool": ("loop", set()),
    "itself": (".", set()),
    "nowhere": ("not/there", set()),
    "plain": ("source/a", set()),
    "gone": ("dropped/x", set()),
}
"""What the agent makes, where it points, and what is said of it."""


def filled(yard: Yard) -> None:
    yard.fill({".git/hooks/x": "", ".git/config": "", ".env": "s", "src/a": "1", "sub/x": ""})
    for name, target in {
        "git": ".git",
        "env": ".env",
        "etc": "/etc",
        "source": "src",
        "dropped": "/",
    }.items():
        (yard.workspace / name).symlink_to(target)
    (yard.workspace / "other").symlink_to("git")


def agent(inside: Path) -> None:
    (inside / "dropped").unlink()
    for name, (target, _) in LINKS.items():
        (inside / name).symlink_to(target)


def test_each_is_marked_as_what_it_leads_to(yard: Yard) -> None:
    """The twins are links to ordinary files, to nothing, and in a circle: they say nothing."""
    filled(yard)
    staged(yard, agent, ".env")

    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=yard.patterns(".git"), hide=yard.patterns(".env"))

    told = {change.path: {each.value for each in change.concerns} for change in found.changes}
    assert {path: told[path] for path in LINKS} == {path: wanted for path, (_, wanted) in LINKS.items()}


def test_only_those_that_lead_to_ordinary_places_are_applied(yard: Yard) -> None:
    filled(yard)
    staged(yard, agent, ".env")

    result = apply(yard, protect=(".git",), hide=(".env",))

    bad = {path: next(iter(wanted)) for path, (_, wanted) in LINKS.items() if wanted}
    assert reasons(result) == bad
    assert set(LINKS) - set(names(yard.workspace)) == set(bad)


@pytest.mark.parametrize("links", [39, 41, 400])
def test_a_chain_of_any_length_ends(yard: Yard, links: int) -> None:
    """What the kernel would not follow leads nowhere; what it would is judged by its end."""
    yard.fill({".git/config": ""})

    def chain(inside: Path) -> None:
        (inside / "l0").symlink_to(".git/config")
        for number in range(1, links):
            (inside / f"l{number}").symlink_to(f"l{number - 1}")

    staged(yard, chain)
    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=yard.patterns(".git"))

    marked = [change.path for change in found.changes if Concern.PROTECTED in change.concerns]
    assert len(marked) == min(links, 40)
