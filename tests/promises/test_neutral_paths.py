"""Let no container read where on this machine its workspace lies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.errors import SandboxError
from sandbox.neutral import NeutralNames, sweep_names

if TYPE_CHECKING:
    from tests.promises.conftest import Lab

POLICY = """
version: 1
name: look
grant: [files, exec]
files: {{access: {access}, hide: {hide}}}
exec: {{programs: any}}
commands: {{allow: [run, "files *"]}}
"""


@pytest.mark.engine
@pytest.mark.parametrize("hide", ["[]", '["*.pem"]'])
@pytest.mark.parametrize("access", ["stage", "read"])
def test_mountinfo_shows_no_path_of_the_user(lab: Lab, access: str, hide: str) -> None:
    """Neither the workspace's folder nor the state folder can be read in any mount of the container."""
    workspace = lab.workspace(**{"a.txt": "twin", "key.pem": "hidden"})
    os.chown(workspace, 65532, 65532)

    ran = lab.run(
        POLICY.format(access=access, hide=hide),
        ["run cat /proc/self/mountinfo", "run cat /workspace/a.txt"],
        workspace=workspace,
    )

    assert ran.result.status == "done", ran.result.error
    assert "/workspace" in ran.seen[0].text
    assert str(lab.folder) not in ran.seen[0].text
    assert str(ran.state) not in ran.seen[0].text
    assert "twin" in ran.seen[1].text


def test_names_end_with_the_mount(tmp_path: Path) -> None:
    """A name is a link to the folder, the same each time, and gone when it is removed."""
    runtime, folder = tmp_path / "run", tmp_path / "private-project"
    runtime.mkdir()
    folder.mkdir()
    names = NeutralNames.make({"XDG_RUNTIME_DIR": str(runtime)})

    name = names.name(folder)

    assert name == names.name(folder)
    assert name.resolve() == folder
    assert "private-project" not in str(name)
    assert name.is_relative_to(runtime)
    names.remove()
    assert not name.parent.exists()
    assert folder.is_dir()


def test_names_are_never_made_in_a_folder_that_others_can_write(tmp_path: Path) -> None:
    """Else somebody could make a name mean another folder."""
    (tmp_path / "pairlock-mounts").mkdir(mode=0o777)
    (tmp_path / "pairlock-mounts").chmod(0o777)

    with pytest.raises(SandboxError, match="not a private folder"):
        NeutralNames.make({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "pairlock-mounts").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SandboxError, match="not a private folder"):
        NeutralNames.make({"XDG_RUNTIME_DIR": str(tmp_path)})


def test_names_of_a_killed_runner_are_swept(tmp_path: Path) -> None:
    """A living runner holds its folder locked, and the kernel lets go of a dead one's."""
    killed = (
        "import os, pathlib; from sandbox.neutral import NeutralNames;"
        f"names = NeutralNames.make({{'XDG_RUNTIME_DIR': {str(tmp_path)!r}}});"
        "print(names.name(pathlib.Path('/tmp')).parent, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", killed], capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip())
    living = NeutralNames.make({"XDG_RUNTIME_DIR": str(tmp_path)})
    in_use = living.name(tmp_path).parent

    swept_by_the_next = not left.exists()
    others = sweep_names({"XDG_RUNTIME_DIR": str(tmp_path)})

    assert left.parent == in_use.parent
    assert swept_by_the_next
    assert (others, in_use.exists()) == ((), True)
    living.remove()


@pytest.mark.parametrize("given", ["", "relative", "/does/not/exist", "{tmp}/with,comma"])
def test_an_unfit_runtime_folder_is_not_used(tmp_path: Path, given: str) -> None:
    """A comma in a mount's options begins another option."""
    (tmp_path / "with,comma").mkdir()

    names = NeutralNames.make({"XDG_RUNTIME_DIR": given.format(tmp=tmp_path)})

    try:
        assert names.name(tmp_path).is_relative_to(Path("/tmp") / f"pairlock-{os.getuid()}")
    finally:
        names.remove()
