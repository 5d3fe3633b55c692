from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from policies.files_block import FilesBlock
from sandbox.stage.apply import apply_changes
from sandbox.stage.changes import ChangeKind, Concern, compute_changes
from sandbox.stage.errors import StageError
from sandbox.stage.later import DefaultLater
from sandbox.stage.layout import StageFolder
from sandbox.stage.matching import ProtectedBy
from sandbox.stage.opened import open_stage
from sandbox.stage.summary import diff_for_terminal, headline, name_lines, stat_lines, to_json
from sandbox.stage.symlinks import leads_out
from sandbox.stage.upper import read_upper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Yard

    from sandbox.stage.changes import ChangeSet


def changes(
    yard: Yard, act: Callable[[Path], object], *hide: str, protect: tuple[str, ...] = ()
) -> ChangeSet:
    """Let an agent act in a real overlay and say what it changed."""
    plan = yard.plan(*hide)
    with yard.mounted(plan) as inside:
        act(inside)
    with open_stage(yard.session) as stage:
        return compute_changes(stage, hide=yard.patterns(*hide), protect=yard.patterns(*protect))


def told(found: ChangeSet) -> list[tuple[str, str]]:
    return [(change.kind.value, change.path) for change in found.changes]


def test_nothing_done_is_no_change(yard: Yard) -> None:
    """Reading, touching and rewriting the same bytes are no change."""
    yard.fill({"a": "one", "d/b": "two"})

    def act(inside: Path) -> None:
        (inside / "a").read_text()
        (inside / "a").write_text("one")
        (inside / "d/b").touch()

    assert told(changes(yard, act)) == []


def test_each_kind_of_change_is_found(yard: Yard) -> None:
    yard.fill({"mod": "1", "del": "2", "mode": "3", "type": "4", "dir/x": "5", "todir": "6"})
    (yard.workspace / "link").symlink_to("mod")

    def act(inside: Path) -> None:
        (inside / "mod").write_text("changed")
        (inside / "del").unlink()
        (inside / "mode").chmod(0o755)
        (inside / "type").unlink()
        (inside / "type").symlink_to("mod")
        (inside / "link").unlink()
        (inside / "link").symlink_to("mode")
        (inside / "new").write_text("n")
        shutil.rmtree(inside / "dir")
        (inside / "dir").write_text("a file now")
        (inside / "todir").unlink()
        (inside / "todir").mkdir()
        (inside / "empty").mkdir()

    assert told(changes(yard, act)) == [
        ("deleted", "del"),
        ("type", "dir"),
        ("deleted", "dir/x"),
        ("added", "empty"),
        ("modified", "link"),
        ("modified", "mod"),
        ("mode", "mode"),
        ("added", "new"),
        ("type", "todir"),
        ("type", "type"),
    ]


def test_a_folder_deleted_and_made_again_shows_what_it_lost(yard: Yard) -> None:
    """The kernel marks such a folder opaque: what it held is not there any more."""
    yard.fill({"d/a": "1", "d/sub/b": "2", "d/c": "3"})

    def act(inside: Path) -> None:
        shutil.rmtree(inside / "d")
        (inside / "d").mkdir()
        (inside / "d/a").write_text("1")

    assert told(changes(yard, act)) == [("deleted", "d/c"), ("deleted", "d/sub"), ("deleted", "d/sub/b")]


def test_a_folder_that_was_renamed_away_is_deleted_and_added(yard: Yard) -> None:
    yard.fill({"d/a": "one", "d/b": "two"})

    found = changes(yard, lambda inside: shutil.move(inside / "d", inside / "e"))

    assert told(found) == [
        ("deleted", "d"), ("deleted", "d/a"), ("deleted", "d/b"),
        ("added", "e"), ("added", "e/a"), ("added", "e/b"),
    ]  # fmt: skip
    assert [(c.renamed_from, c.renamed_to) for c in found.changes if c.path in {"d/a", "e/a"}] == [
        ("", "e/a"),
        ("d/a", ""),
    ]


def test_a_hidden_file_that_the_agent_makes_is_marked_and_in_conflict(yard: Yard) -> None:
    yard.fill({".env": "secret"})

    (change,) = changes(yard, lambda inside: (inside / ".env").write_text("mine"), ".env").changes

    assert Concern.HIDDEN in change.concerns
    assert change.conflict == "it exists, and was hidden from the session"


def test_what_was_hidden_at_the_start_is_marked_whoever_asks(yard: Yard) -> None:
    """The stage remembers what it hid, a whole folder too, without being told the patterns again."""
    yard.fill({"vault/key": "secret"})
    with yard.mounted(yard.plan("vault")) as inside:
        yard.fill({"vault/new": "agent", "fine": "agent"}, below=inside)
    with open_stage(yard.session) as stage:
        found = compute_changes(stage).changes

    assert {c.path for c in found if Concern.HIDDEN in c.concerns} == {"vault", "vault/new"}


def test_deleting_a_folder_does_not_claim_what_was_hidden_in_it(yard: Yard) -> None:
    yard.fill({"d/.env": "secret", "d/a": "1"})

    found = changes(yard, lambda inside: shutil.rmtree(inside / "d"), ".env")

    assert told(found) == [("deleted", "d"), ("deleted", "d/a")]


def test_protected_paths_are_marked_at_any_depth_and_in_any_spelling(yard: Yard) -> None:
    """B10, B13, B14: existing or not, nested or not, whatever the case."""
    names = [
        ".git/hooks/pre-commit", "a/b/c/.git/hooks/x", ".GIT/hooks/y", ".g\u200cit/hooks/z",
        "\u200b/.git/hooks/x", "src/\u2060\u200b/.git/hooks/x", "src/ok", "\u200b/ok",
    ]  # fmt: skip

    def act(inside: Path) -> None:
        yard.fill(dict.fromkeys(names, "x"), below=inside)

    found = changes(yard, act, protect=(".git",))

    marked = {c.path for c in found.changes if Concern.PROTECTED in c.concerns}
    assert marked >= set(names) - {"src/ok", "\u200b/ok"}
    assert not marked & {"src/ok", "src", "a", "a/b", "\u200b", "\u200b/ok"}


@pytest.mark.parametrize(
    "name",
    ["git~1/config", "a/GIT~1/hooks/x", ".git./config", ".git::$INDEX_ALLOCATION/config", "a\\.git\\config"],
)
def test_what_another_filesystem_takes_for_dot_git_is_protected_and_runs_later(yard: Yard, name: str) -> None:
    """A folder that is copied or mounted there has git obey it."""

    def act(inside: Path) -> None:
        yard.fill({name: "x", "git~2/config": "x", "x.git/config": "x"}, below=inside)

    with yard.mounted(yard.plan()) as inside:
        act(inside)
    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=ProtectedBy(FilesBlock())).changes
        result = apply_changes(stage, found)

    concerns = {change.path: change.concerns for change in found}
    assert concerns[name] == {Concern.PROTECTED, Concern.RUNS_LATER}
    assert concerns["git~2/config"] == concerns["x.git/config"] == frozenset()
    assert name not in result.applied
    assert {"git~2/config", "x.git/config"} <= set(result.applied)


def test_what_the_user_changed_meanwhile_is_a_conflict_by_content(yard: Yard) -> None:
    """Touched, or changed to the same result, is none; changed otherwise is one."""
    yard.fill({"same": "1", "touched": "1", "other": "1", "gone": "1", "untouched": "1"})
    with yard.mounted(yard.plan()) as inside:
        for name in ("same", "touched", "other", "gone", "untouched", "appeared"):
            (inside / name).write_text("agent")
    with open_stage(yard.session) as stage:
        assert not compute_changes(stage).conflicts
    (yard.workspace / "same").write_text("agent")
    (yard.workspace / "touched").write_text("1")
    (yard.workspace / "other").write_text("user")
    (yard.workspace / "gone").unlink()
    (yard.workspace / "appeared").write_text("user")

    with open_stage(yard.session) as stage:
        found = {c.path: c.conflict for c in compute_changes(stage).changes}

    assert found == {
        "same": "",
        "touched": "",
        "untouched": "",
        "other": "it was changed meanwhile",
        "gone": "it was deleted meanwhile",
        "appeared": "it appeared meanwhile",
    }


def test_pipes_devices_and_sockets_are_told_and_never_opened(yard: Yard) -> None:
    """B17: a pipe in the agent's tree must not make the host wait."""

    def act(inside: Path) -> None:
        os.mkfifo(inside / "pipe")
        (inside / "a").write_text("a")

    found = changes(yard, act)

    assert told(found) == [("added", "a"), ("added", "pipe")]
    assert Concern.SPECIAL in found.changes[1].concerns


def test_a_sparse_file_of_a_terabyte_is_told_and_not_read(yard: Yard) -> None:
    """It costs the agent nothing, and would cost the reader an hour."""

    def act(inside: Path) -> None:
        (inside / "a").write_text("a")
        with (inside / "sparse").open("wb") as stream:
            stream.truncate(1 << 40)

    found = changes(yard, act)

    assert told(found) == [("added", "a")]
    assert [(item.path, item.reason) for item in found.troubles] == [
        ("sparse", f"it is too long to be read: {1 << 40} bytes")
    ]


def test_an_agent_cannot_mark_a_folder_opaque_by_itself(yard: Yard) -> None:
    """The kernel keeps its own attributes from whoever is inside the mount."""
    yard.fill({"d/a": "1"})

    def act(inside: Path) -> None:
        (inside / "d/new").write_text("x")
        with suppress(OSError):
            os.setxattr(inside / "d", "user.overlay.opaque", b"y")

    assert told(changes(yard, act)) == [("added", "d/new")]


def test_setuid_is_marked(yard: Yard) -> None:
    def act(inside: Path) -> None:
        (inside / "su").write_text("x")
        (inside / "su").chmod(0o4755)

    (change,) = changes(yard, act).changes

    assert Concern.SETUID in change.concerns


def test_a_tree_too_deep_to_read_is_told_and_ends(yard: Yard) -> None:
    """An agent may nest folders beyond PATH_MAX; the host says so and goes on."""
    plan = yard.plan()
    with yard.mounted(plan) as inside:
        here = os.open(inside, os.O_RDONLY)
        for _ in range(600):
            os.mkdir("deep-" * 10, dir_fd=here)
            step = os.open("deep-" * 10, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = step
        os.close(here)
        (inside / "a").write_text("a")

    found = read_upper(plan.facts.folder)

    assert "a" in found.entries
    assert [trouble.reason for trouble in found.troubles] == ["what it holds is too deep to be read"]
    subprocess.run(["/bin/rm", "-rf", plan.facts.folder.upper], check=True)


def test_an_unreadable_folder_of_the_agents_is_told(yard: Yard) -> None:
    """Changes cannot be kept from review by a mode; tried as an ordinary user."""
    upper = StageFolder(yard.top / "s")
    upper.make()
    upper.path.chmod(0o755)
    upper.upper.chmod(0o755)
    (upper.upper / "locked").mkdir(mode=0)
    (upper.upper / "locked").chmod(0)

    said = yard.as_user(65534, lambda: str([(t.path, t.reason) for t in read_upper(upper).troubles]))

    assert said == "[('locked', 'its permissions forbid it')]"


@pytest.mark.parametrize(
    ("path", "target", "out"),
    [
        ("a", "b", False),
        ("a", "/etc/passwd", True),
        ("a", "..", True),
        ("d/a", "..", False),
        ("d/a", "../../x", True),
        ("d/e/a", "../../x/y", False),
        ("d/e/f/a", "k/../..", True),
        ("a", "./b", False),
        ("a", "", False),
    ],
)
def test_symlinks_that_lead_out_are_known(path: str, target: str, *, out: bool) -> None:
    assert leads_out(path, target) is out


RUN_LATER = ["Makefile", "sub/makefile", ".git/hooks/pre-commit", "x/.git/config", ".vscode/tasks.json"]
RUN_LATER += ["package.json", "a/conftest.py", "lib/x.pth", ".github/workflows/ci.yml", "AGENTS.md", ".envrc"]
RUN_LATER += [".claude/settings.json", ".mcp.json", ".gitattributes", "vendor/.git", ".VSCode/tasks.json"]
RUN_LATER += [".git/modules/a/hooks/x", "node_modules/.bin/tsc", "sitecustomize.py", ".idea/workspace.xml"]


@pytest.mark.parametrize("path", RUN_LATER)
def test_files_that_run_later_are_known_at_any_depth(path: str) -> None:
    """B22 to B28."""
    assert DefaultLater().label(path)


@pytest.mark.parametrize("path", ["src/app.py", "README.md", "makefiles.txt", "docs/git/hooks.md", "a/b.c"])
def test_ordinary_files_do_not_run_later(path: str) -> None:
    assert not DefaultLater().label(path)


def test_the_summary_names_what_runs_later_and_escapes_names(yard: Yard) -> None:
    def act(inside: Path) -> None:
        (inside / "Makefile").write_text("all:")
        (inside / "a\x1b[2J\nb").write_text("\x1b]52;c;x\x07")

    found = changes(yard, act)

    assert headline(found) == "1 change runs on your machine later: Makefile"
    assert list(name_lines(found)) == ["Makefile", "a\\x1b[2J\\nb"]
    assert list(stat_lines(found)) == [
        "A  Makefile  (0 -> 4 bytes, runs-later)",
        "A  a\\x1b[2J\\nb  (0 -> 9 bytes)",
    ]
    assert json.loads(to_json(found))["runs_later"] == ["Makefile"]
    assert "\x1b" not in diff_for_terminal(b"+\x1b]52;c;x\x07\n+\xff\n")


def test_another_folder_in_the_workspaces_place_is_refused(yard: Yard) -> None:
    yard.plan()
    yard.workspace.rename(yard.top / "moved")
    yard.workspace.mkdir()

    with pytest.raises(StageError, match="another folder"), open_stage(yard.session):
        pass
    with open_stage(yard.session, moved_to=yard.top / "moved") as stage:
        assert compute_changes(stage).changes == ()


def test_a_change_on_a_copied_base_is_found_against_the_copy(yard: Yard) -> None:
    yard.fill({"a": "one", "b": "two"})
    with yard.mounted(yard.plan(uid=65532)) as inside:
        (inside / "a").write_text("agent")
        (inside / "b").unlink()
    (yard.workspace / "a").write_text("user")

    with open_stage(yard.session) as stage:
        found = compute_changes(stage)

    assert told(found) == [("modified", "a"), ("deleted", "b")]
    assert found.changes[0].conflict == "it was changed meanwhile"
    assert found.changes[0].kind is ChangeKind.MODIFIED
