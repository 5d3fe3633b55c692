"""A symlink is judged as what it leads to, through every other on its way, the user's and the agent's."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.beneath import Beneath
from sandbox.stage.changes import Concern, compute_changes
from sandbox.stage.opened import open_stage
from sandbox.stage.symlinks import MOST_LINKS, Links
from sandbox.stage.upper import read_upper
from tests.sandbox.stage.applying import apply, names, reasons, staged

if TYPE_CHECKING:
    from collections.abc import Callable

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
    "gone": ("dropped/x", {"leads-out"}),
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


@dataclass(frozen=True, slots=True)
class Counted(Beneath):
    """A folder that counts how often it is asked what is at a path."""

    asked: list[str] = field(default_factory=list, kw_only=True)

    def stat(self, path: str) -> os.stat_result | None:
        """Ask it."""
        self.asked.append(path)
        return Beneath.stat(self, path)


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


def pipe_for(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder_for(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_text("agent")


def other_link_for(path: Path) -> None:
    path.unlink()
    path.symlink_to("src")


@pytest.mark.parametrize(
    ("points", "reason"), [("/home/u/out", "leads-out"), (".git/hooks", "protected"), ("src", "")]
)
@pytest.mark.parametrize("instead", [pipe_for, folder_for, other_link_for, Path.unlink])
def test_a_link_through_one_of_the_users_that_stays_is_judged_by_where_that_leads(
    yard: Yard, instead: Callable[[Path], None], points: str, reason: str
) -> None:
    """The agent put something else in its place, but nobody chose that, or it is never applied.

    The twin is a link of the user's that leads to an ordinary folder.
    """
    yard.fill({".git/hooks/x": "", "src/x": "1"})
    (yard.workspace / "build").symlink_to(points)

    def act(inside: Path) -> None:
        instead(inside / "build")
        (inside / "new").symlink_to("build/x")

    staged(yard, act)
    result = apply(yard, chosen=("new",), protect=(".git",))

    assert reasons(result) == ({"new": reason} if reason else {})
    assert (yard.workspace / "new").is_symlink() == (not reason)


def test_a_link_through_one_of_the_agents_to_what_it_did_not_leave_alone_is_judged_by_both(
    yard: Yard,
) -> None:
    """Taken with one change and without another, it leads where neither tree alone would lead it."""
    yard.fill({".git/hooks/x": "", "d/keep": "", "free/keep": ""})
    for folder in ("d", "free"):
        (yard.workspace / folder / "hooks").symlink_to("../.git/hooks" if folder == "d" else "keep")
    yard.fill({"a/x": "", "b/x": ""})

    def act(inside: Path) -> None:
        for name, to in {"a": "d", "b": "free"}.items():
            (inside / to / "hooks").unlink()
            shutil.rmtree(inside / name)
            (inside / name).symlink_to(to)
            (inside / f"{name}-link").symlink_to(f"{name}/hooks")

    staged(yard, act)

    assert reasons(apply(yard, protect=(".git",))) == {"a-link": "protected"}


def test_a_link_to_a_protected_file_of_a_folder_that_stays_is_protected(yard: Yard) -> None:
    """The agent put a link in the folder's place; where that is refused, the new one is the file's name."""
    yard.fill({"conf/secret": "1", "other/secret": "1", "plain/file": "1"})

    def act(inside: Path) -> None:
        for name in ("conf", "plain"):
            shutil.rmtree(inside / name)
            (inside / name).symlink_to("other")
        (inside / "new").symlink_to("conf/secret")
        (inside / "ordinary").symlink_to("plain/file")

    staged(yard, act)

    assert reasons(apply(yard, chosen=("new", "ordinary"), protect=("conf/secret",))) == {"new": "protected"}


def test_a_link_of_ever_so_many_names_is_looked_at_in_bounded_steps(yard: Yard) -> None:
    """Forty links of a thousand names each, for each of two thousand links, were minutes for each look.

    No path is asked twice, and nothing below one that is not there.
    """
    yard.fill({"x/keep": ""})
    for number in range(MOST_LINKS):
        (yard.workspace / f"u{number}").symlink_to("x/../" * 780 + f"u{number + 1}")

    def act(inside: Path) -> None:
        (inside / "through").symlink_to("u0")
        (inside / "long").symlink_to("x/" * 1100)
        (inside / "plain").symlink_to("./" * 1000 + "x/keep")

    staged(yard, act)
    with open_stage(yard.session) as stage:
        live = Counted(stage.live.root, stage.live.name)
        links = Links(replace(stage, live=live), read_upper(stage.folder))
        out = {name: links.way(name, stage.upper.readlink(name)).out for name in ("through", "long", "plain")}

    assert out == {"through": True, "long": True, "plain": False}
    assert sorted(live.asked) == ["u0", "x", "x/keep", "x/x"]


def test_a_link_of_the_agents_that_goes_up_after_a_name_is_out_for_those_through_it_too(yard: Yard) -> None:
    yard.fill({"x/keep": ""})

    def act(inside: Path) -> None:
        (inside / "up").symlink_to("x/../x")
        (inside / "through").symlink_to("up/keep")
        (inside / "straight").symlink_to("x/keep")

    staged(yard, act)

    assert reasons(apply(yard)) == {"up": "leads-out", "through": "leads-out"}
