"""attacks.md, "Files, symlinks, races": the rows that concern the stage, each with its twin."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.stage import Concern, apply_changes, compute_changes, discard, kernel, open_stage, render_diff
from sandbox.stage.beneath import Beneath
from sandbox.stage.errors import ApplyError, PathRefusedError
from sandbox.stage.journal import Step, Verb
from sandbox.stage.yard import StepConflictError
from sandbox.stage.yard import Yard as ApplyYard

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.stage import ApplyResult

_SPEC = importlib.util.spec_from_file_location(
    "stage_yard", Path(__file__).parents[1] / "sandbox" / "stage" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
stage_yard = importlib.util.module_from_spec(_SPEC)
sys.modules["stage_yard"] = stage_yard
_SPEC.loader.exec_module(stage_yard)
Yard = Any


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    made = stage_yard.Yard(tmp_path / "yard")
    made.workspace.mkdir(parents=True)
    made.session.mkdir(parents=True)
    return made


def act(yard: Yard, agent: Callable[[Path], object], *hide: str) -> None:
    with yard.mounted(yard.plan(*hide)) as inside:
        agent(inside)


def apply(yard: Yard, *, include: tuple[str, ...] = (), protect: tuple[str, ...] = ()) -> ApplyResult:
    with open_stage(yard.session) as stage:
        found = compute_changes(stage, protect=yard.patterns(*protect))
        return apply_changes(stage, found.changes, include=yard.patterns(*include))


def codes(result: ApplyResult) -> dict[str, str]:
    return {item.path: item.code.value for item in result.not_applied}


def canary(yard: Yard) -> Path:
    """A file of the user's outside the workspace, which nothing may touch."""
    outside = yard.top / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    return outside


def test_b01_reading_the_stage_through_a_planted_symlink_is_refused(yard: Yard) -> None:
    """The host reads what the agent wrote; a symlink to a secret of the host is shown as a symlink."""
    outside = canary(yard)

    def agent(inside: Path) -> None:
        (inside / "link").symlink_to(outside / "canary")
        (inside / "plain").write_text("alive")

    act(yard, agent)

    with open_stage(yard.session) as stage:
        patch = render_diff(stage, compute_changes(stage).changes).text.decode()
        with pytest.raises(PathRefusedError, match="a symlink is in the way"), stage.upper.file("link"):
            pass
    assert "new file mode 120000" in patch
    assert patch.count("+alive") == 1


def test_b02_a_symlink_planted_by_the_agent_is_not_written_through(yard: Yard) -> None:
    """The confused deputy: first a link out, then a file behind it."""
    outside = canary(yard)
    act(yard, lambda inside: (inside / "out").symlink_to(outside))
    assert codes(apply(yard)) == {"out": "leads-out"}
    assert apply(yard, include=("out",)).applied == ("out",)
    yard.session.rename(yard.session.with_name("s0"))
    yard.session.mkdir()

    def agent(inside: Path) -> None:
        (inside / "out").unlink()
        yard.fill({"out/canary": "dead", "fine/canary": "new"}, below=inside)

    act(yard, agent)
    (yard.workspace / "out").unlink()
    (yard.workspace / "out").symlink_to(outside)

    result = apply(yard)

    assert (outside / "canary").read_text() == "alive"
    assert (yard.workspace / "fine/canary").read_text() == "new"
    assert not set(result.applied) & {"out/canary"} or not (yard.workspace / "out").is_symlink()


def test_b03_a_new_file_below_a_symlinked_folder_is_refused(yard: Yard) -> None:
    outside = canary(yard)
    yard.fill({"d/a": "1", "e/a": "1"})
    act(yard, lambda inside: yard.fill({"d/new": "x", "e/new": "x"}, below=inside))
    shutil.rmtree(yard.workspace / "d")
    (yard.workspace / "d").symlink_to(outside)

    result = apply(yard)

    assert codes(result) == {"d/new": "conflict"}
    assert result.applied == ("e/new",)
    assert [path.name for path in outside.iterdir()] == ["canary"]


@pytest.mark.parametrize(("walk", "tries"), [(False, 10_000), (True, 2_000)])
def test_b04_ten_thousand_writes_race_a_swapped_folder(yard: Yard, *, walk: bool, tries: int) -> None:
    """A process swaps a folder and a symlink out, under one name, while files are put into it."""
    outside = canary(yard)
    (yard.workspace / "d").mkdir()
    (yard.workspace / "link").symlink_to(outside)
    written = refused = 0
    with Beneath.open(yard.workspace, walk=walk) as live:
        room = ApplyYard.make(live, ".pairlock-apply-race")
        child = os.fork()
        if child == 0:
            swap(yard.workspace)
        try:
            for number in range(tries):
                with room.new_file("new") as descriptor:
                    os.write(descriptor, b"agent")
                step = Step(verb=Verb.PLACE, path=f"d/f{number % 50}", spare="new", inode=room.inode("new"))
                try:
                    room.carry_out(step)
                    written += 1
                except StepConflictError:
                    refused += 1
                    os.unlink("new", dir_fd=room.folder)
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)
        room.close(remove=True)

    assert written + refused == tries
    assert written
    assert refused
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"canary": "alive"}


def swap(workspace: Path) -> None:
    """Exchange a folder and a symlink until killed."""
    while True:
        kernel.renameat2(-100, str(workspace / "d"), -100, str(workspace / "link"), kernel.RENAME_EXCHANGE)


def test_b05_hard_links_arrive_as_files_of_their_own(yard: Yard) -> None:
    """An agent's hard link never shares an inode with a file of the user's."""
    yard.fill({"a": "one"})

    def agent(inside: Path) -> None:
        os.link(inside / "a", inside / "b")
        (inside / "b").write_text("two")

    act(yard, agent)

    assert apply(yard).complete
    assert [(yard.workspace / n).stat().st_nlink for n in "ab"] == [1, 1]
    assert (yard.workspace / "b").read_text() == "two"


def test_b06_odd_names_stay_names(yard: Yard) -> None:
    """Encoded dots, dots of other scripts, newlines, quotes: each is one plain name in one folder."""
    names = [
        "%2e%2e",
        "\u2024\u2024",
        "..\u200b",
        "a\nb",
        "-rf",
        "$(id)",
        "a;b",
        "c'd\"e",
        "\\..\\..",
        "x" * 255,
    ]
    act(yard, lambda inside: yard.fill({f"d/{name}": "1" for name in names}, below=inside))

    assert apply(yard).complete
    assert sorted(path.name for path in (yard.workspace / "d").iterdir()) == sorted(names)


def test_b08_renaming_around_what_is_hidden_or_protected(yard: Yard) -> None:
    """Moving a parent away and back, or `.git` to another name and back."""
    yard.fill({"d/.env": "secret", "d/a": "1", ".git/config": "[core]\n", ".git/hooks/x": "1"})
    seen: list[str] = []

    def agent(inside: Path) -> None:
        shutil.move(inside / "d", inside / "moved")
        seen.extend(str(path.relative_to(inside)) for path in (inside / "moved").rglob("*"))
        shutil.move(inside / ".git", inside / "g")
        (inside / "g/config").write_text("[core]\n\tfsmonitor = evil\n")
        shutil.move(inside / "g", inside / ".git")

    act(yard, agent, ".env")

    result = apply(yard, protect=(".git",))

    assert seen == ["moved/a"]
    assert codes(result) == {".git/config": "protected", "d": "conflict"}
    assert (yard.workspace / ".git/config").read_text() == "[core]\n"
    assert (yard.workspace / "d/.env").read_text() == "secret"
    assert result.applied == ("d/a", "moved", "moved/a")


@pytest.mark.parametrize(
    "spelling",
    [
        ".env",
        ".ENV",
        ".Env",
        ".e\u200dnv",
        "sub/.ENV",
        "vault/",
        "VAULT/key",
        "\u200b/.env",
        "a/\u200b\u2060/.env",
    ],
)
def test_b09_b10_other_spellings_of_a_hidden_name_are_hidden(yard: Yard, spelling: str) -> None:
    """Case, invisible characters, a trailing slash in the pattern."""
    yard.fill({spelling.rstrip("/") + ("/key" if spelling.endswith("/") else ""): "secret", "plain": "1"})
    seen: list[str] = []

    act(
        yard,
        lambda inside: seen.extend(path.name for path in inside.rglob("*") if path.is_file()),
        ".env",
        "vault/",
    )

    assert seen == ["plain"]


def test_b13_b14_hooks_that_did_not_exist_at_any_depth_are_refused(yard: Yard) -> None:
    """Also in a repository that the agent made, and with the default list alone."""
    hooks = ["/".join([*(["r"] * depth), ".git/hooks/pre-commit"]) for depth in range(7)]

    def agent(inside: Path) -> None:
        yard.fill(dict.fromkeys([*hooks, "r/r/fine"], "evil"), below=inside)

    act(yard, agent)
    with open_stage(yard.session) as stage:
        from policies.files_block import FilesBlock
        from sandbox.stage import ProtectedBy

        found = compute_changes(stage, protect=ProtectedBy(FilesBlock()))
        result = apply_changes(stage, found.changes)

    assert set(hooks) <= {item.path for item in result.not_applied if item.code.value == "protected"}
    assert (yard.workspace / "r/r/fine").exists()
    assert not list(yard.workspace.rglob("pre-commit"))


def test_b16_a_planted_folder_for_the_applys_own_files_is_not_used(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where its random name is guessed: it must be new."""
    outside = canary(yard)
    act(yard, lambda inside: (inside / "0").write_text("agent"))
    with monkeypatch.context() as patch:
        patch.setattr(secrets, "token_hex", lambda _: "guessed")
        (yard.workspace / ".pairlock-apply-guessed").symlink_to(outside)

        with pytest.raises(ApplyError, match="file exists"):
            apply(yard)

    assert [path.name for path in outside.iterdir()] == ["canary"]
    assert apply(yard).applied == ("0",)


def test_b17_pipes_do_not_stall_the_host(yard: Yard) -> None:
    def agent(inside: Path) -> None:
        os.mkfifo(inside / "pipe")
        (inside / "fine").write_text("1")

    act(yard, agent)

    result = apply(yard)

    assert codes(result) == {"pipe": "special"}
    assert result.applied == ("fine",)


def test_b19_a_git_file_that_points_outside_is_protected_and_marked(yard: Yard) -> None:
    """A worktree's pointer file sends git wherever it says."""
    act(yard, lambda inside: (inside / ".git").write_text("gitdir: /outside\n"))
    with open_stage(yard.session) as stage:
        (change,) = compute_changes(stage, protect=yard.patterns(".git")).changes

    assert {Concern.PROTECTED, Concern.RUNS_LATER} <= change.concerns
    assert codes(apply(yard, protect=(".git",))) == {".git": "protected"}


def test_b20_discarding_and_rolling_back_do_not_follow_links(yard: Yard) -> None:
    outside = canary(yard)

    def agent(inside: Path) -> None:
        (inside / "out").symlink_to(outside)
        (inside / "deep").mkdir()
        (inside / "deep/out").symlink_to(outside)

    act(yard, agent)

    assert discard(yard.session).leftover is None
    assert (outside / "canary").read_text() == "alive"


def test_b115_a_mount_option_in_a_folders_name_takes_the_copy(yard: Yard) -> None:
    """`x,lowerdir=/etc`: no mount is described at all; a plain name is mounted."""
    plain = yard.plan()
    assert type(plain).__name__ == "Overlay"
    yard.session.rename(yard.session.with_name("s0"))
    yard.session.mkdir()
    yard.workspace.rename(yard.top / "x,lowerdir=")
    (yard.top / "workspace").symlink_to(yard.top / "x,lowerdir=")

    plan = yard.plan()

    assert type(plan).__name__ == "Copy"
    assert not hasattr(plan, "options")


@pytest.mark.engine
def test_b115_the_engine_mounts_what_the_plan_says_and_nothing_more(yard: Yard) -> None:
    """The same options through the engine's own volume driver: whiteouts hide, noexec and nosuid hold."""
    yard.fill({"a": "old\n", ".env": "secret\n", "tool": "#!/bin/busybox true\n"})
    (yard.workspace / "tool").chmod(0o755)
    plan = yard.plan(".env", executable=False)
    name = f"pairlock-test-{secrets.token_hex(6)}"
    docker = ["/usr/bin/docker"]
    said = ""
    try:
        busybox_image(docker, name)
        subprocess.run(
            [*docker, "volume", "create", "--driver", "local", "-o", "type=overlay", "-o", "device=overlay",
             "-o", f"o={plan.options}", name],
            check=True, capture_output=True,
        )  # fmt: skip
        script = (
            "cat .env; ls -A; echo agent > a; ./tool && echo ran; grep ' /workspace ' /proc/mounts; rm tool"
        )
        said = subprocess.run(
            [*docker, "run", "--rm", "--network=none", "-v", f"{name}:/workspace", "-w", "/workspace", name,
             "/bin/busybox", "sh", "-c", script],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    finally:
        subprocess.run([*docker, "volume", "rm", "-f", name], check=False, capture_output=True)
        subprocess.run([*docker, "rmi", "-f", "--no-prune", name], check=False, capture_output=True)
    assert "secret" not in said
    assert "ran" not in said.split()
    assert said.split()[:2] == ["a", "tool"]
    assert {"nosuid", "nodev", "noexec", "userxattr"} <= set(said.split()[5].split(","))
    with open_stage(yard.session) as stage:
        found = [(change.kind.value, change.path) for change in compute_changes(stage).changes]
    assert found == [("modified", "a"), ("deleted", "tool")]
    assert (yard.workspace / "a").read_text() == "old\n"


def busybox_image(docker: list[str], name: str) -> None:
    """Import an image that holds one static program."""
    packed = subprocess.run(
        ["/bin/tar", "-C", "/usr", "--transform", "s,^,,", "-c", "bin/busybox"],
        check=True,
        capture_output=True,
    ).stdout
    subprocess.run([*docker, "import", "-", name], input=packed, check=True, capture_output=True)
