"""An agent that is against us, in a real container with all its tools: what it leaves is judged outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agent_runner.container import NOBODY
from agent_runner.review import Choice, apply_stage, opened
from audit.state import StateFiles
from tests.promises.conftest import lab

if TYPE_CHECKING:
    from tests.promises.conftest import Lab

__all__ = ["lab"]
pytestmark = pytest.mark.engine
POLICY = """\
version: 1
name: p
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run]}
"""
ATTACK = r"""
import os, stat
def attempt(what):
    try:
        what()
    except OSError as error:
        print(error.errno, flush=True)
W = "/workspace"
os.chdir(W)
for name in ("opaque", "whiteout", "redirect", "metacopy", "origin", "impure"):
    for prefix in ("user.overlay.", "trusted.overlay.", "user.overlay.overlay."):
        for path in (".", "sub", "kept.txt"):
            attempt(lambda: os.setxattr(path, prefix + name, b"y" if name != "redirect" else b"/../../etc"))
attempt(lambda: os.mknod("whiteout", stat.S_IFCHR | 0o600, os.makedev(0, 0)))
attempt(lambda: os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(8, 0)))
attempt(lambda: os.mkfifo("pipe"))
attempt(lambda: os.link("kept.txt", "second-name"))
attempt(lambda: os.link("/etc/passwd", "outside-name"))
attempt(lambda: os.symlink("/etc/passwd", "leads-out"))
attempt(lambda: os.symlink("../../../../etc", "climbs"))
attempt(lambda: os.symlink(".git/hooks", "second-hooks"))
attempt(lambda: os.truncate(os.open("sparse", os.O_CREAT | os.O_WRONLY), 1 << 40))
for repository in (".git", "sub/.git", "deep/er/.git", ".GIT", "sub/git~1"):
    attempt(lambda: os.makedirs(repository + "/hooks"))
    attempt(lambda: open(repository + "/hooks/pre-commit", "w").write("#!/bin/sh\ntouch /tmp/owned\n"))
    attempt(lambda: open(repository + "/config", "w").write("[core]\n\tfsmonitor = touch /tmp/owned\n"))
attempt(lambda: os.makedirs("bare/objects") or os.makedirs("bare/refs"))
attempt(lambda: open("bare/HEAD", "w").write("ref: refs/heads/main\n"))
attempt(lambda: open("bare/config", "w").write("[core]\n\tfsmonitor = touch /tmp/owned\n"))
attempt(lambda: os.mkdir("tree") or open("tree/.git", "w").write("gitdir: ../bare\n"))
attempt(lambda: os.mkdir("linked") or os.symlink("../bare", "linked/.git"))
attempt(lambda: open(b"odd\n\x1b[2J\xff", "wb").write(b"odd"))
attempt(lambda: open("suid", "w").write("x") and os.chmod("suid", 0o6777))
attempt(lambda: os.rename("sub", "moved") or os.symlink("moved", "sub"))
attempt(lambda: os.unlink("gone.txt"))
attempt(lambda: open("kept.txt", "a").write("agent\n"))
print("done")
"""
REFUSED = (
    "leads-out", "climbs", "second-hooks", ".git/hooks/pre-commit", "deep/er/.git/config", ".GIT/config",
    "bare/HEAD", "bare/config", "tree/.git", "linked/.git", "sub/.git/config", "sub/git~1/config",
)  # fmt: skip


@pytest.mark.parametrize("runtime", ["runc", pytest.param("runsc", marks=pytest.mark.gvisor)])
def test_what_a_hostile_agent_leaves_reaches_only_ordinary_files(lab: Lab, runtime: str) -> None:
    """Forged marks, devices, second names, repositories: refused; ordinary changes beside them: applied."""
    workspace = lab.workspace(**{"kept.txt": "kept\n", "gone.txt": "gone\n", "attack.py": ATTACK})
    (workspace / "sub").mkdir()
    (workspace / "sub/a").write_text("a\n")
    if os.getuid() == 0:
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, NOBODY, NOBODY)

    ran = lab.run(
        POLICY + f"isolation: {{runtime: {runtime}}}\n", ["run python3 attack.py"], workspace=workspace
    )
    files = StateFiles(ran.state).session(ran.result.session)
    with opened(files.folder) as (_, changes):
        shown = changes
    result = apply_stage(files, ran.state, Choice(shown=shown))

    assert "done" in ran.seen[0].text
    assert ran.entries("sandbox.created")[0]["stage_strategy"] == "overlay"
    refused = {item.path for item in result.not_applied} | {trouble.path for trouble in shown.troubles}
    assert set(REFUSED) <= refused
    left = {str(path.relative_to(workspace)) for path in workspace.rglob("*")}
    assert left.isdisjoint({*REFUSED, "whiteout", "disk", "outside-name", "pipe", "gone.txt", ".git"})
    assert (workspace / "kept.txt").read_text() == "kept\nagent\n"
    assert (workspace / "sub/a").read_text() == "a\n"
    assert (workspace / "suid").stat().st_mode & 0o7002 == 0
    assert (workspace / "second-name").stat().st_nlink == 1
