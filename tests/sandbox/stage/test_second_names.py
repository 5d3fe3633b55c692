"""What a protected name leads to is protected, and a symlink that gives something there such a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from policies.files_block import FilesBlock
from policies.globs import Glob, GlobSet
from sandbox.stage import KeptBy, ProtectedBy
from sandbox.stage.changes import Concern, compute_changes
from sandbox.stage.opened import open_stage
from sandbox.stage.second_names import SecondNames, protected_behind
from sandbox.stage.symlinks import MOST_LINKS, Links, places_of
from sandbox.stage.upper import read_upper
from tests.sandbox.stage.applying import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Yard


def second(yard: Yard, made: Callable[[Path], None]) -> set[str]:
    """Return what is marked as protected of what an agent made."""
    staged(yard, made)
    with open_stage(yard.session) as stage:
        found = compute_changes(
            stage, protect=yard.patterns(".vscode", "**/.config/mise", "CLAUDE.md", "a/b/c")
        )
    return {change.path for change in found.changes if Concern.PROTECTED in change.concerns}


def test_what_a_protected_name_of_the_users_leads_to_is_protected(yard: Yard) -> None:
    """The twins lie beside, and behind symlinks whose names mean nothing."""
    yard.fill({"docs/guide.md": "", "q/x": "", "plain": "", "other/README.md": ""})
    for name, target in {
        ".vscode": "docs/../vs", "sub/.config": "../conf", "CLAUDE.md": "chain", "chain": "README.md",
        "conf/mise": "../deep", "plain-link": "q", "a": str(yard.workspace / "absolute"),
    }.items():  # fmt: skip
        (yard.workspace / name).parent.mkdir(exist_ok=True)
        (yard.workspace / name).symlink_to(target)
    wanted = {"vs/tasks.json", "conf/mise", "deep/config.toml", "README.md", "absolute/b/c"}
    twins = {"docs/guide.md", "q/x", "conf/fish", "vs2/x", "other/README.md", "absolute/b/d", "deeper/x"}

    def made(inside: Path) -> None:
        (inside / "conf/mise").unlink()
        (inside / "conf/mise").symlink_to("../deep")
        for path in (wanted | twins) - {"conf/mise"}:
            (inside / path).parent.mkdir(exist_ok=True, parents=True)
            (inside / path).write_text("agent")

    marked = second(yard, made)

    assert marked & (wanted | twins) == wanted - {"conf/mise"}


def test_a_symlink_of_the_agents_above_a_protected_name_is_judged_with_what_it_names(yard: Yard) -> None:
    """Either alone would be harmless; a symlink that gives nothing such a name is one."""
    yard.fill({"mine/mise/config.toml": ""})

    def made(inside: Path) -> None:
        (inside / "x/mise").mkdir(parents=True)
        (inside / "x/mise/config.toml").write_text("evil")
        (inside / "x/plain").write_text("x")
        for name, target in ((".config", "x"), ("sub/.config", "../mine"), ("other/.config", "../nothing")):
            (inside / name).parent.mkdir(exist_ok=True)
            (inside / name).symlink_to(target)

    assert second(yard, made) == {".config", "x/mise", "x/mise/config.toml", "sub/.config"}


def test_a_protected_symlink_in_a_circle_protects_nothing_else(yard: Yard) -> None:
    def made(inside: Path) -> None:
        (inside / ".vscode").symlink_to("round")
        (inside / "round").symlink_to("round")
        (inside / "plain").write_text("")

    assert second(yard, made) == {".vscode", "round"}
    assert protected_behind((Glob(".vscode"),), yard.workspace) == ()
    for name, target in ((".vscode", "round"), ("round", "round")):
        (yard.workspace / name).symlink_to(target)
    assert [each.text for each in protected_behind((Glob(".vscode"),), yard.workspace)] == ["round/**"]


@pytest.mark.parametrize(("link", "target"), [(".config", "."), ("sub/.config", "..")])
def test_a_symlink_of_the_agents_to_the_workspace_itself_is_judged_with_what_it_names(
    yard: Yard, link: str, target: str
) -> None:
    """What an earlier session left gets a protected name; the twins mean nothing."""
    yard.fill({"mise/config.toml": "", "plain/.config/x": ""})

    def made(inside: Path) -> None:
        for name, to in ((link, target), ("other", "."), ("plain/.config/up", "..")):
            (inside / name).parent.mkdir(exist_ok=True)
            (inside / name).symlink_to(to)

    assert second(yard, made) == {link}


@pytest.mark.parametrize(("times", "beside"), [(400, False), (600, True)])
def test_a_protected_symlink_of_too_many_names_leads_anywhere(
    yard: Yard, times: int, *, beside: bool
) -> None:
    """The twin is short enough to be followed to its end."""
    yard.fill({"a/x": "", "vs/x": ""})
    (yard.workspace / ".vscode").symlink_to("a/../" * times + "vs")

    def made(inside: Path) -> None:
        (inside / "vs/tasks.json").write_text("agent")
        (inside / "a/x").write_text("agent")

    assert second(yard, made) == {"vs/tasks.json", *(("a/x",) if beside else ())}
    behind = [each.text for each in protected_behind((Glob(".vscode"),), yard.workspace)]
    assert behind == (["**/*"] if beside else ["vs/**"])


@pytest.mark.parametrize(("names", "beside"), [(1000, False), (1022, True)])
def test_a_protected_symlink_leads_anywhere_through_one_of_the_agents_that_just_may_be_applied(
    yard: Yard, names: int, *, beside: bool
) -> None:
    """The agent's is looked at to its end, and leads to an ordinary place; the user's has two names more."""
    (yard.workspace / ".vscode").symlink_to("m/vs")

    def made(inside: Path) -> None:
        (inside / "m").symlink_to("d/" * names)
        (inside / "plain").write_text("agent")

    marked = second(yard, made)

    assert ("plain" in marked) == beside
    with open_stage(yard.session) as stage:
        way = Links(stage, read_upper(stage.folder)).way("m", "d/" * names)
    assert not way.out


@pytest.mark.parametrize("target", ["../workspace/vs", "/{top}/workspace/vs", "{top}/./workspace/a/../vs"])
def test_a_protected_symlink_that_comes_back_in_protects_what_it_leads_to(yard: Yard, target: str) -> None:
    """The twin lies beside."""
    yard.fill({"a/x": "", "vs/x": ""})
    (yard.workspace / ".vscode").symlink_to(target.format(top=yard.top))

    def made(inside: Path) -> None:
        (inside / "vs/tasks.json").write_text("agent")
        (inside / "a/x").write_text("agent")

    assert second(yard, made) == {"vs/tasks.json"}
    assert [g.text for g in protected_behind((Glob(".vscode"),), yard.workspace)] == ["vs/**"]


def test_what_the_user_holds_behind_a_symlink_that_the_agent_replaced_protects_no_more_than_its_name(
    yard: Yard,
) -> None:
    """Either tree may be left: the protected name in the new folder, and what it means in the old one."""
    yard.fill({"y/x": ""})
    (yard.workspace / "d").symlink_to("y")

    def made(inside: Path) -> None:
        (inside / "d").unlink()
        (inside / "d").mkdir()
        (inside / "d/CLAUDE.md").write_text("agent")
        (inside / "d/plain").write_text("agent")

    assert second(yard, made) == {"d/CLAUDE.md"}


@pytest.mark.parametrize("length", [MOST_LINKS, MOST_LINKS + 1, 200])
def test_a_symlink_is_followed_as_far_as_the_kernel_does(yard: Yard, length: int) -> None:
    """One that goes in a circle was followed a thousand times, for each of two hundred patterns."""
    (yard.workspace / "c0").mkdir()
    for number in range(1, length + 1):
        (yard.workspace / f"c{number}").symlink_to(f"c{number - 1}")
    (yard.workspace / "round").symlink_to("round")

    found = places_of(yard.workspace, f"c{length}")

    assert found[-1] == ("c0" if length <= MOST_LINKS else f"c{length - MOST_LINKS}")
    assert len(found) == MOST_LINKS
    assert places_of(yard.workspace, "round") == ()


def test_globs_and_paths_are_asked_once_for_each_symlink_however_long_its_way(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty symlinks through a chain of 38 took nine seconds."""
    asked = {"left_at": 0, "find": 0}
    counted(monkeypatch, Glob, "left_at", asked)
    counted(monkeypatch, GlobSet, "find", asked)
    links, chain = [f"d{n}/.config" for n in range(30)], tuple(f"c{n}" for n in range(39))
    paths = (*links, *chain, "c38/plain")

    second = SecondNames.of((Glob("**/.config/mise"),), paths, lambda path: chain if path in links else ())
    given = {second.given_by(link, chain) for link in links}

    assert given == {False}
    assert len(second.globs) == 1 + len(chain)
    rounds = 2
    assert asked["left_at"] <= len(links) * (rounds * len(second.globs))
    assert asked["find"] <= len(paths)


def counted(patch: pytest.MonkeyPatch, owner: type, name: str, asked: dict[str, int]) -> None:
    """Count how often a method is called."""
    method = getattr(owner, name)

    def counting(*args: object) -> object:
        asked[name] += 1
        return method(*args)

    patch.setattr(owner, name, counting)


def test_what_may_be_removed_may_be_so_behind_a_symlink_as_well(yard: Yard) -> None:
    """Compiled code is written by nobody, and removed by anyone; the twin is kept under both names."""
    yard.fill({"cache/x.pyc": "", "plain/y.pyc": "", "vs/tasks.json": "", "pkg/x": ""})
    (yard.workspace / "pkg/__pycache__").symlink_to("../cache")
    (yard.workspace / ".vscode").symlink_to("vs")

    def made(inside: Path) -> None:
        for path in ("cache/x.pyc", "plain/y.pyc", "vs/tasks.json"):
            (inside / path).unlink()
        (inside / "cache/new").write_text("")

    staged(yard, made)
    files = FilesBlock()
    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=ProtectedBy(files), keep=KeptBy(files))

    assert {each.path for each in found.changes if Concern.PROTECTED in each.concerns} == {
        "cache/new", "vs/tasks.json",
    }  # fmt: skip
